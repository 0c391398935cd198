"""What is dropped from `speed`, `batch` and `ops` and what stays, called as the batch role on a real server.

Each test has a day of its own, a few years ago, because a day is dropped whole.
"""

import itertools
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection

from jobs.lib import postgres_retention
from jobs.lib.postgres_retention import FOR_EVER, KEPT
from tests.conftest import Postgres
from wikiweir.clock import SystemClock
from wikiweir.rollups import ROLLUPS
from wikiweir.settings import Lifetimes

KEEP = timedelta(hours=48)
OLD, YOUNG = timedelta(hours=49), timedelta(hours=47)
"""Ages of a publication."""
_days = itertools.count()


def ask(connected: connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connected.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True, slots=True)
class Day:
    """A day of live rows and of published ones, and who looks at it."""

    start: datetime
    stream: connection
    batch: connection
    owner: connection
    reader: connection

    def hour(self, number: int) -> datetime:
        return self.start + timedelta(hours=number)

    def count(self, number: int) -> None:
        """The speed layer has rows of an hour, in every rollup."""
        at = self.hour(number)
        ask(self.stream, "SELECT speed.ensure_partitions(1, %s::timestamptz[], '{}', '{}')", [at])
        self._rows(self.stream, "speed", "1, ", at)

    def publish(self, number: int, *, age: timedelta = OLD, verdict: str | None = "equal") -> None:
        """The batch layer has published an hour so long ago; `verdict` none: nobody has judged it."""
        at = self.hour(number)
        ask(self.batch, "SELECT batch.ensure_partitions(%s::timestamptz[])", [at])
        self._rows(self.batch, "batch", "", at)
        ask(
            self.batch,
            "INSERT INTO ops.published_hours (hour, version, bronze_version, end_offsets, run_id, published_at)"
            " VALUES (%s, 1, 1, '{}', 'test', now() - %s)",
            at, age,
        )  # fmt: skip
        if verdict is not None:
            ask(
                self.batch,
                "INSERT INTO ops.reconciliation"
                " (hour, rollup, metric, speed, batch, keys_differing, verdict, ledger_offsets, run_id)"
                " VALUES (%s, 'records', 'records', 1, 1, 0, 'equal', '{}', 'test'),"
                " (%s, 'activity', 'events', 1, 1, 0, %s, '{}', 'test')",
                at, at, verdict,
            )  # fmt: skip

    def _rows(self, connected: connection, schema: str, generation: str, at: datetime) -> None:
        rows = {
            "activity": "'enwiki', 'edit', 0, 'bot', 1, 1, 0, 0, 0, 0, 0, 0",
            "user_activity": "'enwiki', gen_random_uuid(), 'Heron', 'bot', 1, 0, 0, 0, 0",
            "page_activity": "'enwiki', 0, 'Meadow', 1, 0, 0, 0, now()",
            "edit_sizes": "'enwiki', 'bot', '0', 1",
        }
        for table, values in rows.items():
            ask(connected, f"INSERT INTO {schema}.{table} VALUES ({generation}%s, {values})", at)

    def expire(self) -> tuple[int, int, list[datetime]]:
        """Days dropped, days in use, hours of this day that hold it back."""
        [(dropped, in_use, held_back)] = ask(self.batch, "SELECT * FROM speed.expire_minutes(%s)", KEEP)
        return dropped, in_use, [hour for hour in held_back if self._is_mine(hour)]

    def _is_mine(self, hour: datetime) -> bool:
        return self.start <= hour < self.start + timedelta(days=1)

    def live(self) -> dict[str, int]:
        """Rollup -> live rows of the day."""
        return {rollup.name: len(self._of("speed", rollup.name)) for rollup in ROLLUPS}

    def _of(self, schema: str, table: str) -> list[tuple[Any, ...]]:
        where = "window_start >= %s AND window_start < %s::timestamptz + interval '1 day'"
        connected = self.reader if schema == "serving" else self.owner
        return ask(connected, f"SELECT * FROM {schema}.{table} WHERE {where} ORDER BY 1", self.start, self.start)

    def served(self) -> dict[str, list[tuple[Any, ...]]]:
        """Rollup -> what readers see of the day."""
        return {rollup.name: self._of("serving", rollup.name) for rollup in ROLLUPS}

    def marked(self) -> list[datetime]:
        """Hours that are marked as having no live rows any more."""
        rows = ask(self.owner, "SELECT hour FROM ops.published_hours WHERE speed_pruned_at IS NOT NULL ORDER BY 1")
        return [hour for (hour,) in rows if self._is_mine(hour)]

    def leaf(self, table: str) -> str:
        """The day's leaf of a batch table; empty if there is none."""
        found = ask(self.owner, "SELECT to_regclass(%s)::text", f"batch.{table}_{self.start:%Y%m%d}")
        return str(found[0][0] or "")


