"""Bronze rows of an hour -> each one judged: fact, duplicate, canary or rejected with its reason.

The same parsing and classification as the stream's. The surprising thing: whether a record is a first copy is asked of
all of bronze, not of the hour, because copies of an id may have fallen into different event hours; only rows that share
a key hour can be copies, and Delta's statistics leave the other files alone.
"""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lib.classify import classify
from jobs.lib.judging import DUPLICATE
from jobs.lib.parse import LAKE_ONLY, parse
from jobs.lib.tables import is_of
from wikiweir.hours import Hour

PLACE = ("topic", "partition", "offset")
IDENTITY = ("event_id", "key_hour")
ORDER = "partition * 281474976710656L + offset"
"""Place in Kafka as one number (partition * 2^48): of the smallest of these Spark can keep track in a hash table."""


@dataclass(frozen=True, slots=True)
class CleanHour:
    """What bronze holds for an hour."""

    records: DataFrame
    """Each Kafka record once: the columns of `jobs.lib.classify` and `LAKE_ONLY`, outcome and reason final."""
    rewritten: int
    """Rows that hold a Kafka record once more: a lake query that lost its log may have appended it again."""


def clean(bronze: DataFrame, hour: Hour, *, user_key_secret: bytes, mask_addresses: bool) -> CleanHour:
    """Judge the records of an event hour. Runs a small Spark job over bronze's narrow columns."""
    rows = bronze.where(is_of([hour]))
    rewritten, key_hours = _look(rows)
    if rewritten:  # seldom, and then the bytes of every record have to be shuffled
        rows = rows.dropDuplicates(list(PLACE))
    records = rows.selectExpr("raw AS value", "kafka_time AS timestamp", "partition", "offset")
    classified = classify(
        parse(records, LAKE_ONLY), user_key_secret=user_key_secret, mask_addresses=mask_addresses, also=LAKE_ONLY
    )
    judged = (
        classified.join(F.broadcast(_first_of_copies(bronze, key_hours)), on=list(IDENTITY), how="left")
        .withColumn("is_later", F.expr(f"first IS NOT NULL AND {ORDER} <> first"))
        .withColumn("outcome", F.expr(f"IF(is_later, '{DUPLICATE}', outcome)"))
        .withColumn("reason", F.expr("IF(is_later, '', reason)"))
        .drop("first", "is_later")
    )
    return CleanHour(judged, rewritten)


def _look(rows: DataFrame) -> tuple[int, list[datetime]]:
    """How many rows hold a Kafka record once more, and which key hours there are."""
    records = rows.groupBy(*PLACE).agg(F.count("*").alias("rows"), F.first("key_hour").alias("key_hour"))
    [found] = records.agg(
        F.sum(F.col("rows") - 1).alias("rewritten"), F.collect_set("key_hour").alias("hours")
    ).collect()
    return found["rewritten"] or 0, found["hours"]


def _first_of_copies(bronze: DataFrame, key_hours: list[datetime]) -> DataFrame:
    """event_id, key_hour, first (`ORDER`): of each id that bronze has several rows of, where the first copy is."""
    return (
        bronze.where(F.col("key_hour").isin(key_hours) & F.col("event_id").isNotNull())
        .groupBy(*IDENTITY)
        .agg(F.expr(f"MIN({ORDER}) AS first"), F.count("*").alias("copies"))
        .where("copies > 1")
        .drop("copies")
    )
