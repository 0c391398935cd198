"""Where a connection begins."""

import json
from datetime import UTC, datetime

import pytest

from ingestion.cursor import make_cursor, parse_since, resume_point
from tests.unit.ingestion.support import CODFW, EQIAD, T0
from wikiweir.records import Cursor

OVERLAP = 120_000


def test_before_any_topic_is_known_it_is_the_base() -> None:
    point = resume_point(Cursor(T0, {}), OVERLAP)
    assert point.last_event_id is None
    assert point.since_ms == T0


def test_every_known_topic_is_named_by_its_mark_minus_overlap() -> None:
    point = resume_point(Cursor(T0, {EQIAD: T0 + 500_000, CODFW: T0 + 400_000}), OVERLAP)
    assert point.last_event_id is not None
    assert json.loads(point.last_event_id) == [
        {"topic": CODFW[0], "partition": 0, "timestamp": T0 + 280_000},
        {"topic": EQIAD[0], "partition": 0, "timestamp": T0 + 380_000},
    ]


def test_an_idle_topic_gets_the_smallest_mark_of_the_others() -> None:
    other = ("eqiad.mediawiki.page-create", 0)
    cursor = make_cursor(T0, [EQIAD, CODFW, other], {EQIAD: T0 + 500_000, other: T0 + 300_000})
    assert resume_point(cursor, OVERLAP).topics == {
        EQIAD: T0 + 380_000,
        other: T0 + 180_000,
        CODFW: T0 + 180_000,
    }


def test_that_a_topic_has_no_mark_survives_being_kept() -> None:
    cursor = Cursor.decode(make_cursor(T0, [EQIAD, CODFW], {EQIAD: T0 + 500_000}).encode())
    assert resume_point(cursor, OVERLAP).topics[CODFW] == T0 + 380_000
    assert resume_point(cursor, OVERLAP).reached == {EQIAD: T0 + 500_000}


def test_known_topics_without_any_mark_start_at_the_base() -> None:
    assert resume_point(make_cursor(T0, [EQIAD, CODFW], {}), OVERLAP).topics == {EQIAD: T0, CODFW: T0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1790000000000", T0),
        ("2026-11-23T09:00:00Z", int(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp() * 1000)),
        ("2026-11-23T09:00:00", int(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp() * 1000)),
        ("2026-11-23T10:00:00+01:00", int(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp() * 1000)),
        ("2026-11-23", int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)),
        ("0", 0),
    ],
)
def test_since(text: str, expected: int) -> None:
    assert parse_since(text) == expected


def test_since_that_is_neither() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        parse_since("yesterday")
