"""What is published, held against itself as a reader sees it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from jobs.lib.publish import PublishedHours, Source, publish, publish_day
from jobs.lib.published import Published, check, differing_before, look
from tests.conftest import Postgres
from tests.integration.test_quality import ACCOUNTING, ROWS, tables
from wikiweir.hours import Day, Hour

DAY = Day(datetime(2026, 5, 1, tzinfo=UTC))
HOURS = [Hour(DAY.start.replace(hour=n)) for n in (3, 4)]


@pytest.fixture(scope="module")
def batch(postgres: Postgres) -> Iterator[Connection]:
    """Two hours, and the day as the first of them was alone."""
    with closing(postgres.connect("batch")) as connection:
        for hour in HOURS:
            source = Source(hour=hour, bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test")
            publish(connection, source, tables(source), ACCOUNTING, {"silver/facts": 1})
            if hour == HOURS[0]:
                daily = {
                    name.replace("hourly", "daily"): rows for name, rows in tables(source).items() if "hour" in name
                }
                publish_day(connection, PublishedHours(day=DAY, hours=(hour,), versions=1), daily, "test")
        yield connection


def seen(
    postgres: Postgres, since: datetime = DAY.start, before: Mapping[str, Collection[str]] = MappingProxyType({})
) -> Published:
    with closing(postgres.connect("reader")) as reader:
        return look(reader, since, before)


def incidents(batch: Connection) -> dict[str, Any]:
    with batch.cursor() as cursor:
        cursor.execute(
            "SELECT subject, details FROM ops.incidents WHERE kind = 'published_differs' AND closed_at IS NULL"
        )
        return dict(cursor.fetchall())


def still_open(batch: Connection) -> dict[str, list[str]]:
    with batch.cursor() as cursor:
        return differing_before(cursor)


def write(postgres: Postgres, statement: str) -> None:
    with closing(postgres.connect("owner")) as owner, owner.cursor() as cursor:
        cursor.execute(statement)


def test_an_hour_that_is_not_its_minutes_shows_until_it_is_mended(postgres: Postgres, batch: Connection) -> None:
    found = seen(postgres)
    assert list(found.hours.index) == [hour.start for hour in HOURS]
    assert found.days.empty, "it waits for its second hour"
    assert check(batch, found, "good")
    write(postgres, f"UPDATE batch.activity SET edits = edits + 1 WHERE window_start >= '{HOURS[1].start}'")
    for _ in range(2):
        assert not check(batch, seen(postgres), "bad")
    [(subject, details)] = incidents(batch).items()
    assert (subject, details["of"]) == ("published_hours", ["2026-05-01T04"])
    assert still_open(batch) == {"published_hours": ["2026-05-01T04"]}
    assert list(details["failed"]) == [
        "expect_column_pair_values_to_be_equal(activity.edits, activity.edits of its parts)"
    ]
    write(postgres, f"UPDATE batch.activity SET edits = edits - 1 WHERE window_start >= '{HOURS[1].start}'")
    assert check(batch, seen(postgres), "good again")
    assert incidents(batch) == {}
    assert still_open(batch) == {}


def test_an_hour_that_differed_is_looked_at_until_it_agrees_however_old(postgres: Postgres, batch: Connection) -> None:
    write(postgres, f"UPDATE batch.activity SET edits = edits + 1 WHERE window_start < '{HOURS[0].end}'")
    assert not check(batch, seen(postgres), "bad")
    differing = {"published_hours": ["2026-05-01T03"]}
    assert check(batch, seen(postgres, HOURS[1].start), "later")
    assert still_open(batch) == differing, "nobody has looked at it again"
    found = seen(postgres, HOURS[0].end, still_open(batch))
    assert list(found.hours.index) == [hour.start for hour in HOURS]
    assert not check(batch, found, "later")
    write(postgres, f"UPDATE batch.activity SET edits = edits - 1 WHERE window_start < '{HOURS[0].end}'")
    assert check(batch, seen(postgres, datetime(2026, 6, 1, tzinfo=UTC), still_open(batch)), "mended")
    assert still_open(batch) == {}


def test_an_event_that_was_counted_and_is_not_there_shows(postgres: Postgres, batch: Connection) -> None:
    write(postgres, f"DELETE FROM batch.activity WHERE type = 'categorize' AND window_start >= '{HOURS[1].start}'")
    write(
        postgres, f"DELETE FROM batch.activity_hourly WHERE type = 'categorize' AND window_start >= '{HOURS[1].start}'"
    )
    assert not check(batch, seen(postgres), "bad")
    assert any("facts" in failed for failed in incidents(batch)["published_hours"]["failed"])


def test_a_day_is_held_against_its_published_hours(postgres: Postgres, batch: Connection) -> None:
    write(postgres, "UPDATE ops.published_days SET hours = 2, hour_versions = 2")
    assert not check(batch, seen(postgres), "bad")
    assert still_open(batch)["published_days"] == ["2026-05-01T00"]
    write(postgres, "UPDATE ops.published_days SET hour_versions = 1")
    check(batch, seen(postgres), "its day is built next")
    assert still_open(batch)["published_days"] == ["2026-05-01T00"]


def test_nothing_published_is_nothing_wrong(postgres: Postgres, batch: Connection) -> None:
    with closing(postgres.connect("reader")) as reader:
        assert check(batch, look(reader, datetime(2030, 1, 1, tzinfo=UTC), {}), "early")
