"""The speed query: hold Spark's checkpoint to the ledger, start, and start again; one life after the other.

The surprising thing: a life that ends before its first batch, or over a batch that does not fit, is taken as the
checkpoint's fault, and the next one begins with a new checkpoint: the ledger makes that free, nobody has to be asked.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.lib import checkpoints, increments, judging, ledger, offsets, speed_sql, sql
from jobs.lib.checkpoints import HadoopStore, TornError
from jobs.lib.classify import classify
from jobs.lib.ledger import Entry
from jobs.lib.mechanisms import ALL, NO_HOOKS, Hooks, Mechanisms
from jobs.lib.offsets import Offsets, Start
from jobs.lib.owner import Owner, live_generation
from jobs.lib.parse import parse
from jobs.lib.postgres import connect
from jobs.lib.source import kafka_records, wait_for_end
from jobs.lib.speed_sink import Committed, MismatchError, SpeedSink
from wikiweir.clock import Clock
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

UNLEDGERED = "unledgered"
"""The one checkpoint of a query without the ledger (tests only)."""


SELECTED = sql.named({name: name for name in judging.COLUMNS} | increments.COLUMNS)
"""What of a classified record the driver collects."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a life begins with: a checkpoint, and where it began."""

    checkpoint_id: str
    start: Offsets
    follows: int
    position: Offsets
    """Where the ledger ends."""


