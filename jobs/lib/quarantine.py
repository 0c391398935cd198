"""Records that reach no fact, with bytes and reason: rejected ones, and late ones of hours that are not built again.

The surprising thing: a late record may be as good as any other; what it belongs to is gone from bronze, and an hour
built from what is left would replace the whole.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lib.bronze import PARTITION_COLUMN
from jobs.lib.snapshot import Snapshot
from jobs.lib.tables import QUARANTINE, exists, replace, starts
from wikiweir.hours import Hour
from wikiweir.settings import Settings

HOUR_PRUNED = "hour_pruned"

_PLACE = ("partition", "offset")
_AS_IT_CAME = (*_PLACE, "source_topic", "source_partition", "source_offset", "raw")


def quarantine_rejected(settings: Settings, records: DataFrame, bronze: DataFrame, hour: Hour, rejected: int) -> None:
    """Put the rejected ones of an hour's judged records in place of those that stood there."""
    where = f"{PARTITION_COLUMN} = {starts(hour)}"
    if not rejected and not _count(settings, records.sparkSession, where):
        return
    raw = bronze.where(where).select(*_AS_IT_CAME)
    wanted = records.where("outcome = 'rejected'").select(
        PARTITION_COLUMN, "reason", "event_id", "event_time", "received_at", *_PLACE
    )
    rows = raw.join(F.broadcast(wanted), on=list(_PLACE)).dropDuplicates(list(_PLACE))
    replace(rows, QUARANTINE, settings, where)


def quarantine_late(settings: Settings, bronze: Snapshot, pruned: Mapping[Hour, datetime]) -> int:
    """Keep what bronze has got of pruned hours since; `pruned` tells the newest arrival of what went. How many rows."""
    hours = sorted(pruned.keys() & bronze.held.keys())
    if not hours:
        return 0
    came_later = " OR ".join(
        f"{PARTITION_COLUMN} = {starts(hour)} AND {{arrival}} > TIMESTAMP '{pruned[hour].isoformat()}'"
        for hour in hours
    )
    late = (
        bronze.table.where(came_later.format(arrival="kafka_time"))
        .selectExpr(
            PARTITION_COLUMN,
            f"'{HOUR_PRUNED}' AS reason",
            "kafka_time AS received_at",
            "event_id",
            "event_time",
            *_AS_IT_CAME,
        )
        .dropDuplicates(list(_PLACE))
    )
    count = late.count()
    where = f"reason = '{HOUR_PRUNED}' AND ({came_later.format(arrival='received_at')})"
    if count != _count(settings, bronze.table.sparkSession, where):
        replace(late, QUARANTINE, settings, where)
    return count


def _count(settings: Settings, spark: SparkSession, where: str) -> int:
    path = QUARANTINE.path(settings)
    return spark.read.format("delta").load(path).where(where).count() if exists(spark, path) else 0
