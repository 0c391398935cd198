"""The lake's tables: where they are, how they are partitioned, and how a part of one is replaced.

`silver/facts` has each fact once, `quarantine` what was rejected and why, both by event hour; `gold/<rollup>` has
the rows of a rollup, by grain and period (the hour that minutes and hours are in, or the day). The surprising thing:
beyond bronze nothing is ever appended. An hour or a day is put in place of what stood there, in one commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.lib.bronze import PARTITION_COLUMN
from wikiweir.hours import Day, Hour
from wikiweir.rollups import ROLLUPS, Rollup
from wikiweir.settings import Lifetimes, Settings


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A Delta table of the lake."""

    name: str
    partitioned_by: tuple[str, ...]
    ranged: tuple[str, ...]
    """Columns whose least and greatest value Delta's log keeps of each file. Of the first 32,
    as is the default, they took two thirds of the time that writing the rows took."""

    def path(self, settings: Settings) -> str:
        return f"{settings.lake.rstrip('/')}/{self.name}"

    def properties(self, keep: Lifetimes) -> dict[str, str]:
        """Properties of the table. (What VACUUM is told to retain is ignored since Delta 4.1.)"""
        return {
            "delta.dataSkippingStatsColumns": ",".join(self.ranged),
            "delta.deletedFileRetentionDuration": _interval(keep.lake_files),
            "delta.logRetentionDuration": _interval(keep.lake_log),
        }


BRONZE = LakeTable("bronze", (PARTITION_COLUMN,), ("partition", "offset", "kafka_time", "key_hour", "event_time"))
FACTS = LakeTable("silver/facts", (PARTITION_COLUMN,), ("event_time", "received_at"))
QUARANTINE = LakeTable("quarantine", (PARTITION_COLUMN,), ("event_time", "received_at"))


def gold(rollup: Rollup) -> LakeTable:
    """A rollup's rows of all grains."""
    return LakeTable(f"gold/{rollup.name}", ("grain", "period"), ("window_start",))


TABLES = (BRONZE, FACTS, QUARANTINE, *map(gold, ROLLUPS))


def exists(spark: SparkSession, path: str) -> bool:
    """Whether anything has been written there."""
    return DeltaTable.isDeltaTable(spark, path)


def replace(rows: DataFrame, table: LakeTable, settings: Settings, where: str) -> int:
    """Put `rows` in place of those that `where` (SQL) is true of; the table's version with them in it.

    One file: such a part is some tens of megabytes, and readers open every file.
    """
    path = table.path(settings)
    (
        rows.coalesce(1)
        .write.format("delta")
        .mode("overwrite")
        .option("replaceWhere", where)
        .option("mergeSchema", "true")  # a new metric
        .options(**table.properties(settings.keep))
        .partitionBy(*table.partitioned_by)
        .save(path)
    )
    return int(delta_log(rows.sparkSession, path).unsafeVolatileSnapshot().version())


def newest_files(spark: SparkSession, path: str) -> tuple[int, DataFrame]:
    """The version of a table now, and its data files: path, partitionValues, stats (JSON) and more.

    https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file
    """
    nothing = spark._jvm.scala.Option.empty()  # type: ignore[union-attr]
    snapshot = delta_log(spark, path).update(False, nothing, nothing)
    return int(snapshot.version()), DataFrame(snapshot.allFiles().toDF(), spark)


def delta_log(spark: SparkSession, path: str) -> Any:
    """Delta's own log object: DESCRIBE HISTORY would be a Spark job (0.4 s), and says less."""
    return spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path)  # type: ignore[union-attr]


def starts(period: Hour | Day) -> str:
    """Its start as a literal of the session's zone, UTC (SQL).

    A Python datetime would not do: on its way to Spark it is taken for a day of the Julian calendar before 1583, and
    an event may be dated so.
    """
    return f"TIMESTAMP '{period.start.replace(tzinfo=None).isoformat(' ')}'"


def is_of(hours: Iterable[Hour]) -> str:
    """Whether a row is of one of these event hours (SQL)."""
    return f"{PARTITION_COLUMN} IN ({', '.join(map(starts, hours))})"


def _interval(length: timedelta) -> str:
    """As Delta's properties say it."""
    days, rest = divmod(length, timedelta(days=1))
    return f"interval {days} days" if not rest else f"interval {length // timedelta(seconds=1)} seconds"