@dataclass(kw_only=True)
class SpeedQuery:
    """One generation's query. `generation` none: whichever is live, also when that changes."""

    spark: SparkSession
    settings: Settings
    clock: Clock
    stop: threading.Event
    on_commit: Callable[[Committed], None]
    on_state: Callable[[str, str], None]
    on_position: Callable[[int, str, Offsets], None] = lambda *_: None
    """Generation, checkpoint, and how far the ledger is before there is a batch to tell of."""
    generation: int | None = None
    name: str = "speed"
    trigger_seconds: float = 1.0
    mechanisms: Mechanisms = ALL
    hooks: Hooks = NO_HOOKS
    owner: Owner | None = None
    _distrusted: str | None = None
    _store: HadoopStore = field(init=False)

    def __post_init__(self) -> None:
        self._store = HadoopStore(self.spark)

    def live_once(self) -> None:
        """Own the generation, agree on a checkpoint, run Spark's query until it ends; raises what ended it."""
        owner = self.owner or self._take_over()
        plan = self._plan(owner)
        self.on_position(owner.generation, plan.checkpoint_id, plan.position)
        sink = self._sink(owner, plan)
        query = self._start(sink, plan)
        self.on_state("running", "")
        ended: Exception | None = None
        try:
            wait_for_end(query, self.stop, self.clock)
        except StreamingQueryException as failure:
            ended = failure
        is_its_fault = isinstance(sink.failure, MismatchError | TornError)
        if is_its_fault or (ended is not None and sink.failure is None and sink.batches == 0):
            self._distrusted = plan.checkpoint_id
        if (reason := sink.failure or ended) is not None:
            raise reason

    @property
    def owned_generation(self) -> int | None:
        """The generation that this driver owns; none while it owns none."""
        owner = self.owner
        return owner.generation if owner else None

    def forget_owner(self) -> None:
        """After the generation was retired: the next life takes over the one that is live then."""
        if self.owner is not None:
            self.owner.lose()
            self.owner = None

    def _folder(self, generation: int) -> str:
        return f"{self.settings.checkpoints}/speed-g{generation}"

    def _take_over(self) -> Owner:
        dsn = self.settings.postgres_dsn("stream")
        generation = self.generation
        if generation is None:
            connection = connect(dsn, "wikiweir-speed-start")
            try:
                with connection.cursor() as cursor:
                    generation = live_generation(cursor)
            finally:
                connection.close()
        owner = Owner(
            dsn,
            generation=generation,
            source_id=self.settings.source_id,
            clock=self.clock,
            fence=self.mechanisms.fence,
            prepare=speed_sql.create_stages,
        )
        owner.take_over()
        self.owner = owner
        return owner

    def _plan(self, owner: Owner) -> Plan:
        """Go on with the ledger's checkpoint if it can be relied on; else a new one from the ledger's end."""
        folder = self._folder(owner.generation)
        with owner.connection().cursor() as cursor:
            last = ledger.last(cursor, owner.generation) if self.mechanisms.ledger else None
            with offsets.Topic(self.settings.kafka_bootstrap, self.settings.events_topic) as topic:
                start = offsets.starting_point(last.end_offsets if last else None, topic.earliest(), topic.latest())
            if not self.mechanisms.ledger:
                return Plan(UNLEDGERED, start.offsets, 0, start.offsets)
            reason = self._reason_to_retire(last, start, folder)
            if last is not None and reason is None:
                plan = Plan(last.checkpoint_id, last.start_offsets, last.sequence, last.end_offsets)
            else:
                plan = Plan(checkpoints.new_id(), start.offsets, last.sequence if last else 0, start.offsets)
                if last is not None and reason is not None:
                    self._retire(cursor, last, start, reason, plan)
        checkpoints.sweep(self._store, folder, plan.checkpoint_id)
        return plan

    def _reason_to_retire(self, last: Entry | None, start: Start, folder: str) -> str | None:
        if last is None:
            return None
        if start.gaps:
            return "Kafka no longer has what comes next"
        if last.checkpoint_id == self._distrusted:
            return "the query ended before its first batch, or over a batch that does not follow the ledger"
        try:
            found = checkpoints.read(self._store, f"{folder}/{last.checkpoint_id}", self.settings.events_topic)
        except TornError as damage:
            return str(damage)
        return checkpoints.objection(found, last)

    def _retire(self, cursor: Any, last: Entry, start: Start, reason: str, plan: Plan) -> None:
        log.warning("checkpoint %s is retired: %s; going on with %s", last.checkpoint_id, reason, plan)
        details = {
            "generation": last.generation,
            "retired": last.checkpoint_id,
            "new": plan.checkpoint_id,
            "ledger": offsets.to_json(last.end_offsets),
            "start": offsets.to_json(start.offsets),
        }
        ledger.open_incident(cursor, "checkpoint_retired", self.name, reason, details, is_over=not start.gaps)
        ledger.record_gaps(cursor, self.name, last.generation, start.gaps)
        checkpoints.retire(self._store, self._folder(last.generation), last.checkpoint_id, self.clock.now_ms())

    def _sink(self, owner: Owner, plan: Plan) -> SpeedSink:
        checkpoint = f"{self._folder(owner.generation)}/{plan.checkpoint_id}"
        topic = self.settings.events_topic
        return SpeedSink(
            owner=owner,
            checkpoint_id=plan.checkpoint_id,
            start=plan.start,
            follows=plan.follows,
            planned_end=lambda batch_id: checkpoints.planned_end(self._store, checkpoint, batch_id, topic),
            keep_recent=self.settings.keep.recent_changes,
            clock=self.clock,
            stop=self.stop,
            on_commit=self.on_commit,
            on_wait=lambda reason: self.on_state("waiting", reason),
            on_position=lambda end: self.on_position(owner.generation, plan.checkpoint_id, end),
            mechanisms=self.mechanisms,
            hooks=self.hooks,
        )

    def _start(self, sink: SpeedSink, plan: Plan) -> StreamingQuery:
        assert self.owner is not None
        self.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "speed")
        records = kafka_records(self.spark, self.settings, plan.start, self.settings.speed_max_events)
        classified = classify(
            parse(records),
            user_key_secret=self.settings.user_key_secret.get_secret_value().encode(),
            mask_addresses=self.settings.mask_addresses,
        )
        return (
            classified.selectExpr(*SELECTED)
            .writeStream.queryName(f"{self.name}-g{self.owner.generation}")
            .foreachBatch(sink)
            .option("checkpointLocation", f"{self._folder(self.owner.generation)}/{plan.checkpoint_id}")
            .trigger(processingTime=f"{int(self.trigger_seconds * 1000)} milliseconds")
            .start()
        )