@pytest.fixture
def day(postgres: Postgres) -> Iterator[Day]:
    with ExitStack() as stack:
        roles = ("stream", "batch", "owner", "reader")
        connections = [stack.enter_context(closing(postgres.connect(role))) for role in roles]
        yield Day(datetime(2021, 3, 1, tzinfo=UTC) + timedelta(days=next(_days)), *connections)


# ---- live minutes


def test_a_day_of_live_rows_goes_when_each_of_its_hours_was_found_to_agree(day: Day) -> None:
    for number, verdict in ((0, "equal"), (7, "explained"), (23, "pruned")):
        day.count(number)
        day.publish(number, verdict=verdict)
    day.publish(8)  # had no live rows
    served = day.served()
    assert {len(rows) for rows in served.values()} == {4}
    dropped, in_use, held_back = day.expire()
    assert (dropped >= 1, in_use, held_back) == (True, 0, [])
    assert set(day.live().values()) == {0}
    assert day.marked() == [day.hour(number) for number in (0, 7, 8, 23)]
    assert day.served() == served


@pytest.mark.parametrize(
    "publish",
    [
        lambda day: None,
        lambda day: day.publish(5, age=YOUNG),
        lambda day: day.publish(5, verdict=None),
        lambda day: day.publish(5, verdict="pending"),
        lambda day: day.publish(5, verdict="differ"),
    ],
    ids=["unpublished", "just published", "not judged", "pending", "differ"],
)
def test_one_hour_that_is_not_settled_holds_its_day_back(day: Day, publish: Callable[[Day], None]) -> None:
    for number in (4, 5):
        day.count(number)
    day.publish(4)
    publish(day)
    served = day.served()
    assert day.expire()[2] == [day.hour(5)]
    assert set(day.live().values()) == {2}
    assert day.marked() == []
    assert day.served() == served


def test_a_late_row_of_a_dropped_day_goes_in_its_turn(day: Day) -> None:
    day.count(3)
    day.publish(3)
    day.expire()
    day.count(3)
    assert day.expire()[0] >= 1
    assert set(day.live().values()) == {0}


def test_a_drop_of_live_rows_gives_way_to_readers(postgres: Postgres, day: Day) -> None:
    day.count(1)
    day.publish(1)
    with closing(postgres.connect("reader", autocommit=False)) as reader:
        ask(reader, "SELECT count(*) FROM serving.page_activity")
        assert day.expire()[1] >= 1
        assert (set(day.live().values()), day.marked()) == ({1}, [])
    assert day.expire()[1:] == (0, [])
    assert set(day.live().values()) == {0}


def test_a_day_that_has_not_ended_for_so_long_is_not_touched(day: Day) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = replace(day, start=midnight - timedelta(days=1))
    yesterday.count(0)
    yesterday.publish(0, age=timedelta(days=9))
    assert yesterday.expire()[2] == []
    assert set(yesterday.live().values()) == {1}


# ---- batch


def test_leaves_of_a_batch_table_go_by_what_was_published_in_them(day: Day) -> None:
    other = replace(day, start=day.start + timedelta(days=100))
    day.publish(2, age=timedelta(days=40))
    other.publish(2, age=timedelta(days=40))
    other.publish(3, age=timedelta(days=30))
    [(dropped, in_use)] = ask(day.batch, "SELECT * FROM batch.expire_partitions('activity', '31 days')")
    assert (dropped >= 1, in_use) == (True, 0)
    assert (day.leaf("activity"), bool(other.leaf("activity"))) == ("", True)
    assert day.leaf("edit_sizes"), "another table has its own lifetime"


def test_a_published_hour_without_its_minutes_is_not_served_from_live_rows(day: Day) -> None:
    day.count(6)
    day.publish(6, verdict="differ", age=timedelta(days=40))
    ask(day.batch, "SELECT * FROM batch.expire_partitions('activity', '31 days')")
    assert day.live()["activity"] == 1
    served = day.served()
    assert (len(served["activity"]), len(served["edit_sizes"])) == (0, 1)


