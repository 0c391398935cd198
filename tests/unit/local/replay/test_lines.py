"""Values are found and replaced inside raw JSON without touching another byte."""

import json

from hypothesis import given
from hypothesis import strategies as st

from local.replay.lines import (
    format_dt,
    layout,
    parse_dt,
    shift_times,
    split_for_position,
    split_position,
    text,
)

LINE = (
    b'{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"id":"a","dt":"2021-08-27T13:20:17Z","topic":"codfw.x",'
    b'"partition":0,"offset":441362975},"title":"say \\"timestamp\\":5 {\\u2028","log_params":{"timestamp":7,'
    b'"meta":{"dt":"1999-01-01T00:00:00Z"}},"timestamp":1630070417,"list":[{"dt":1},["timestamp"]]}'
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_keys = st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=6).filter(
    lambda key: key.isprintable()
)


@given(
    before=st.dictionaries(_keys.filter(lambda k: k not in ("meta", "timestamp")), _json, max_size=3),
    meta=st.dictionaries(_keys, _json, max_size=4),
    timestamp=st.integers(),
    compact=st.booleans(),
)
def test_layout_finds_what_a_parser_finds(
    before: dict[str, object], meta: dict[str, object], timestamp: int, compact: bool
) -> None:
    document = {**before, "meta": meta, "timestamp": timestamp}
    separators = (",", ":") if compact else (", ", ": ")
    line = json.dumps(document, ensure_ascii=False, separators=separators).encode("utf-8", "surrogatepass")
    found = layout(line)
    assert found is not None
    assert found.meta is not None
    assert found.timestamp is not None
    assert json.loads(line[slice(*found.meta)]) == json.loads(json.dumps(meta))
    assert json.loads(line[slice(*found.timestamp)]) == timestamp
    scalars = {key for key, value in meta.items() if not isinstance(value, list | dict)}
    assert {key.decode() for key in found.meta_values} == scalars
    for key, span in found.meta_values.items():
        assert json.loads(line[slice(*span)]) == json.loads(json.dumps(meta[key.decode()]))


def test_no_layout_of_what_is_not_one_object() -> None:
    for line in (b"", b"[1]", b'{"a":1', b'{"a":1}}', b'{"a":1} x', b"null", b"<html>"):
        assert layout(line) is None, line


def test_shift_replaces_only_the_two_times() -> None:
    moved = shift_times(LINE, 86_400 * 3 + 1)
    assert moved == LINE.replace(b"2021-08-27T13:20:17Z", b"2021-08-30T13:20:18Z").replace(b"1630070417", b"1630329618")


def test_shift_keeps_milliseconds_offsets_and_spaces() -> None:
    line = b'{"meta": {"dt": "2026-02-26T15:49:36.547Z"}, "timestamp": 1772120972}'
    assert shift_times(line, 60) == b'{"meta": {"dt": "2026-02-26T15:50:36.547Z"}, "timestamp": 1772121032}'
    old = b'{"meta":{"dt":"2018-03-07T12:12:11+00:00"}}'
    assert shift_times(old, -11) == b'{"meta":{"dt":"2018-03-07T12:12:00+00:00"}}'


def test_what_cannot_be_shifted_stays() -> None:
    for line in (b"broken", b'{"meta":{"dt":17},"timestamp":"soon"}', b'{"meta":{"dt":"yesterday"}}'):
        assert shift_times(line, 60) == line


def test_position_comes_out_and_goes_in_again() -> None:
    taken = split_position(LINE)
    assert taken is not None
    head, tail, topic, partition, offset = taken
    assert (topic, partition, offset) == ("codfw.x", 0, 441_362_975)
    assert head + b',"topic":"codfw.x","partition":0,"offset":441362975' + tail == LINE
    halves = split_for_position(head + tail)
    assert halves == (head, tail)
    assert split_for_position(LINE) is None, "it has one already"


def test_spaced_position_is_left_alone() -> None:
    assert split_position(b'{"meta": {"id": "a", "topic": "t", "partition": 0, "offset": 1}}') is None


def test_times() -> None:
    assert parse_dt("2026-11-24T09:31:07.250Z") == 1_795_512_667_250
    assert format_dt(1_795_512_667_250) == "2026-11-24T09:31:07.250Z"
    assert parse_dt("2018-03-07T12:12:11+00:00") == 1_520_424_731_000
    assert parse_dt("2018-03-07T12:12:11") is None, "no zone"
    assert parse_dt(None) is None
    assert text(b'"a\\u0041"', (0, 9)) == "aA"
    assert text(b"17", (0, 2)) is None
