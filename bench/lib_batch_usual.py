"""The usual hourly job: read all of bronze, drop duplicates by id, group, overwrite each table by JDBC.

The surprising thing: it gets our parser, classification and aggregates for free, so that what is compared is the way of
the rows; and it builds every hour there is, because it cannot know which have changed.
"""

from typing import Any

from pyspark.sql import SparkSession

from bench.lib_application import main
from jobs.lib.aggregate import aggregate
from jobs.lib.classify import classify
from jobs.lib.parse import parse
from jobs.lib.session import LAKE_SETTINGS
from wikiweir.rollups import ROLLUPS

FOR_DELTA = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")
"""Without these no Delta table can be read; all other settings are Spark's own."""


def run(job: dict[str, Any]) -> None:
    """Build all tables anew."""
    builder = SparkSession.builder.appName("bench-usual").config("spark.sql.session.timeZone", "UTC")
    for name in FOR_DELTA:
        builder = builder.config(name, LAKE_SETTINGS[name])
    spark = builder.getOrCreate()
    rows = spark.read.format("delta").load(job["path"])
    records = rows.selectExpr("raw AS value", "kafka_time AS timestamp", "partition", "offset")
    firsts = parse(records).dropDuplicates(["event_id"])
    judged = classify(firsts, user_key_secret=job["secret"].encode(), mask_addresses=True)
    facts = judged.where("outcome = 'fact'").persist()
    for rollup in ROLLUPS:
        table = aggregate(facts, rollup).write.format("jdbc").options(**job["jdbc"], dbtable=rollup.name)
        table.mode("overwrite").save()
    spark.stop()


if __name__ == "__main__":
    main(run, __doc__)
