"""The bytes on the wire."""

import random

from hypothesis import given
from hypothesis import strategies as st

from local.replay.assignment import Assigned
from local.replay.frames import FrameWriter, chunk, chunks, half_utf8, rechunk
from local.replay.log import Record

EQIAD, CODFW = "eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange"


def fresh(**more: object) -> FrameWriter:
    return FrameWriter([Assigned(EQIAD, 0, -1, 5), Assigned(CODFW, 0, -1, 9)], **more)  # type: ignore[arg-type]


def record(topic: str, ms: int, offset: int = 5) -> Record:
    return Record(0, topic, offset, ms, b'{"meta":{"id":"a"', b'},"n":1}')


def test_a_frame_byte_for_byte() -> None:
    assert fresh().opening() == b":ok\n\n"
    assert fresh().lines(record(EQIAD, 1_756_449_917_001)) == [
        b"event: message\n",
        b'id: [{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":1756449917002},'
        b'{"topic":"codfw.mediawiki.recentchange","partition":0,"offset":-1}]\n',
        b'data: {"meta":{"id":"a","topic":"eqiad.mediawiki.recentchange","partition":0,"offset":5},"n":1}\n\n',
    ]


def test_the_id_remembers_the_other_topic() -> None:
    writer = fresh()
    writer.lines(record(CODFW, 999))
    writer.lines(record(EQIAD, 10))
    [_, event_id, _] = writer.lines(record(EQIAD, 8))
    assert event_id == (
        b'id: [{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":9},'
        b'{"topic":"codfw.mediawiki.recentchange","partition":0,"timestamp":1000}]\n'
    )


def test_an_entry_that_was_looked_up_shows_its_offset() -> None:
    writer = FrameWriter([Assigned(EQIAD, 0, 5, 5), Assigned(CODFW, 0, 9, 9)])
    assert b'"topic":"codfw.mediawiki.recentchange","partition":0,"offset":9}' in writer.lines(record(EQIAD, 1))[1]


def test_json_mode_has_no_ids_and_begins_with_an_empty_line() -> None:
    writer = fresh(as_json=True)
    assert writer.opening() == b"\n"
    [line] = writer.lines(record(EQIAD, 1))
    assert line.startswith(b'{"meta"')
    assert line.endswith(b"}\n")


def test_retry_stands_between_event_and_id() -> None:
    assert fresh(retry_ms=100).lines(record(EQIAD, 1))[1] == b"retry: 100\n"


def test_crlf() -> None:
    lines = fresh(crlf=True).lines(record(EQIAD, 1))
    assert b"".join(lines).count(b"\r\n") == b"".join(lines).count(b"\n") == 4


def test_line_breaks_in_data_make_several_data_lines() -> None:
    odd = Record(0, EQIAD, 5, 1, b"one\r\n\ntwo", None)
    assert fresh().lines(odd)[2:] == [b"data: one\n", b"data: two\n\n"]


def test_another_cluster_says_other_offsets() -> None:
    assert b'"offset":1005' in fresh(shift=1000).lines(record(EQIAD, 1))[2]


def test_error_frame_keeps_the_id() -> None:
    writer = fresh()
    writer.lines(record(EQIAD, 1))
    lines = writer.error("boom")
    assert lines[0] == b"event: error\n"
    assert b'"timestamp":2},{"topic":"codfw.' in lines[1]
    assert b"boom" in lines[2]


def test_chunks() -> None:
    assert chunk(b"0123456789abcdef") == b"10\r\n0123456789abcdef\r\n"
    assert chunks([b"a", b"bc"]) == b"1\r\na\r\n2\r\nbc\r\n"


@given(st.binary(max_size=200), st.integers(1, 9), st.integers())
def test_rechunking_loses_nothing(data: bytes, largest: int, seed: int) -> None:
    pieces = list(rechunk(data, largest, random.Random(seed)))
    assert b"".join(pieces) == data
    assert all(1 <= len(piece) <= largest for piece in pieces)


def test_half_utf8_is_inside_a_character() -> None:
    frame = "data: Вил\n".encode()
    at = half_utf8(frame)
    assert at is not None
    assert frame[:at].decode("utf-8", "ignore") != frame[:at].decode("utf-8", "replace")
    assert half_utf8(b"ascii") is None
