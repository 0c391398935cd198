"""Where a connection begins: the rules of KafkaSSE, one by one."""

import json
from typing import Any

import pytest

from local.replay.assignment import BEGINNING, LATEST, BadRequestError, assign, parse_since
from local.replay.log import Line, MemoryLog

EQIAD, CODFW = "eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange"
TOPICS = [EQIAD, CODFW]
BASE = 6_512_000_000


def log() -> MemoryLog:
    # eqiad: offsets BASE.. with a step back in time and an imported event of 2016 among them; codfw: two later ones
    times = (1000, 3000, 2000, -500_000, 4000)
    lines = [Line(EQIAD, ms, b"{", b"}") for ms in times]
    return MemoryLog([*lines, Line(CODFW, 3500, b"{", b"}", 77), Line(CODFW, 3600, b"{", b"}", 78)])


def starts(last_event_id: Any = None, since_ms: int | None = None, **more: Any) -> dict[str, tuple[int, int]]:
    header = None if last_event_id is None else json.dumps(last_event_id)
    assigned = assign(log(), TOPICS, last_event_id=header, since_ms=since_ms, **more)
    return {a.topic: (a.shown_offset, a.start_offset) for a in assigned}


def entry(topic: str, **values: int) -> dict[str, Any]:
    return {"topic": topic, "partition": 0, **values}


def test_fresh_connect_is_latest_and_says_minus_one() -> None:
    assert starts() == {EQIAD: (-1, BASE + 5), CODFW: (-1, 79)}


def test_since_is_resolved_to_offsets() -> None:
    assert starts(since_ms=3500) == {EQIAD: (BASE + 4, BASE + 4), CODFW: (77, 77)}


def test_since_before_retention_begins_at_the_oldest() -> None:
    assert starts(since_ms=0) == {EQIAD: (BASE, BASE), CODFW: (77, 77)}


def test_timestamp_is_the_first_offset_at_or_after_it_not_the_nearest_in_time() -> None:
    # 2000 stands behind 3000 in the log: it is skipped, as the real server would
    cursor = [entry(EQIAD, timestamp=2500), entry(CODFW, offset=-1)]
    assert starts(cursor)[EQIAD] == (BASE + 1, BASE + 1)


def test_timestamp_beyond_the_newest_is_latest() -> None:
    assert starts([entry(EQIAD, timestamp=4001)]) == {EQIAD: (-1, BASE + 5)}


def test_header_replaces_the_assignment_and_since() -> None:
    assert starts([entry(CODFW, offset=78)], since_ms=0) == {CODFW: (78, 78)}, "eqiad is not consumed at all"


def test_offset_wins_over_timestamp() -> None:
    assert starts([entry(EQIAD, timestamp=0, offset=BASE + 3)])[EQIAD] == (BASE + 3, BASE + 3)


def test_bare_topic_names_take_since() -> None:
    assert starts([EQIAD], since_ms=3000) == {EQIAD: (BASE + 1, BASE + 1)}
    assert starts([CODFW]) == {CODFW: (-1, 79)}
    assert starts(f"{EQIAD},{CODFW}") == {EQIAD: (-1, BASE + 5), CODFW: (-1, 79)}


def test_offset_out_of_range_jumps_to_latest() -> None:
    assert starts([entry(EQIAD, offset=3)])[EQIAD] == (3, BASE + 5)
    assert starts([entry(EQIAD, offset=BASE + 6)])[EQIAD] == (BASE + 6, BASE + 5)
    assert starts([entry(EQIAD, offset=BASE + 5)])[EQIAD] == (BASE + 5, BASE + 5), "the end is in range"
    assert starts([entry(EQIAD, offset=BEGINNING)])[EQIAD] == (BASE, BASE)


def test_looked_up_entries_come_last_in_the_cursor() -> None:
    assert list(starts([entry(EQIAD, timestamp=1000), entry(CODFW, offset=-1)])) == [CODFW, EQIAD]


def test_another_cluster_has_other_offsets() -> None:
    assert starts([entry(EQIAD, offset=BASE + 1)], shift=100)[EQIAD] == (BASE + 1, BASE + 5), "out of range there"
    assert starts([entry(EQIAD, offset=BASE + 101)], shift=100)[EQIAD] == (BASE + 101, BASE + 1)
    assert starts([entry(EQIAD, timestamp=4000)], shift=100)[EQIAD] == (BASE + 104, BASE + 4)


def test_fresh_from_oldest_is_ours() -> None:
    assert starts(fresh_from_oldest=True) == {EQIAD: (BASE, BASE), CODFW: (77, 77)}


def test_whole_floats_are_integers_as_in_javascript() -> None:
    assert starts([{"topic": EQIAD, "partition": 0.0, "offset": -1.0}]) == {EQIAD: (LATEST, BASE + 5)}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[",
        "[]",
        "{}",
        "17",
        "null",
        json.dumps([{"topic": EQIAD, "partition": 0}]),
        json.dumps([{"topic": EQIAD, "offset": 1}]),
        json.dumps([{"topic": 5, "partition": 0, "offset": 1}]),
        json.dumps([{"topic": EQIAD, "partition": 0, "offset": "1"}]),
        json.dumps([{"topic": EQIAD, "partition": 0, "offset": 1.5}]),
        json.dumps([{"topic": EQIAD, "partition": True, "offset": 1}]),
        json.dumps([EQIAD, 7]),
    ],
)
def test_unreadable_cursor_is_400(header: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        assign(log(), TOPICS, last_event_id=header, since_ms=None)
    assert caught.value.status == 400
    assert caught.value.body["name"] == "InvalidAssignmentError"


def test_topic_of_another_stream_is_404() -> None:
    with pytest.raises(BadRequestError) as caught:
        starts([entry("eqiad.mediawiki.page-create", offset=-1)])
    assert caught.value.status == 404
    assert "eqiad.mediawiki.page-create are not available" in caught.value.body["message"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("1629474555001", 1_629_474_555_001),
        ("1e3", 1000),
        ("2018-06-14", 1_528_934_400_000),
        ("2018-06-14T00:00:00Z", 1_528_934_400_000),
        ("2018-06-14T02:00:00+02:00", 1_528_934_400_000),
        ("Thu, 14 Jun 2018 00:00:00 GMT", 1_528_934_400_000),
    ],
)
def test_since(value: str | None, expected: int | None) -> None:
    assert parse_since(value, "/") == expected


def test_unparseable_since_is_400() -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_since("a while ago", "/v2/stream/recentchange?since=a")
    assert caught.value.status == 400
    assert caught.value.body["type"] == "invalid_timestamp"
