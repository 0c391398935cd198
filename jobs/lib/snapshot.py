"""One version of bronze: what a batch run reads, whatever the stream appends meanwhile.

The surprising thing: what each hour holds is told by Delta's log, file by file, so no file is opened to see which
hours got rows since they were published, and nobody guesses how far back to look.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    DeltaConcurrentModificationException,
)
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lib.bronze import PARTITION_COLUMN
from jobs.lib.offsets import Offsets
from jobs.lib.tables import newest_files, starts
from wikiweir.hours import Hour

log = logging.getLogger(__name__)

NEWEST = timedelta(hours=1)
"""The newest offsets of bronze stand in the rows of its last hour by Kafka's clock."""

CONFLICTS = (
    DeltaConcurrentModificationException,
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
)
"""What Delta says to the slower of two writers; in Python the first is not the base of the others."""

COMPACTION = {
    # the default, 1 GiB, would write an hour anew at every run; one of 130,000 events has 60 MB
    "spark.databricks.delta.optimize.maxFileSize": str(256 * 1024**2),
    # the default, 15, suits a cluster
    "spark.databricks.delta.optimize.maxThreads": "2",
    # a task reads a row group or several: the default, 128 MiB, would make the whole hour one task's
    "parquet.block.size": str(32 * 1024**2),
}


@dataclass(frozen=True, slots=True)
class Held:
    """What bronze holds of an hour."""

    rows: int
    files: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pinned version of the table."""

    version: int
    table: DataFrame
    held: Mapping[Hour, Held]
    """What each event hour holds."""
    newest_arrival: datetime | None
    """Greatest Kafka time; None where nothing has arrived."""


def newest(spark: SparkSession, path: str, known: Snapshot | None = None) -> Snapshot:
    """The newest version now: `known` itself where nothing has been committed since."""
    version, files = newest_files(spark, path)
    if known is not None and known.version == version:
        return known
    counted = files.selectExpr(
        f"CAST(partitionValues['{PARTITION_COLUMN}'] AS TIMESTAMP) AS hour",
        "CAST(get_json_object(stats, '$.numRecords') AS BIGINT) AS rows",
        "CAST(get_json_object(stats, '$.maxValues.kafka_time') AS TIMESTAMP) AS newest",
    ).collect()
    held: dict[Hour, Held] = {}
    for row in counted:
        before = held.get(hour := hour_of(row["hour"]), Held(0, 0))
        held[hour] = Held(before.rows + row["rows"], before.files + 1)
    table = spark.read.format("delta").option("versionAsOf", version).load(path)
    return Snapshot(version, table, held, max((row["newest"] for row in counted), default=None))


def hour_of(naive: datetime) -> Hour:
    """The hour of a partition, as Spark hands it out: in the process's zone, which is UTC, without saying so."""
    return Hour(naive.replace(tzinfo=UTC))


def end_offsets(snapshot: Snapshot, topic: str) -> Offsets:
    """The next offset of each partition after what the snapshot holds."""
    if snapshot.newest_arrival is None:
        return {}
    recent = (F.col("topic") == topic) & (F.col("kafka_time") > F.lit(snapshot.newest_arrival - NEWEST))
    rows = snapshot.table.where(recent).groupBy("partition").agg(F.max("offset"))
    return {row["partition"]: row["max(offset)"] + 1 for row in rows.collect()}


def compact(spark: SparkSession, path: str, hour: Hour) -> bool:
    """Make one file of an hour's many; its rows stay what they are, so readers of any version see no difference.

    The stream may append meanwhile. False where another run has compacted the hour, which will do as well.
    """
    for name, value in COMPACTION.items():
        spark.conf.set(name, value)
    try:
        spark.sql(f"OPTIMIZE delta.`{path}` WHERE {PARTITION_COLUMN} = {starts(hour)}")
    except CONFLICTS:
        return False
    return True


def compact_each(spark: SparkSession, path: str, hours: Iterable[Hour], held: Mapping[Hour, Held]) -> None:
    """Make one file of each hour that has many."""
    for hour in hours:
        if hour in held and held[hour].files > 1:
            if compact(spark, path, hour):
                log.info("hour %s: %s rows compacted from %s files", hour, held[hour].rows, held[hour].files)
            else:
                log.info("hour %s: another run is compacting it", hour)
