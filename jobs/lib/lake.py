"""The lake query: every record as it came, appended to Delta bronze once a trigger, exactly once by Delta's own sink.

Delta remembers the last batch of each Spark query in its own log; a checkpoint that does not fit to that is retired,
and a new one begins behind bronze's greatest offsets. The surprising thing: it writes through one task, so that however
much there is to catch up it holds one core, and the speed query has the others.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from delta.tables import DeltaTable
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.functions import col
from pyspark.sql.functions import max as max_
from pyspark.sql.streaming.query import StreamingQuery

from jobs.lib import checkpoints, offsets
from jobs.lib.bronze import PARTITION_COLUMN, bronze
from jobs.lib.checkpoints import RETIRED, Checkpoint, HadoopStore, TornError
from jobs.lib.keeper import BusyError
from jobs.lib.offsets import Gap, Offsets
from jobs.lib.owner import RefusedError
from jobs.lib.source import kafka_records, wait_for_end
from jobs.lib.tables import BRONZE, delta_log
from wikiweir.clock import Clock
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

ATOMIC_STORES = {"", "file", "hdfs", "viewfs", "abfs", "abfss", "wasb", "wasbs", "gs"}
"""Schemes whose default log store in Delta lets two writers commit safely. S3's does not."""

PROPERTIES = {
    # compaction belongs to the batch layer, never to the writer that the freshness of bronze hangs on
    "delta.autoOptimize.autoCompact": "false",
    "delta.autoOptimize.optimizeWrite": "false",
}


KAFKA_SCHEMA = (
    "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, timestampType INT,"
    " headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
)
"""What Spark's Kafka source gives with `includeHeaders`."""


def refuse_unsafe(spark: SparkSession, lake: str) -> None:
    """A lake that stream and batch cannot both commit to is refused before anything is written."""
    scheme = urlsplit(lake).scheme
    own = spark.conf.get(f"spark.delta.logStore.{scheme}.impl", None) if scheme else None
    everywhere = spark.conf.get("spark.delta.logStore.class", None)
    chosen = own or everywhere or ""
    if chosen.endswith("LocalLogStore"):
        raise RefusedError(
            f"{chosen} loses commits of two writers (61 double ones in 3,000 races): remove that setting"
        )
    if scheme not in ATOMIC_STORES and (not chosen or chosen.endswith("S3SingleDriverLogStore")):
        raise RefusedError(
            f"expected a lake that two writers can commit to, found {lake!r} with {chosen or 'no log store set'}:"
            f" set spark.delta.logStore.{scheme}.impl to a multi-writer store (io.delta.storage.S3DynamoDBLogStore)"
        )


