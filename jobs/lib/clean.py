"""Bronze rows of an hour -> each one judged: fact, duplicate, canary or rejected with its reason.

The same parsing and classification as the stream's. The surprising thing: whether a record is a first copy is asked of
all of bronze, not of the hour, because copies of an id may have fallen into different event hours; only rows that share
a key hour can be copies, and Delta's statistics leave the other files alone.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lib.bronze import PARTITION_COLUMN
from jobs.lib.classify import classify
from jobs.lib.judging import DUPLICATE
from jobs.lib.parse import LAKE_ONLY, parse
from wikiweir.hours import Hour

PLACE = ("topic", "partition", "offset")
IDENTITY = ("event_id", "key_hour")


@dataclass(frozen=True, slots=True)
class CleanHour:
    """What bronze holds for an hour."""

    records: DataFrame
    """Each Kafka record once: the columns of `jobs.lib.classify` and `LAKE_ONLY`, outcome and reason final."""
    rewritten: int
    """Rows that hold a Kafka record once more: a lake query that lost its log may have appended it again."""


def clean(bronze: DataFrame, hour: Hour, *, user_key_secret: bytes, mask_addresses: bool) -> CleanHour:
    """Judge the records of an event hour. Runs two small Spark jobs over bronze's narrow columns."""
    rows = bronze.where(F.col(PARTITION_COLUMN) == F.lit(hour.start))
    rewritten = _rewritten(rows)
    if rewritten:  # seldom, and then the bytes of every record have to be shuffled
        rows = rows.dropDuplicates(list(PLACE))
    records = rows.selectExpr("raw AS value", "kafka_time AS timestamp", "partition", "offset")
    classified = classify(
        parse(records, LAKE_ONLY), user_key_secret=user_key_secret, mask_addresses=mask_addresses, also=LAKE_ONLY
    )
    judged = (
        classified.join(_first_places(bronze, rows), on=list(IDENTITY), how="left")
        .withColumn("is_later", F.expr("first IS NOT NULL AND struct(partition, offset) <> first"))
        .withColumn("outcome", F.expr(f"IF(is_later, '{DUPLICATE}', outcome)"))
        .withColumn("reason", F.expr("IF(is_later, '', reason)"))
        .drop("first", "is_later")
    )
    return CleanHour(judged, rewritten)


def _rewritten(rows: DataFrame) -> int:
    again = rows.groupBy(*PLACE).count().where("count > 1").agg(F.sum("count"), F.count("count")).collect()[0]
    return int((again[0] or 0) - again[1])


def _first_places(bronze: DataFrame, rows: DataFrame) -> DataFrame:
    """event_id, key_hour, first (struct of partition and offset): where the first copy of each id of `rows` is."""
    key_hours = [row["key_hour"] for row in rows.select("key_hour").distinct().collect()]
    copies = bronze.where(F.col("key_hour").isin(key_hours)).select(*IDENTITY, "partition", "offset")
    wanted = rows.where("event_id IS NOT NULL").select(*IDENTITY).distinct()
    return (
        copies.join(wanted, on=list(IDENTITY), how="left_semi")
        .groupBy(*IDENTITY)
        .agg(F.min(F.struct("partition", "offset")).alias("first"))
    )
