"""A micro-batch's facts -> what it adds to each rollup, and its recent changes, as Arrow tables.

The surprising thing: all of it is one Spark job without a shuffle. A job costs some 50 ms however small it is, and the
cached records as one partition need no exchange; each rollup is then one task, so two cores are busy on a large batch.
"""

from datetime import datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.functions import broadcast, col, lit

from jobs.lib.aggregate import aggregate, recent_changes
from jobs.lib.speed_sql import RECENT
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS

PART = "part"


def facts(classified: DataFrame, excluded: pa.Table) -> DataFrame:
    """The records that count, as one partition; `excluded`: partition, offset of those that were judged otherwise."""
    found = classified.where("outcome = 'fact'").coalesce(1)
    if excluded.num_rows == 0:
        return found
    judged = classified.sparkSession.createDataFrame(excluded)
    return found.join(broadcast(judged), ["partition", "offset"], "left_anti")


def increments(classified: DataFrame, excluded: pa.Table, recent_since: datetime) -> dict[str, pa.Table]:
    """Per rollup its rows, and the recent changes that were received after `recent_since`."""
    counted = facts(classified, excluded)
    young = col("received_at") > lit(recent_since)
    frames = {rollup.name: aggregate(counted, rollup) for rollup in ROLLUPS}
    frames[RECENT] = recent_changes(counted).where(young)
    parts = (frame.withColumn(PART, lit(name)) for name, frame in frames.items())
    together = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts).toArrow()
    columns = {rollup.name: rollup.columns for rollup in ROLLUPS}
    columns[RECENT] = tuple(column.name for column in RECENT_CHANGES)
    return {
        name: together.filter(pc.equal(together[PART], name)).select(list(names)) for name, names in columns.items()
    }
