"""Which rows of an hour count, where copies lie in other hours and the lake holds a Kafka record twice."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from pyspark.sql import DataFrame, SparkSession

from jobs.lib.bronze import bronze
from jobs.lib.clean import CleanHour, clean
from tests.spark.records import KAFKA_MS, kafka_frame
from wikiweir.hours import Hour

NOW = datetime.fromtimestamp(KAFKA_MS / 1000, UTC)
HOUR = Hour.of(NOW)
HALF_PAST = HOUR.start + timedelta(minutes=30)


def edit(number: int, *, at: datetime = HALF_PAST, dt: datetime = HALF_PAST, **changes: Any) -> bytes:
    """An invented edit; its number is its identity, its `meta.dt` half past the hour whenever it was made."""
    meta = {"id": str(UUID(int=number)), "dt": dt.isoformat().replace("+00:00", "Z"), "domain": "en.example.org"}
    made = {"meta": meta, "type": "edit", "wiki": "enwiki", "title": "Meadow", "user": "Heron"}
    return json.dumps({**made, "timestamp": int(at.timestamp()), **changes}).encode()


def cleaned(table: DataFrame, hour: Hour = HOUR) -> CleanHour:
    return clean(table, hour, user_key_secret=b"invented", mask_addresses=True)


def outcomes(found: CleanHour) -> Counter[tuple[str, str]]:
    return Counter((row["outcome"], row["reason"]) for row in found.records.collect())


def test_a_copy_is_found_in_whatever_hour_the_first_one_fell(spark: SparkSession) -> None:
    earlier = HALF_PAST - timedelta(hours=1)
    lines = [
        edit(1, at=earlier),  # first copy, an hour earlier
        edit(1),
        edit(2),
        edit(2, at=earlier),  # later copy, an hour earlier: none of this hour's business
        edit(3),
        edit(3),
        edit(4, title="x" * 600),  # a first copy that is rejected ...
        edit(4),  # ... decides
        b'{"meta": {"id": "heartbeat", "domain": "canary"}}',
        b"[]",
    ]
    found = cleaned(bronze(kafka_frame(spark, lines, int(HALF_PAST.timestamp() * 1000))))
    assert found.rewritten == 0
    assert outcomes(found) == {
        ("fact", ""): 2,
        ("duplicate", ""): 3,
        ("rejected", "title_too_long"): 1,
        ("rejected", "no_meta_id"): 1,
        ("canary", ""): 1,
    }


def test_a_record_that_the_lake_holds_twice_counts_once_and_is_no_duplicate(spark: SparkSession) -> None:
    table = bronze(kafka_frame(spark, [edit(1), edit(2), edit(2)], int(HALF_PAST.timestamp() * 1000)))
    found = cleaned(table.unionAll(table.where("offset < 2")).unionAll(table.where("offset = 0")))
    assert found.rewritten == 3
    assert outcomes(found) == {("fact", ""): 2, ("duplicate", ""): 1}


def test_an_hour_of_any_year_is_found(spark: SparkSession) -> None:
    """Of 1500, where Java's and Python's calendars are ten days apart, and of 999, which has fewer digits."""
    for text in ("1500-05-04T03", "0999-12-31T10"):
        hour = Hour.parse(text)
        at = hour.start + timedelta(minutes=7)
        # no later than 14 hours before, in a zone where it is another year: `meta.dt` has a year of four digits
        dt = at.astimezone(timezone(timedelta(hours=14)))
        found = cleaned(bronze(kafka_frame(spark, [edit(1, at=at, dt=dt), edit(1, at=at, dt=dt), edit(2)])), hour)
        assert outcomes(found) == {("fact", ""): 1, ("duplicate", ""): 1}, text
        assert str(hour) == text


def test_copies_are_found_in_both_hours_that_have_one_name_where_clocks_are_put_back(spark: SparkSession) -> None:
    for start in (datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)):  # 2:00 in Berlin
        at = start + timedelta(minutes=7)
        table = bronze(kafka_frame(spark, [edit(1, at=at, dt=at)] * 2, int(at.timestamp() * 1000)))
        assert outcomes(cleaned(table, Hour(start))) == {("fact", ""): 1, ("duplicate", ""): 1}, start


def test_an_hour_without_rows_is_empty(spark: SparkSession) -> None:
    found = cleaned(bronze(kafka_frame(spark, [edit(1, at=HALF_PAST - timedelta(hours=2))])))
    assert found.rewritten == 0
    assert outcomes(found) == {}