def test_every_table_of_batch_is_decided_upon(postgres: Postgres) -> None:
    with closing(postgres.connect("owner")) as owner:
        found = ask(
            owner,
            "SELECT c.relname, c.relkind = 'p' FROM pg_class AS c WHERE c.relnamespace = 'batch'::regnamespace"
            " AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
        )
    assert {table for table, _ in found} - KEPT.keys() - FOR_EVER == set()
    assert {table for table, has_leaves in found if not has_leaves} & KEPT.keys() == set(), "only leaves are dropped"
    assert set(KEPT.values()) <= Lifetimes.model_fields.keys()


# ---- operations


def test_findings_that_are_over_go_and_what_is_open_stays(day: Day) -> None:
    ask(
        day.owner,
        "INSERT INTO ops.incidents (kind, subject, message, opened_at, closed_at)"
        " SELECT 'test', s, 'm', '2021-01-01', c FROM (VALUES ('open', NULL), ('over', '2021-01-02'),"
        " ('just over', now())) AS v (s, c)",
    )
    ask(
        day.owner,
        "INSERT INTO ops.hour_ends (hour, cursor_at, end_offsets, recorded_at)"
        " VALUES ('2021-01-01', now(), '{}', '2021-01-01'), ('2021-01-02', now(), '{}', '2021-01-02')",
    )
    ask(
        day.owner,
        "INSERT INTO ops.quality_results SELECT 'test', '2021-01-01', 's', e, 'info', true, '{}', '', at"
        " FROM (VALUES ('old', '2021-01-01'::timestamptz), ('young', now())) AS v (e, at)",
    )
    ask(
        day.owner,
        "INSERT INTO ops.dashboard_checks SELECT r, 'pulse', 'edits', 1, 0.1, NULL, at"
        " FROM (VALUES ('old', '2021-01-01'::timestamptz), ('young', now())) AS v (r, at)",
    )
    ask(
        day.owner,
        "INSERT INTO ops.lake_tables VALUES ('bronze', '2021-01-01', 1, 1), ('bronze', '2021-01-02', 1, 2),"
        " ('quarantine', '2021-01-01', 1, 3)",
    )
    assert ask(day.batch, "SELECT ops.expire_findings('90 days')") == [(5,)]
    assert ask(day.owner, "SELECT run_id FROM ops.dashboard_checks") == [("young",)]
    assert ask(day.owner, "SELECT table_name, bytes FROM ops.lake_tables ORDER BY 1") == [
        ("bronze", 2),
        ("quarantine", 3),
    ], "a table is shown as it was measured last"
    assert ask(day.owner, "SELECT subject FROM ops.incidents ORDER BY 1") == [("just over",), ("open",)]
    assert ask(day.owner, "SELECT hour::date::text FROM ops.hour_ends") == [("2021-01-02",)]
    assert ask(day.owner, "SELECT expectation FROM ops.quality_results") == [("young",)]


def test_a_dry_run_takes_each_drop_back_before_the_next(day: Day) -> None:
    day.count(1)
    day.publish(1, age=timedelta(days=500))
    live, leaf = day.live(), day.leaf("activity")
    assert leaf
    in_the_way = "SELECT FROM pg_locks WHERE pid = %s AND mode = 'AccessExclusiveLock'"
    said = []

    class Listens(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            assert ask(day.owner, in_the_way, day.batch.info.backend_pid) == [], said[-1]

    logger, listener = logging.getLogger(postgres_retention.__name__), Listens()
    logger.setLevel("INFO")
    logger.addHandler(listener)
    try:
        with day.batch.cursor() as cursor:
            postgres_retention.expire(cursor, Lifetimes(), SystemClock(), is_dry=True)
    finally:
        logger.removeHandler(listener)
    of_days = [
        f"batch.{name}" for name, lifetime in KEPT.items() if lifetime != "batch_hours"
    ]  # the others' are months
    for table in ("speed", *of_days):
        assert any(re.match(rf"{table}: [1-9]\d* ", line) for line in said), table
    assert (day.live(), day.leaf("activity")) == (live, leaf)


def test_what_was_in_use_is_tried_again(postgres: Postgres, day: Day) -> None:
    day.count(1)
    day.publish(1, age=timedelta(days=500))
    reader = postgres.connect("reader", autocommit=False)
    ask(reader, "SELECT count(*) FROM serving.activity")

    class Waits(SystemClock):
        def sleep(self, seconds: float) -> None:
            reader.close()

    with day.batch.cursor() as cursor:
        postgres_retention.expire(cursor, Lifetimes(), Waits())
    assert set(day.live().values()) == {0}
    assert {table: day.leaf(table) for table in ("activity", "page_activity")} == {"activity": "", "page_activity": ""}
