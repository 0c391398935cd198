"""Framing: whatever the cuts, the same events; a truncated one never."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.framing import PREFIX_BYTES, Framer, OversizeFrame, parse, retry_milliseconds
from tests.unit.ingestion.support import EQIAD, T0, data, event_id, frame

BOUND = 12 * 1024**2
LINES = [
    data(1, title="Zürich · 東京 · 🌊 · مرج"),
    data(2, title="one\u2028two\u2029three\u0085four\u000b"),
    data(3, title="\x00 and \ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace")),
    data(4, comment="data: id: event: \\n\\n :ok"),
]
STREAM = b":ok\n\n" + b"".join(frame(line, event_id((EQIAD, T0 + n))) for n, line in enumerate(LINES))


def received(portions: list[bytes], bound: int = BOUND) -> list[bytes]:
    """Data lines, by one connection's framer."""
    framer, lines = Framer(bound), []
    for portion in portions:
        for run in framer.feed(portion):
            assert isinstance(run, bytes)
            assert run.endswith(b"\n\n")
            lines += [event.data.encode("latin-1") for event in parse(run)]
    return lines


def test_exact_bytes_come_back() -> None:
    assert received([STREAM]) == LINES


def test_a_cut_at_every_byte_changes_nothing() -> None:
    for cut in range(len(STREAM) + 1):
        assert received([STREAM[:cut], STREAM[cut:]]) == LINES, cut


def test_a_connection_that_ends_at_any_byte_yields_only_whole_events() -> None:
    ends = [STREAM.find(line) + len(line) + 2 for line in LINES]
    for cut in range(len(STREAM) + 1):
        assert received([STREAM[:cut]]) == LINES[: sum(end <= cut for end in ends)], cut


@given(st.lists(st.integers(0, len(STREAM)), max_size=40), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_portions_and_line_ends_give_the_same_events(cuts: list[int], line_end: bytes) -> None:
    body = STREAM.replace(b"\n", line_end) + b":\n"  # a lone CR is known to be no CRLF once something follows
    cuts = sorted(cuts)
    portions = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert received(portions) == LINES


def test_mixed_line_ends_delimit_too() -> None:
    assert received([b"data: a\n\r\ndata: b\r\n\ndata: c\r\n\r\n"]) == [b"a", b"b", b"c"]


def test_u2028_stays_inside_its_event() -> None:
    line = '{"title":"one\u2028two"}'.encode()
    assert received([b"data: " + line + b"\n\n"]) == [line]


def test_bytes_that_are_no_utf8_do_not_end_the_stream() -> None:
    assert received([b"data: \xff\xfe\xc3\n\ndata: good\n\n"]) == [b"\xff\xfe\xc3", b"good"]


def test_a_comment_of_a_megabyte_and_one_in_the_data() -> None:
    line = data(1, comment="m" * 1024**2)
    assert received([b":" + b"x" * 1024**2 + b"\n\n", b"data: " + line + b"\n\n"]) == [line]


@pytest.mark.parametrize("portion", [1, 7, 1000, 10_000])
def test_a_frame_beyond_the_bound_becomes_its_digest_and_the_stream_goes_on(portion: int) -> None:
    large = b"data: " + b"x" * 300_000 + b"\n\n"
    body = b"data: before\n\n" + large + b"data: after\n\n"
    framer, lines, oversize = Framer(2_000), [], []
    step = max(portion, 100)
    for start in range(0, len(body), step):
        for run in framer.feed(body[start : start + step]):
            if isinstance(run, OversizeFrame):
                oversize.append(run)
            else:
                lines += [event.data for event in parse(run)]
    assert lines == ["before", "after"]
    (found,) = oversize
    assert found.length == len(large)
    assert found.sha256 == hashlib.sha256(large).hexdigest()
    assert large.startswith(found.prefix)
    assert 0 < len(found.prefix) <= PREFIX_BYTES


def test_the_buffer_stays_bounded() -> None:
    framer = Framer(10_000)
    for _ in range(1000):
        assert framer.feed(b"x" * 1000) == []
        assert len(framer._buffer) <= 11_000


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (b"retry: 100\n\n", 100),
        (b"event: message\nretry:2500\ndata: {}\n\n", 2500),
        (b"retry: 1\n\nretry: 2\n\n", 2),
        (b"retry: soon\n\n", None),
        (b'data: {"comment":"retry: 5"}\n\n', None),
        (b"data: x\n\n", None),
    ],
)
def test_retry_is_seen_where_sseclient_shows_none(run: bytes, expected: int | None) -> None:
    assert retry_milliseconds(run) == expected