class Lock:
    """The right to write bronze from this state folder: one process at a time, freed by its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        """Whether it is ours now."""
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file
        return True

    def holder(self) -> str:
        """Process id of whoever has it, for a message."""
        return self._path.read_text().strip() or "unknown"


def objection(checkpoint: Checkpoint, version: int | None) -> str | None:
    """Why the lake query must not go on with a checkpoint; `version` is the last batch of it that Delta knows."""
    if checkpoint.batch_id is None:
        return "it has planned no batch"
    if checkpoint.batch_id == version or checkpoint.batch_id == (-1 if version is None else version) + 1:
        return None
    return f"its newest batch is {checkpoint.batch_id}, bronze has {version}"


@dataclass(kw_only=True)
class LakeQuery:
    """One life after the other of the query that fills bronze. `on_gaps` is told what will never be there, and why."""

    spark: SparkSession
    settings: Settings
    clock: Clock
    stop: threading.Event
    lock: Lock
    on_position: Callable[[str, Offsets], None]
    on_progress: Callable[[str, dict[str, Any]], None]
    on_state: Callable[[str, str], None]
    on_gaps: Callable[[str, tuple[Gap, ...], dict[str, Any]], None]
    _store: HadoopStore = field(init=False)
    _distrusted: str | None = None
    _path: str = field(init=False)

    def __post_init__(self) -> None:
        self._store = HadoopStore(self.spark)
        # As Hadoop spells it: Delta takes file:///x and file:/x for two different places.
        self._path = self.spark._jvm.org.apache.hadoop.fs.Path(BRONZE.path(self.settings)).toString()  # type: ignore[union-attr]

    def live_once(self) -> None:
        """Take the lock, agree on a checkpoint, run Spark's query until it ends; raises what ended it."""
        if not self.lock.acquire():
            raise BusyError(f"bronze is being written by process {self.lock.holder()}; waiting until it has ended")
        self._create_table()
        checkpoint_id, start = self._plan()
        self.on_position(checkpoint_id, start)
        query = self._start(checkpoint_id, start)
        self.on_state("running", "")
        seen = -1

        def look() -> None:
            nonlocal seen
            progress = query.lastProgress
            if progress is not None and progress["batchId"] != seen and progress["numInputRows"]:
                seen = int(progress["batchId"])
                self.on_progress(checkpoint_id, json.loads(progress.json))

        try:
            wait_for_end(query, self.stop, self.clock, look)
        except StreamingQueryException:
            if seen < 0:
                self._distrusted = checkpoint_id
            raise

    @property
    def _folder(self) -> str:
        return f"{self.settings.checkpoints.rstrip('/')}/lake"

    def _create_table(self) -> None:
        schema = bronze(self.spark.createDataFrame([], KAFKA_SCHEMA)).schema
        builder = DeltaTable.createIfNotExists(self.spark).location(self._path).addColumns(schema)
        for name, value in {**PROPERTIES, **BRONZE.properties(self.settings.keep)}.items():
            builder = builder.property(name, value)
        builder.partitionedBy(PARTITION_COLUMN).execute()

    def _plan(self) -> tuple[str, Offsets]:
        """The checkpoint to go on with, or a new one; and how far bronze is."""
        with offsets.Topic(self.settings.kafka_bootstrap, self.settings.events_topic) as topic:
            earliest, latest = topic.earliest(), topic.latest()
        current = [name for name in self._store.names(self._folder) if RETIRED not in name and name[0] != "."]
        found, version, reason = self._look_at(current)
        if found is not None and reason is None:
            end = found.end if found.batch_id == version else found.previous_end
            return current[0], end or earliest
        reached = self._reached()
        start = offsets.starting_point(reached or None, earliest, latest)
        if current or reached:
            log.warning("the lake's checkpoint is retired: %s; going on at %s", reason, start.offsets)
            self.on_gaps(reason or "", start.gaps, {"start": offsets.to_json(start.offsets), "retired": current})
        for name in current:
            checkpoints.retire(self._store, self._folder, name, self.clock.now_ms())
        new = checkpoints.new_id()
        checkpoints.sweep(self._store, self._folder, new)
        return new, start.offsets

    def _look_at(self, current: list[str]) -> tuple[Checkpoint | None, int | None, str | None]:
        """The one checkpoint, its last batch in bronze, and why it must not be used, if it must not."""
        if len(current) != 1:
            return None, None, f"expected one checkpoint in {self._folder}, found {len(current)}"
        try:
            found = checkpoints.read(self._store, f"{self._folder}/{current[0]}", self.settings.events_topic)
        except TornError as damage:
            return None, None, str(damage)
        if current[0] == self._distrusted:
            return found, None, "the query ended before its first batch"
        version = self._batch_in_bronze(found.query_id)
        return found, version, objection(found, version)

    def _batch_in_bronze(self, query_id: str) -> int | None:
        """The last batch of a Spark query that Delta's log holds."""
        version = delta_log(self.spark, self._path).unsafeVolatileSnapshot().transactions().get(query_id)
        return int(version.get()) if version.isDefined() else None

    def _reached(self) -> Offsets:
        """One past the greatest offset of each partition in bronze."""
        rows = (
            self.spark.read.format("delta")
            .load(self._path)
            .where(col("topic") == self.settings.events_topic)
            .groupBy("partition")
            .agg(max_("offset").alias("newest"))
            .collect()
        )
        return {row["partition"]: row["newest"] + 1 for row in rows}

    def _start(self, checkpoint_id: str, start: Offsets) -> StreamingQuery:
        self.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "lake")
        records = kafka_records(self.spark, self.settings, start, self.settings.lake_max_events, with_headers=True)
        return (
            bronze(records)
            .coalesce(1)
            .writeStream.queryName("lake")
            .format("delta")
            .outputMode("append")
            .option("checkpointLocation", f"{self._folder}/{checkpoint_id}")
            .trigger(processingTime=f"{int(self.settings.lake_trigger_seconds * 1000)} milliseconds")
            .start(self._path)
        )
