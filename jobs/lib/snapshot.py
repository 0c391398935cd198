"""One version of bronze: what a batch run reads, whatever the stream appends meanwhile.

The surprising thing: what each hour holds is counted, not remembered. A count over the partition column reads the
footers of the files and no data, and says which hours got rows since they were published without any look-back.
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
from jobs.lib.tables import newest_version, starts
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
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pinned version of the table."""

    version: int
    table: DataFrame


@dataclass(frozen=True, slots=True)
class Held:
    """What bronze holds of an hour."""

    rows: int
    files: int


def newest(spark: SparkSession, path: str) -> Snapshot:
    """The newest version now."""
    version = newest_version(spark, path)
    return Snapshot(version, spark.read.format("delta").option("versionAsOf", version).load(path))


def held(snapshot: Snapshot) -> Mapping[Hour, Held]:
    """What each event hour holds."""
    counted = snapshot.table.groupBy(PARTITION_COLUMN).agg(
        F.count("*").alias("rows"), F.count_distinct("_metadata.file_path").alias("files")
    )
    return {hour_of(row[PARTITION_COLUMN]): Held(row["rows"], row["files"]) for row in counted.collect()}


def hour_of(naive: datetime) -> Hour:
    """The hour of a partition. Spark hands a timestamp out in the process's zone, without saying so."""
    return Hour(naive.astimezone(UTC))


def end_offsets(snapshot: Snapshot, topic: str) -> Offsets:
    """The next offset of each partition after what the snapshot holds."""
    of_topic = snapshot.table.where(F.col("topic") == topic)
    newest_time = of_topic.agg(F.max("kafka_time")).collect()[0][0]
    if newest_time is None:
        return {}
    rows = of_topic.where(F.col("kafka_time") > F.lit(newest_time - NEWEST)).groupBy("partition").agg(F.max("offset"))
    return {row["partition"]: row["max(offset)"] + 1 for row in rows.collect()}


def compact(spark: SparkSession, path: str, hour: Hour) -> None:
    """Make one file of an hour's many; its rows stay what they are, so readers of any version see no difference.

    The stream may append meanwhile, and another run's compaction of the hour will do as well.
    """
    for name, value in COMPACTION.items():
        spark.conf.set(name, value)
    try:
        spark.sql(f"OPTIMIZE delta.`{path}` WHERE {PARTITION_COLUMN} = {starts(hour)}")
    except CONFLICTS:
        return


def compact_each(spark: SparkSession, path: str, hours: Iterable[Hour], held: Mapping[Hour, Held]) -> None:
    """Make one file of each hour that has many."""
    for hour in hours:
        if hour in held and held[hour].files > 1:
            compact(spark, path, hour)
            log.info("hour %s: %s rows compacted from %s files", hour, held[hour].rows, held[hour].files)
