"""A micro-batch of classified records -> one PostgreSQL transaction: ledger row, ids, increments, recent changes.

It computes first and writes last: which records count is settled, and all increments are in memory, before the
transaction begins. The surprising thing: a batch is tried until PostgreSQL took it, because only a batch that failed
for good reason to distrust the checkpoint should end Spark's query.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from pyspark.sql import DataFrame

from jobs.lib import judging, ledger, speed_sql
from jobs.lib.copying import copy
from jobs.lib.increments import increments
from jobs.lib.judging import Floor, Judged
from jobs.lib.ledger import Entry
from jobs.lib.mechanisms import ALL, NO_HOOKS, Hooks, Mechanisms
from jobs.lib.offsets import Offsets
from jobs.lib.owner import Owner
from jobs.lib.wikis import wiki_row
from wikiweir.clock import Clock
from wikiweir.rollups import ROLLUPS

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0


class MismatchError(RuntimeError):
    """Spark's checkpoint and the ledger disagree about this batch: the checkpoint is to be retired."""


class StoppedError(RuntimeError):
    """The program was told to stop before the batch was written."""


class ConflictError(RuntimeError):
    """An id or the floor changed under the batch: what was computed is void."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a batch came to, for progress and metrics."""

    entry: Entry
    newest_event_at: datetime | None
    increments: int


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """BEGIN … COMMIT on a connection in autocommit mode."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise


@dataclass(kw_only=True)
class SpeedSink:
    """What Spark calls with each micro-batch of one checkpoint. One thread; one life of the query."""

    owner: Owner
    checkpoint_id: str
    start: Offsets
    """Where the checkpoint began; what its first batch starts with."""
    follows: int
    """Sequence of the ledger row that `start` was taken from; 0 for none."""
    planned_end: Callable[[int], Offsets]
    """The end offsets that Spark planned for a batch."""
    keep_recent: timedelta
    clock: Clock
    stop: threading.Event
    on_commit: Callable[[Committed], None]
    on_wait: Callable[[str], None]
    on_position: Callable[[Offsets], None] = lambda _: None
    mechanisms: Mechanisms = ALL
    hooks: Hooks = NO_HOOKS
    failure: BaseException | None = None
    """Why the last batch failed, before Spark wrapped it."""
    batches: int = 0
    _leaves: set[object] = field(default_factory=set)
    _wikis: set[str] = field(default_factory=set)

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Write the batch, unless the ledger holds it already."""
        try:
            if self.stop.is_set():
                raise StoppedError("no batch is begun any more")
            end = self.planned_end(batch_id)
            self.hooks.at("batch_begun", checkpoint=self.checkpoint_id, batch=batch_id, end=end)
            self._until_written(cache(lambda: self._collect(frame, batch_id)), batch_id, end)
            self.batches += 1
        except Exception as failure:
            self.failure = failure
            # Spark looks through this text with a regular expression that overflows its stack on a long one.
            raise RuntimeError(f"{type(failure).__name__}: {str(failure)[:200]}") from None

    def _collect(self, frame: DataFrame, batch_id: int) -> pa.Table:
        """Run Spark's only job of the batch. A retry of what follows does not repeat it."""
        self.hooks.at("spark_job", batch=batch_id)
        return judging.in_order(frame.toArrow())

    def _until_written(self, collected: Callable[[], pa.Table], batch_id: int, end: Offsets) -> None:
        pause = 0.1
        while True:
            try:
                self._attempt(self.owner.connection(), collected, batch_id, end)
                return
            except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.IntegrityError, ConflictError) as bad:
                reason = f"batch {batch_id} is retried: {type(bad).__name__} {str(bad).strip()[:300]}"
            log.warning(reason)
            self.on_wait(reason)
            self.owner.lose()
            self._leaves = set()
            self._wikis = set()
            if self.stop.is_set():
                raise StoppedError(reason)
            self.clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _attempt(self, connection: Connection, collected: Callable[[], pa.Table], batch_id: int, end: Offsets) -> None:
        with connection.cursor() as cursor:
            last = ledger.last(cursor, self.owner.generation) if self.mechanisms.ledger else None
            if last and (last.checkpoint_id, last.batch_id) == (self.checkpoint_id, batch_id):
                self._skip(last, end)
                return
            start = self._start(last, batch_id)
            rows = collected()
            self._check_range(rows, start, end, batch_id)
            judged, floor = self._judge(cursor, rows)
        since = self.clock.now() - self.keep_recent
        tables = increments(judged.facts, since)
        entry = self._entry(last, batch_id, start, end, judged, floor)
        self._prepare_leaves(connection, judged, floor, tables)
        self._commit(connection, entry, judged, floor, tables)
        newest = pc.max(judged.facts["event_time"]).as_py()
        self.on_commit(Committed(entry, newest, sum(table.num_rows for table in tables.values())))

    def _skip(self, last: Entry, end: Offsets) -> None:
        if last.end_offsets != end:
            raise MismatchError(
                f"batch {last.batch_id} of {self.checkpoint_id} ends at {last.end_offsets} in the ledger,"
                f" Spark planned {end}"
            )
        log.info("batch %s is in the ledger already: skipped whole", last.batch_id)
        self.on_position(last.end_offsets)

    def _start(self, last: Entry | None, batch_id: int) -> Offsets:
        """Where the batch must begin; `MismatchError` if it does not follow the ledger."""
        if not self.mechanisms.ledger:
            return self.start
        if last is not None and (last.checkpoint_id, last.batch_id + 1) == (self.checkpoint_id, batch_id):
            return last.end_offsets
        if batch_id == 0 and self.follows == (last.sequence if last else 0):
            return self.start
        raise MismatchError(f"Spark runs batch {batch_id} of {self.checkpoint_id}, the ledger's last row is {last}")

    def _check_range(self, rows: pa.Table, start: Offsets, end: Offsets, batch_id: int) -> None:
        """Every record lies between the offsets that the ledger will state."""
        ranges = rows.group_by("partition").aggregate([("offset", "min"), ("offset", "max")])
        for row in ranges.to_pylist():
            partition, low, high = row["partition"], row["offset_min"], row["offset_max"]
            if self.mechanisms.ledger and not start.get(partition, 0) <= low <= high < end.get(partition, 0):
                raise MismatchError(
                    f"batch {batch_id} of {self.checkpoint_id} has offsets {low} to {high} of partition {partition},"
                    f" expected [{start.get(partition, 0)}, {end.get(partition, 0)})"
                )

    def _judge(self, cursor: Cursor, rows: pa.Table) -> tuple[Judged, Floor]:
        floor = self._floor(cursor)
        later = judging.later_copies(rows)
        ids = judging.first_copies(rows, later)
        cursor.execute(speed_sql.EMPTY_IDS)
        if ids.num_rows:
            copy(cursor, speed_sql.IDS, ids)
        known: list[int] = []
        if self.mechanisms.deduplication:
            cursor.execute(speed_sql.KNOWN_IDS, (self.owner.generation, judging.distinct_hours(ids["key_hour"])))
            known = [n for (n,) in cursor.fetchall()]
        else:
            later[:] = False
        return judging.judge(rows, later, known, floor), floor

    def _floor(self, cursor: Cursor) -> Floor:
        cursor.execute(speed_sql.FLOOR, (self.owner.generation,))
        (text, micros) = cursor.fetchone() or ("-infinity", None)
        return Floor(text, micros)

    def _entry(
        self, last: Entry | None, batch_id: int, start: Offsets, end: Offsets, judged: Judged, floor: Floor
    ) -> Entry:
        times = pc.min_max(judged.records["kafka_time"]).as_py()
        return Entry(
            generation=self.owner.generation,
            sequence=(last.sequence if last else 0) + 1,
            checkpoint_id=self.checkpoint_id,
            batch_id=batch_id,
            start_offsets=start,
            end_offsets={**start, **end},
            received=judged.records.num_rows,
            facts=judged.count("fact"),
            duplicates=judged.count(judging.DUPLICATE),
            canaries=judged.count("canary"),
            rejected=judged.count("rejected"),
            left_to_batch=judged.count(judging.LEFT_TO_BATCH),
            seen_floor=floor.text,
            owner_epoch=self.owner.epoch,
            oldest_kafka_time=times["min"],
            newest_kafka_time=times["max"],
        )

    def _prepare_leaves(
        self, connection: Connection, judged: Judged, floor: Floor, tables: dict[str, pa.Table]
    ) -> None:
        """Make the partitions that the batch needs. Committed before it, so that no lock on a parent outlives this."""
        windows = judging.distinct_days(judged.facts["event_time"])
        key_hours = judging.distinct_hours(judged.remembered(floor)["key_hour"])
        received = judging.distinct_hours(tables[speed_sql.RECENT]["received_at"])
        wanted: set[object] = {("window", *windows), ("key_hour", *key_hours), ("received", *received)}
        if wanted <= self._leaves:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT speed.ensure_partitions(%s, %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])",
                (self.owner.generation, windows, key_hours, received),
            )
        self._leaves = wanted

    def _commit(
        self, connection: Connection, entry: Entry, judged: Judged, floor: Floor, tables: dict[str, pa.Table]
    ) -> None:
        facts: dict[str, Any] = {"batch": entry.batch_id, "epoch": entry.owner_epoch, "sequence": entry.sequence}
        with transaction(connection) as cursor:
            # staged before the fence is taken: a COPY waits for us, and nobody should wait for a COPY
            for name, table in {**tables, speed_sql.OUTCOMES: judged.outcomes()}.items():
                if table.num_rows:
                    copy(cursor, speed_sql.stage(name), table, lambda: self.hooks.at("in_copy", **facts))
            self.owner.fence(cursor)
            if self._floor(cursor).text != entry.seen_floor:
                raise ConflictError("the floor of the seen ids rose while the batch was computed")
            if self.mechanisms.ledger:
                ledger.append(cursor, entry)
            self._insert_ids(cursor, judged, floor)
            self._merge(cursor, judged, tables)
            self.hooks.at("before_commit", **facts)
        self.hooks.at("after_commit", **facts)

    def _insert_ids(self, cursor: Cursor, judged: Judged, floor: Floor) -> None:
        cursor.execute(speed_sql.INSERT_IDS, (self.owner.generation, floor.text))
        if self.mechanisms.deduplication and cursor.rowcount != judged.new_ids:
            raise ConflictError(f"expected {judged.new_ids} ids to be new, found {cursor.rowcount}")
        hours = judging.distinct_hours(judged.remembered(floor)["key_hour"])
        cursor.execute(speed_sql.SEEN_ARRIVALS, (self.owner.generation, hours))

    def _merge(self, cursor: Cursor, judged: Judged, tables: dict[str, pa.Table]) -> None:
        for rollup in ROLLUPS:
            if tables[rollup.name].num_rows:
                cursor.execute(speed_sql.merge_rollup(rollup), (self.owner.generation,))
        if tables[speed_sql.RECENT].num_rows:
            cursor.execute(speed_sql.MERGE_RECENT, (self.owner.generation,))
        cursor.execute(speed_sql.MERGE_OUTCOMES, (self.owner.generation,))
        if not self._wikis:
            cursor.execute("SELECT wiki FROM speed.wikis")
            self._wikis = {wiki for (wiki,) in cursor.fetchall()}
        pairs = judged.facts.group_by(["wiki", "server_name"]).aggregate([]).to_pylist()
        new = {pair["wiki"]: pair["server_name"] for pair in pairs if pair["wiki"] not in self._wikis}
        cursor.executemany(speed_sql.INSERT_WIKI, [wiki_row(*pair) for pair in new.items()])
        self._wikis |= set(new)
