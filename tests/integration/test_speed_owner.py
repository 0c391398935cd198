"""Takeover, fence and ledger on a real PostgreSQL, without Spark.

The surprising thing: a backend that waits inside COPY is ended by takeover alone; no time-out of the server's would.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from jobs.lib import ledger, speed_sql
from jobs.lib.ledger import Entry
from jobs.lib.offsets import Gap
from jobs.lib.owner import FencedError, Owner, RefusedError, RetiredError, live_generation
from tests.conftest import Postgres
from wikiweir.clock import SystemClock


def owner(postgres: Postgres, *, generation: int = 1, source_id: str = "test", fence: bool = True) -> Owner:
    return Owner(
        postgres.dsn("stream"),
        generation=generation,
        source_id=source_id,
        clock=SystemClock(),
        fence=fence,
        prepare=speed_sql.create_stages,
    )


@pytest.fixture
def first(postgres: Postgres) -> Iterator[Owner]:
    made = owner(postgres)
    made.take_over()
    yield made
    made.lose()


def entry(sequence: int, **changes: object) -> Entry:
    made = Entry(
        generation=1,
        sequence=sequence,
        checkpoint_id=f"c{sequence}",
        batch_id=0,
        start_offsets={0: 0, 1: 0},
        end_offsets={0: sequence, 1: 0},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_takeover_raises_the_epoch_and_ends_the_former_backend(postgres: Postgres, first: Owner) -> None:
    held = first.connection()
    second = owner(postgres)
    assert second.take_over() == first.epoch + 1
    with pytest.raises(psycopg2.OperationalError), held.cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(FencedError, match="another driver has taken over"):
        first.connection()
    second.lose()


def test_takeover_ends_a_backend_that_waits_inside_copy(postgres: Postgres, first: Owner) -> None:
    begun, go_on = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    class Slow(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            if not begun.is_set():
                return begun.set() or b"1,2026-11-23 09:00:00+00,00000000-0000-4000-8000-000000000001\n"  # type: ignore[func-returns-value]
            go_on.wait(60)
            return b""

    def copy() -> None:
        try:
            with first.connection().cursor() as cursor:
                cursor.copy_expert(f"COPY {speed_sql.IDS} FROM STDIN (FORMAT csv)", Slow())
        except psycopg2.Error as failure:
            failures.append(failure)

    worker = threading.Thread(target=copy)
    worker.start()
    assert begun.wait(20)
    second = owner(postgres)
    second.take_over()
    go_on.set()
    worker.join(20)
    assert len(failures) == 1
    second.lose()


def test_takeover_frees_an_owner_row_that_is_locked(postgres: Postgres, first: Owner) -> None:
    with first.connection().cursor() as cursor:
        cursor.execute("BEGIN")
        first.fence(cursor)
        second = owner(postgres)
        assert second.take_over() == first.epoch + 1
    second.lose()


def test_a_lost_connection_comes_back_while_the_epoch_is_ours(postgres: Postgres, first: Owner) -> None:
    pid = first.connection().info.backend_pid
    with closing(postgres.connect("admin")) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    first.lose()
    with first.connection().cursor() as cursor:
        cursor.execute("SELECT backend_pid = pg_backend_pid() FROM ops.stream_owner WHERE generation = 1")
        assert cursor.fetchone() == (True,)
        cursor.execute(f"SELECT count(*) FROM {speed_sql.IDS}")
        assert cursor.fetchone() == (0,)


def test_a_fenced_owner_cannot_lock_the_row(postgres: Postgres, first: Owner) -> None:
    with closing(postgres.connect("stream")) as other, other.cursor() as cursor:
        cursor.execute("UPDATE ops.stream_owner SET epoch = epoch + 1 WHERE generation = 1")
    with pytest.raises(FencedError), first.connection().cursor() as cursor:
        first.fence(cursor)


def test_without_the_fence_nobody_is_stopped(postgres: Postgres) -> None:
    loose = owner(postgres, fence=False)
    loose.take_over()
    second = owner(postgres, fence=False)
    second.take_over()
    with loose.connection().cursor() as cursor:
        loose.fence(cursor)
        cursor.execute("SELECT 1")
    loose.lose()
    second.lose()


def test_another_source_is_refused(postgres: Postgres, first: Owner) -> None:
    with pytest.raises(RefusedError, match="bound to source"):
        owner(postgres, source_id="live").take_over()


def test_an_unset_source_is_refused(postgres: Postgres) -> None:
    with pytest.raises(RefusedError, match="WIKIWEIR_SOURCE_ID"):
        owner(postgres, source_id="unset").take_over()


def test_the_ledger_gives_back_what_was_appended(postgres: Postgres, first: Owner) -> None:
    written = entry(1, received=3, facts=2, duplicates=1, owner_epoch=first.epoch)
    with first.connection().cursor() as cursor:
        assert ledger.last(cursor, 1) is None
        ledger.append(cursor, written)
        ledger.append(cursor, entry(2))
        assert ledger.first(cursor, 1) == written
        assert ledger.last(cursor, 1) == entry(2)
        with pytest.raises(psycopg2.errors.UniqueViolation):
            ledger.append(cursor, entry(2, checkpoint_id="other"))
        with pytest.raises(psycopg2.errors.UniqueViolation):
            ledger.append(cursor, entry(3, checkpoint_id="c2"))
        with pytest.raises(psycopg2.errors.CheckViolation):
            ledger.append(cursor, entry(4, received=5))


def test_an_id_is_one_probe_in_a_leaf_without_statistics(postgres: Postgres, first: Owner) -> None:
    hour = "2026-11-23 09:00:00+00"
    with first.connection().cursor() as cursor:
        cursor.execute("SELECT speed.ensure_partitions(1::smallint, '{}', ARRAY[%s::timestamptz], '{}')", (hour,))
        numbered = f"SELECT %s, timestamptz '{hour}', md5(n::text)::uuid FROM generate_series(%s, %s) AS n"
        cursor.execute(f"INSERT INTO speed.seen {numbered}", (1, 1, 2000))
        cursor.execute(f"INSERT INTO {speed_sql.IDS} {numbered}", (7, 1901, 2400))
        cursor.execute(b"EXPLAIN (ANALYZE, FORMAT json) " + cursor.mogrify(speed_sql.KNOWN_IDS, (1, [hour])))
        [([explained],)] = cursor.fetchall()
    scans = [node for node in nodes(explained["Plan"]) if node.get("Relation Name", "").startswith("seen_")]
    assert [(node["Actual Loops"], node["Actual Rows"] <= 1) for node in scans] == [(500, True)]
    assert explained["Plan"]["Actual Rows"] == 100


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(below for child in plan.get("Plans", []) for below in nodes(child))]


def test_gaps_and_incidents_are_written(postgres: Postgres, first: Owner) -> None:
    with first.connection().cursor() as cursor:
        ledger.record_gaps(
            cursor, "speed", 1, (Gap(0, 4, 10, "no longer in Kafka"), Gap(1, 1, 2, "no longer in Kafka"))
        )
        ledger.open_incident(cursor, "checkpoint_retired", "speed", "torn", {"new": "c"})
        cursor.execute("SELECT partition, from_offset, to_offset FROM ops.stream_gaps ORDER BY 1")
        assert cursor.fetchall() == [(0, 4, 10), (1, 1, 2)]
        cursor.execute("SELECT subject, details FROM ops.incidents")
        assert cursor.fetchall() == [("speed", {"new": "c"})]


def test_a_retired_generation_sends_its_driver_to_the_live_one(postgres: Postgres, first: Owner) -> None:
    with first.connection().cursor() as cursor:
        cursor.execute("SELECT speed.ensure_generation(2)")
        shadow = owner(postgres, generation=2)
        shadow.take_over()
        with shadow.connection().cursor() as other:
            ledger.append(other, entry(1, generation=2, end_offsets={0: 99, 1: 99}))
        cursor.execute("SELECT speed.swap_generation(1, 2)")
        with pytest.raises(RetiredError):
            first.fence(cursor)
        assert live_generation(cursor) == 2
    shadow.lose()
