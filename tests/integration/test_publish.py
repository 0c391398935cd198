"""An hour replaced in one transaction on a real PostgreSQL, without Spark: two at once, an older result, half a one."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pyarrow as pa
import pytest

from jobs.lib.publish import NewerPublishedError, Source, publish
from tests.conftest import Postgres
from wikiweir.hours import Hour
from wikiweir.rollups import EDIT_SIZES, ROLLUPS

MINUTE = pa.timestamp("us", "UTC")


def source(hour: Hour, bronze_version: int) -> Source:
    return Source(
        hour=hour, bronze_version=bronze_version, bronze_rows=9, end_offsets={0: bronze_version}, run_id="test"
    )


def tables(hour: Hour, edits: int, wiki: str = "enwiki") -> dict[str, pa.Table]:
    """One row of edit_sizes, nothing else."""
    row = {"window_start": pa.array([hour.start], MINUTE), "wiki": [wiki], "user_class": ["bot"], "size_bucket": ["0"]}
    found = {rollup.name: pa.table({}) for rollup in ROLLUPS}
    found[EDIT_SIZES.name] = pa.table({**row, "edits": pa.array([edits], pa.int64())})
    return found


def hour(number: int) -> Hour:
    """An hour of its own for each test."""
    return Hour(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=number))


def seen(postgres: Postgres, of: Hour) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Served rows, publication and accounting of an hour, as a reader has them in one snapshot."""
    with closing(postgres.connect("reader", autocommit=False)) as reader, reader.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = []
        for query in (
            "SELECT wiki, edits, layer FROM serving.edit_sizes WHERE window_start = %s ORDER BY 1",
            "SELECT version, bronze_version FROM ops.published_hours WHERE hour = %s",
            "SELECT outcome, reason, records FROM ops.hour_outcomes WHERE hour = %s ORDER BY 1, 2",
        ):
            cursor.execute(query, (of.start,))
            found.append(cursor.fetchall())
    return found[0], found[1], found[2]


def test_an_hour_is_replaced_whole(postgres: Postgres) -> None:
    with closing(postgres.connect("batch")) as batch:
        assert publish(batch, source(hour(1), 5), tables(hour(1), 7), {("fact", ""): 7, ("duplicate", ""): 2}, {}) == 1
        assert publish(batch, source(hour(1), 5), tables(hour(1), 9, "dewiki"), {("fact", ""): 9}, {}) == 2
        assert publish(batch, source(hour(2), 5), tables(hour(2), 1), {}, {}) == 1
    assert seen(postgres, hour(1)) == ([("dewiki", 9, "batch")], [(2, 5)], [("fact", "", 9)])
    assert seen(postgres, hour(2)) == ([("enwiki", 1, "batch")], [(1, 5)], [])


def test_an_older_result_never_replaces_a_newer_one(postgres: Postgres) -> None:
    with closing(postgres.connect("batch")) as batch:
        publish(batch, source(hour(3), 8), tables(hour(3), 8), {("fact", ""): 8}, {})
        before = seen(postgres, hour(3))
        with pytest.raises(NewerPublishedError, match="2026-03-01T03"):
            publish(batch, source(hour(3), 7), tables(hour(3), 7), {("fact", ""): 7}, {})
        assert seen(postgres, hour(3)) == before
        assert publish(batch, source(hour(3), 9), tables(hour(3), 9), {("fact", ""): 9}, {}) == 2, (
            "the connection is usable"
        )


def test_what_fails_half_way_changes_nothing(postgres: Postgres) -> None:
    with closing(postgres.connect("batch")) as batch:
        publish(batch, source(hour(4), 1), tables(hour(4), 1), {("fact", ""): 1}, {})
        before = seen(postgres, hour(4))
        with pytest.raises(psycopg2.errors.CheckViolation):
            publish(batch, source(hour(4), 2), tables(hour(4), 2), {("lost", ""): 2}, {})
    assert seen(postgres, hour(4)) == before


def test_two_runs_of_one_hour_wait_for_each_other(postgres: Postgres) -> None:
    versions: list[int] = []
    torn: list[Any] = []
    over = threading.Event()

    def run(edits: int) -> None:
        with closing(postgres.connect("batch")) as batch:
            for _ in range(20):
                versions.append(publish(batch, source(hour(5), 1), tables(hour(5), edits), {("fact", ""): edits}, {}))

    def look() -> None:
        while not over.is_set():
            rows, published, accounting = seen(postgres, hour(5))
            if bool(rows) != bool(published) or [row[1] for row in rows] != [row[2] for row in accounting]:
                torn.append((rows, published, accounting))

    reader, *writers = [threading.Thread(target=look), *(threading.Thread(target=run, args=(n,)) for n in (1, 2))]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    over.set()
    reader.join(10)
    assert sorted(versions) == list(range(1, 41)), "each publication once, none lost"
    assert torn == []
