"""A micro-batch of classified records -> one PostgreSQL transaction: ledger row, ids, increments, recent changes.

Which records count is settled before the transaction begins; what they add up to is computed beside its first COPY.
The surprising thing: a batch is tried until PostgreSQL took it, because only a batch that failed for good reason to
distrust the checkpoint should end Spark's query.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
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
from jobs.lib.postgres import transaction
from jobs.lib.speed_tables import Changes, SpeedTables
from wikiweir.clock import Clock

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0


class MismatchError(RuntimeError):
    """Spark's checkpoint and the ledger disagree about this batch: the checkpoint is to be retired."""


class StoppedError(RuntimeError):
    """The program was told to stop before the batch was written."""


class ConflictError(RuntimeError):
    """The floor changed under the batch: what was computed is void."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a batch came to, for progress and metrics."""

    entry: Entry
    newest_event_at: datetime | None
    increments: int


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

    def __post_init__(self) -> None:
        self.tables = SpeedTables(generation=self.owner.generation)

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
            self.tables.forget()
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
        changes = Changes(judged=judged, floor=floor, increments=increments(judged.facts, since))
        entry = self._entry(last, batch_id, start, end, judged, floor)
        self.tables.prepare(connection, changes)
        self._commit(connection, entry, changes)
        newest = pc.max(judged.facts["event_time"]).as_py()
        self.on_commit(Committed(entry, newest, changes.rows))

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
        copy(cursor, {speed_sql.IDS: ids})
        known: list[int] = []
        if self.mechanisms.deduplication:
            cursor.execute(speed_sql.KNOWN_IDS, (self.owner.generation, judging.distinct_hours(ids["key_hour"])))
            known = [n for (n,) in cursor.fetchall()]
        else:
            later[:] = False
        return judging.judge(rows, later, ids, known, floor), floor

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

    def _commit(self, connection: Connection, entry: Entry, changes: Changes) -> None:
        facts: dict[str, Any] = {"batch": entry.batch_id, "epoch": entry.owner_epoch, "sequence": entry.sequence}
        with transaction(connection) as cursor:
            self.owner.fence(cursor)
            if self._floor(cursor).text != entry.seen_floor:
                raise ConflictError("the floor of the seen ids rose while the batch was computed")
            self.tables.write(
                cursor,
                changes,
                with_ids=self.mechanisms.deduplication,
                in_copy=lambda: self.hooks.at("in_copy", **facts),
            )
            if self.mechanisms.ledger:
                ledger.append(cursor, entry)
            self.hooks.at("before_commit", **facts)
        self.hooks.at("after_commit", **facts)
