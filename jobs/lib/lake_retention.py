"""How long things live in the lake: hours of bronze, and the files that only old versions of a table need.

An hour goes by arrival: whole, once nothing has come for it for as long as bronze lives, and only if what it holds was
published. The surprising thing is the order: it is written down as pruned before it is deleted, so that whenever this
is killed, nobody builds the hour from what is left of it; the next run deletes what is still there.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from delta.tables import DeltaTable
from psycopg2.extensions import connection as Connection
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.lib.bronze import PARTITION_COLUMN
from jobs.lib.plan import accounted_rows, pruned
from jobs.lib.postgres import transaction
from jobs.lib.snapshot import CONFLICTS, Snapshot, hour_of
from jobs.lib.tables import LakeTable, exists, is_of
from wikiweir.hours import Hour
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

ARRIVAL = "kafka_time"

_RECORD = """\
INSERT INTO ops.pruned_hours AS p (hour, rows, newest_arrival)
VALUES (%s, %s, %s)
ON CONFLICT (hour) DO UPDATE
SET rows = CASE WHEN p.newest_arrival = excluded.newest_arrival THEN 0 ELSE p.rows END + excluded.rows,
    newest_arrival = excluded.newest_arrival,
    pruned_at = excluded.pruned_at"""
"""Late rows of a pruned hour are added to it; an equal arrival means that the last run was killed before the delete."""


@dataclass(frozen=True, slots=True)
class Outlived:
    """An hour of bronze that nothing has come for since the lifetime."""

    rows: int
    newest_arrival: datetime


def outlived(bronze: Snapshot, cutoff: datetime) -> Mapping[Hour, Outlived]:
    """Hours whose newest row arrived before `cutoff`. Nothing arrives before its hour: younger ones are not read."""
    counted = (
        bronze.table.where(F.col(PARTITION_COLUMN) < F.lit(cutoff))
        .groupBy(PARTITION_COLUMN)
        .agg(F.count("*").alias("rows"), F.max(ARRIVAL).alias("newest"))
        .where(F.col("newest") < F.lit(cutoff))
    )
    return {
        hour_of(row[PARTITION_COLUMN]): Outlived(row["rows"], row["newest"].astimezone(UTC))
        for row in counted.collect()
    }


def prunable(connection: Connection, found: Mapping[Hour, Outlived]) -> Mapping[Hour, Outlived]:
    """Those whose rows are all published. What is not stays, and is said: bronze is all there is of it."""
    with connection.cursor() as cursor:
        accounted, gone = accounted_rows(cursor), pruned(cursor)
    kept = {hour for hour, old in found.items() if hour not in gone and accounted.get(hour, 0) < old.rows}
    for hour in sorted(kept):
        log.warning("hour %s outlives bronze: %s of its rows were never published", hour, found[hour].rows)
    return {hour: found[hour] for hour in sorted(found.keys() - kept)}


def pruned_until(connection: Connection) -> Mapping[Hour, datetime]:
    """Pruned hours, and when the newest row of each that went had arrived."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT p.hour, p.newest_arrival FROM ops.pruned_hours AS p")
        return {Hour.of(hour): arrival for hour, arrival in cursor.fetchall()}


def prune(
    spark: SparkSession, connection: Connection, path: str, hours: Mapping[Hour, Outlived], cutoff: datetime
) -> None:
    """Write the hours down, then delete them in one commit. Rows that have come meanwhile stay."""
    if not hours:
        return
    with transaction(connection) as cursor:
        cursor.executemany(_RECORD, [(hour.start, old.rows, old.newest_arrival) for hour, old in hours.items()])
    try:
        DeltaTable.forPath(spark, path).delete(F.expr(is_of(hours)) & (F.col(ARRIVAL) < F.lit(cutoff)))
    except CONFLICTS as conflict:
        log.warning("the deletion is left to the next run: %s", conflict)
        return
    for hour, old in hours.items():
        log.info("hour %s: %s rows pruned, the newest arrived at %s", hour, f"{old.rows:,}", old.newest_arrival)


def vacuum_each(spark: SparkSession, tables: Iterable[LakeTable], settings: Settings) -> None:
    """Delete the files that nobody can need any more of each table that is there."""
    for table in tables:
        if exists(spark, path := table.path(settings)):
            _ensure(spark, path, table.properties(settings.keep))
            spark.sql(f"VACUUM delta.`{path}`")
            log.info("%s: files that no version of the last %s needs are gone", path, settings.keep.lake_files)


def unneeded(spark: SparkSession, path: str) -> int:
    """How many files VACUUM would delete, up to a thousand."""
    return spark.sql(f"VACUUM delta.`{path}` DRY RUN").count()


def _ensure(spark: SparkSession, path: str, wanted: Mapping[str, str]) -> None:
    """Set what differs, and only then: a change of properties makes a running append start again."""
    found = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES delta.`{path}`").collect()}
    if not wanted.items() <= found.items():
        pairs = ", ".join(f"'{name}' = '{value}'" for name, value in wanted.items())
        spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({pairs})")
