"""Which facts of an hour the speed layer left to the batch: ids at or below the floor of the micro-batch they came in.

An id that may have been forgotten cannot be told from a duplicate, so the speed layer does not count it; these facts
are what explains a difference between the layers. Asked only for hours that have any.
"""

from psycopg2.extensions import cursor as Cursor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wikiweir.hours import Hour

_LEFT = """\
SELECT EXISTS (
    SELECT FROM ops.stream_outcomes AS o JOIN ops.generations AS g USING (generation)
    WHERE g.state = 'live' AND o.event_hour = %s AND o.outcome = 'left_to_batch'
)"""
_RANGES = """\
SELECT s.key::integer, s.value::bigint, (b.end_offsets ->> s.key)::bigint, b.seen_floor
FROM ops.stream_batches AS b
JOIN ops.generations AS g USING (generation)
CROSS JOIN LATERAL jsonb_each_text(b.start_offsets) AS s
WHERE g.state = 'live' AND b.left_to_batch > 0 AND b.seen_floor > '-infinity'"""
_SCHEMA = "at INT, first LONG, end LONG, floor TIMESTAMP"


def left_to_batch(cursor: Cursor, facts: DataFrame, hour: Hour) -> DataFrame | None:
    """The facts among `facts` that the live generation left out; none where it left nothing of the hour."""
    cursor.execute(_LEFT, (hour.start,))
    if cursor.fetchone() != (True,):
        return None
    cursor.execute(_RANGES)
    ranges = facts.sparkSession.createDataFrame(cursor.fetchall(), _SCHEMA)
    came_in = (
        (F.col("partition") == F.col("at")) & (F.col("offset") >= F.col("first")) & (F.col("offset") < F.col("end"))
    )
    return facts.join(F.broadcast(ranges), came_in & (F.col("key_hour") <= F.col("floor")), "left_semi")
