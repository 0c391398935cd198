"""The gate before an hour is published, with Great Expectations and PostgreSQL: what passes, blocks, warns."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from psycopg2.extensions import connection as Connection

from jobs.lib.publish import PublishedHours, Source, publish
from jobs.lib.quality import BlockedError, check_day, check_hour
from tests.conftest import Postgres
from wikiweir.hours import Day, Hour
from wikiweir.rollups import ROLLUPS, Dimension, Grain, Metric
from wikiweir.settings import Lifetimes

KEEP = Lifetimes()
_numbers = iter(range(1000))
ZEROS = bytes(16)
ACCOUNTING = {("fact", ""): 3, ("duplicate", ""): 1}
ROWS = 4
"""Rows of bronze, and what became of them."""


@pytest.fixture
def batch(postgres: Postgres) -> Iterator[Connection]:
    with closing(postgres.connect("batch")) as connection:
        yield connection


@pytest.fixture
def source() -> Source:
    """An hour of its own."""
    hour = Hour(datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=next(_numbers)))
    return Source(hour=hour, bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test")


def tables(source: Source, **changes: dict[str, Any]) -> dict[str, pa.Table]:
    """Two edits of a bot in one minute and a categorization, as each rollup has them; `changes`: rollup -> values."""
    minute = source.hour.start + timedelta(minutes=7)
    sums = {"edits": 2, "new_pages": 1, "bytes_added": 30, "bytes_removed": 4, "reverts": 0}
    edits = {"wiki": "enwiki", "type": "edit", "namespace": 0, "user_class": "bot", "events": 2, **sums}
    quiet = dict.fromkeys(sums, 0)
    categorize = {"wiki": "enwiki", "type": "categorize", "namespace": 14, "user_class": "bot", "events": 1, **quiet}
    nobody = {"minor_edits": 0, "unpatrolled_edits": 0}
    page = {"wiki": "enwiki", "namespace": 0, "title": "Meadow", **sums, "last_edit_at": minute}
    del page["new_pages"]
    rows: dict[str, list[dict[str, Any]]] = {
        "activity": [{**edits, **nobody, **changes.get("activity", {})}, {**categorize, **nobody}],
        "user_activity": [
            {"wiki": "enwiki", "user_key": ZEROS, "user_name": "Heron", "user_class": "bot", **sums,
             **changes.get("user_activity", {})}
        ],
        "page_activity": [{**page, **changes.get("page_activity", {})}],
        "edit_sizes": [
            {"wiki": "enwiki", "user_class": "bot", "size_bucket": "+10", "edits": 2, **changes.get("edit_sizes", {})}
        ],
    }  # fmt: skip
    distinct = {"activity": {"editors": 1}, "user_activity": {"pages": 1}, "page_activity": {"editors": 1}}
    types = {"text": pa.string(), "bigint": pa.int64(), "integer": pa.int32(), "uuid": pa.binary(16)}
    instant = pa.timestamp("us", "UTC")
    found = {}
    starts_of: dict[Grain, datetime] = {"minute": minute, "hour": source.hour.start}
    for rollup in ROLLUPS:
        for grain, start in starts_of.items():
            declared: list[Dimension | Metric] = [*rollup.dimensions, *rollup.measured(grain)]
            schema = [("window_start", instant), *((each.name, types.get(each.pg, instant)) for each in declared)]
            more = distinct.get(rollup.name, {}) if grain == "hour" else {}
            starts = [{"window_start": start, **row, **more} for row in rows[rollup.name]]
            for row in starts:
                row |= {} if row.get("edits") or grain == "minute" else {"editors": 0}
            found[rollup.table(grain)] = pa.Table.from_pylist(starts, schema=pa.schema(schema))
    return found


def results(batch: Connection, source: Source, which: str = "NOT success") -> list[tuple[str, str, str]]:
    with batch.cursor() as cursor:
        columns = "SELECT suite, severity, expectation FROM ops.quality_results"
        cursor.execute(f"{columns} WHERE hour = %s AND {which} ORDER BY 1", (source.hour.start,))
        return [(suite, severity, expectation) for suite, severity, expectation in cursor.fetchall()]


def open_incidents(batch: Connection, source: Source) -> list[dict[str, Any]]:
    with batch.cursor() as cursor:
        cursor.execute(
            "SELECT details FROM ops.incidents WHERE kind = 'hour_blocked' AND subject = %s AND closed_at IS NULL",
            (str(source.hour),),
        )
        return [details for (details,) in cursor.fetchall()]


def test_a_good_hour_passes_and_every_expectation_has_a_row(batch: Connection, source: Source) -> None:
    found = check_hour(batch, source, tables(source), ACCOUNTING)
    assert [verdict for verdict in found if not verdict.success] == []
    assert len(results(batch, source, "success")) == len(found) > 50
    assert {suite for suite, _, _ in results(batch, source, "true")} == {
        *(rollup.table(grain) for rollup in ROLLUPS for grain in ("minute", "hour")),
        "laws",
        "totals",
    }
    check_hour(batch, source, tables(source), ACCOUNTING)
    assert len(results(batch, source, "true")) == len(found), "the same run leaves its results once"


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"edit_sizes": {"user_class": "robot"}}, "expect_column_values_to_be_in_set(user_class)"),
        ({"page_activity": {"reverts": -1}}, "expect_column_values_to_be_between(reverts)"),
        ({"user_activity": {"user_name": None}}, "expect_column_values_to_not_be_null(user_name)"),
        ({"activity": {"new_pages": 3}}, "expect_column_pair_values_a_to_be_greater_than_b(edits, new_pages)"),
        ({"edit_sizes": {"edits": 1}}, "expect_column_pair_values_to_be_equal(edits, edits_by_size)"),
        (
            {"page_activity": {"bytes_added": 29}},
            "expect_column_pair_values_to_be_equal(bytes_added, bytes_added_by_page)",
        ),
        ({"activity": {"type": "categorize"}}, "expect_column_pair_values_to_be_equal(edits_by_categorize, none)"),
        ({"activity": {"events": 7}}, "expect_column_pair_values_to_be_equal(facts, events)"),
    ],
)  # fmt: skip
def test_what_cannot_be_blocks_the_hour(
    batch: Connection, source: Source, changes: dict[str, Any], failed: str
) -> None:
    with pytest.raises(BlockedError, match=r"docs/runbooks/hour_blocked\.md"):
        check_hour(batch, source, tables(source, **changes), ACCOUNTING)
    assert failed in [expectation for _, _, expectation in results(batch, source)]
    [details] = open_incidents(batch, source)
    assert any(failed in law for law in details["failed"])


def test_a_row_twice_a_row_of_another_hour_and_a_row_unaccounted_for_block(batch: Connection, source: Source) -> None:
    twice = tables(source)
    twice["edit_sizes"] = pa.concat_tables([twice["edit_sizes"]] * 2)
    later = Source(hour=Hour(source.hour.end), bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test")
    strayed = {**tables(source), "page_activity": tables(later)["page_activity"]}
    for rows, bronze_rows, failed in (
        (twice, ROWS, "expect_compound_columns_to_be_unique(window, wiki, user_class, size_bucket)"),
        (strayed, ROWS, "expect_column_values_to_be_between(window)"),
        (tables(source), ROWS + 1, "expect_column_pair_values_to_be_equal(bronze_rows, accounted)"),
    ):
        with pytest.raises(BlockedError):
            check_hour(batch, replace(source, bronze_rows=bronze_rows), rows, ACCOUNTING)
        assert failed in [expectation for _, _, expectation in results(batch, source)]


def test_an_hour_that_is_not_its_minutes_blocks(batch: Connection, source: Source) -> None:
    rows = {**tables(source), "edit_sizes_hourly": tables(source, edit_sizes={"edits": 3})["edit_sizes_hourly"]}
    with pytest.raises(BlockedError):
        check_hour(batch, source, rows, ACCOUNTING)
    assert results(batch, source) == [
        ("totals", "critical", "expect_column_pair_values_to_be_equal(edit_sizes.edits, edit_sizes.edits of its parts)")
    ]


def test_an_hour_that_bronze_has_less_of_than_is_published_blocks(batch: Connection, source: Source) -> None:
    more = {("fact", ""): 3, ("duplicate", ""): 2}
    publish(batch, replace(source, bronze_rows=5), tables(source), more, {})
    with pytest.raises(BlockedError):
        check_hour(batch, source, tables(source), ACCOUNTING)
    assert results(batch, source) == [
        ("laws", "critical", "expect_column_pair_values_a_to_be_greater_than_b(bronze_rows, published_rows)")
    ]
    check_hour(batch, replace(source, bronze_rows=5), tables(source), more)
    check_hour(batch, replace(source, bronze_rows=6), tables(source), {**more, ("duplicate", ""): 3})


def test_too_many_rejects_block(batch: Connection, source: Source) -> None:
    accounting = {("fact", ""): 3, ("rejected", "no_meta_id"): 21}
    with pytest.raises(BlockedError):
        check_hour(batch, replace(source, bronze_rows=24), tables(source), accounting)
    [details] = open_incidents(batch, source)
    assert "quarantine" in str(details["failed"])
    assert details["rows in"] == f"bronze version 1, event_hour {source.hour}"
    accounting = {("fact", ""): 3, ("rejected", "no_meta_id"): 20}
    check_hour(batch, replace(source, bronze_rows=23), tables(source), accounting)


def test_a_day_must_be_its_published_hours(batch: Connection) -> None:
    day = Day(datetime(2026, 6, 1, tzinfo=UTC))
    hours = [Hour(day.start), Hour(day.start + timedelta(hours=23))]
    for hour in hours:
        of_hour = Source(hour=hour, bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test")
        publish(batch, of_hour, tables(of_hour), ACCOUNTING, {})
    made_of = PublishedHours(day=day, hours=tuple(hours), versions=2)
    first = Source(hour=hours[0], bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test")
    of_one_hour = {name.replace("hourly", "daily"): rows for name, rows in tables(first).items() if "hourly" in name}
    with pytest.raises(BlockedError, match="day 2026-06-01"):
        check_day(batch, made_of, of_one_hour, "test", KEEP, day.end)
    assert ("totals_daily", "critical") in {found[:2] for found in results(batch, first)}
    batch.cursor().execute("DELETE FROM batch.activity_hourly WHERE window_start = %s", (hours[1].start,))
    for name in ("user_activity", "page_activity", "edit_sizes"):
        batch.cursor().execute(f"DELETE FROM batch.{name}_hourly WHERE window_start = %s", (hours[1].start,))
    check_day(batch, made_of, of_one_hour, "test", KEEP, day.end)
    assert results(batch, first) == []


def test_a_day_whose_hours_are_no_longer_kept_is_not_held_against_what_is_left_of_them(batch: Connection) -> None:
    day = Day(datetime(2026, 7, 1, tzinfo=UTC))
    hours = [Hour(day.start + timedelta(hours=number)) for number in (3, 4)]
    first, late = (
        Source(hour=hour, bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test") for hour in hours
    )
    for of_hour in (first, late):
        publish(batch, of_hour, tables(of_hour), ACCOUNTING, {})
    made_of = PublishedHours(day=day, hours=tuple(hours), versions=2)
    whole = {
        name.replace("hourly", "daily"): pa.concat_tables([rows, tables(late)[name]])
        for name, rows in tables(first).items()
        if "hourly" in name
    }
    for name, rows in whole.items():  # both hours are alike: the day has each key once, with twice its sums
        once = rows.slice(0, rows.num_rows // 2).to_pylist()
        sums = {metric.name for rollup in ROLLUPS for metric in rollup.summed}
        twice = [{key: 2 * value if key in sums else value for key, value in row.items()} for row in once]
        whole[name] = pa.Table.from_pylist([{**row, "window_start": day.start} for row in twice], schema=rows.schema)
    limit = day.end + KEEP.batch_key_hours
    check_day(batch, made_of, whole, "test", KEEP, limit - timedelta(seconds=1))
    batch.cursor().execute("DELETE FROM batch.user_activity_hourly WHERE window_start = %s", (first.hour.start,))
    with pytest.raises(BlockedError):
        check_day(batch, made_of, whole, "test", KEEP, limit - timedelta(seconds=1))
    found = check_day(batch, made_of, whole, "test", KEEP, limit)
    held = {verdict.expectation for verdict in found if verdict.suite == "totals_daily"}
    assert any("activity.edits" in law for law in held), "wikis and classes are kept for longer"
    assert not any("user_activity" in law or "page_activity" in law for law in held)


def test_the_incident_is_over_when_the_hour_passes(batch: Connection, source: Source) -> None:
    for run in ("first", "second"):
        with pytest.raises(BlockedError):
            check_hour(batch, replace(source, run_id=run), tables(source, edit_sizes={"edits": 1}), ACCOUNTING)
        assert [details["run"] for details in open_incidents(batch, source)] == [run]
    check_hour(batch, source, tables(source), ACCOUNTING)
    assert open_incidents(batch, source) == []
    with batch.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ops.incidents WHERE subject = %s", (str(source.hour),))
        assert cursor.fetchone() == (1,), "one, however often it is tried"


def test_an_unusual_volume_warns_once_there_are_enough_weeks(batch: Connection, source: Source) -> None:
    for weeks in range(1, 5):
        check_hour(batch, source, tables(source), ACCOUNTING)
        assert not [found for found in results(batch, source, "true") if found[0] == "volume"], "too few weeks"
        past = Hour(source.hour.start - weeks * timedelta(days=7))
        of_past = Source(hour=past, bronze_version=1, bronze_rows=ROWS, end_offsets={0: 1}, run_id="test")
        publish(batch, of_past, tables(of_past), {("fact", ""): 100}, {})
    check_hour(batch, source, tables(source), ACCOUNTING)
    assert results(batch, source) == [("volume", "warning", "expect_column_values_to_be_between(facts)")]


def test_an_empty_hour_passes(batch: Connection, source: Source) -> None:
    empty = {name: rows.slice(0, 0) for name, rows in tables(source).items()}
    assert all(verdict.success for verdict in check_hour(batch, replace(source, bronze_rows=0), empty, {}))
