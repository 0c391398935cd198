"""The SparkSession of every job, with all SQL settings and why.

What depends on the machine (jars, driver memory, Java options, master) comes from spark-submit and
`spark-defaults.conf`. The surprising thing: nearly all of it makes *small* jobs fast; Spark's defaults suit clusters.
"""

import os
import time
from collections.abc import Mapping
from types import MappingProxyType

from pyspark.sql import SparkSession

from wikiweir.redaction import HEX_LITERAL

SQL_SETTINGS = {
    # All times are UTC: what SQL text, date_trunc and Arrow see.
    "spark.sql.session.timeZone": "UTC",
    # A micro-batch of 40,000 events: 1.6 s with 2 partitions, 21.9 s with the default 200.
    "spark.sql.shuffle.partitions": "2",
    # A printed plan would show what user keys are made with.
    "spark.sql.redaction.string.regex": HEX_LITERAL,
}

LAKE_SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Each query over a Delta table asks its log first: 0.4 s with 2 partitions, 1.3 s with the default 50.
    "spark.databricks.delta.snapshotPartitions": "2",
    # The default, INT96, is slow to write (an hour is compacted in 4.5 s instead of 7.8 s), has no statistics, and is
    # what other readers of Parquet are giving up.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # An hour of bronze is 34 MB instead of the default's (snappy) 60 MB, and is written as fast.
    "spark.sql.parquet.compression.codec": "zstd",
}

BATCH_SETTINGS = {
    # A run is over before Java has compiled what Spark generates for it, and plans too small to be planned again: an
    # hour of 130,000 events is published after 69 s instead of 85 s, with 145 s of processor time instead of 186 s.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    # A write holds one period, or a few: without this it is sorted by period first.
    "spark.sql.maxConcurrentOutputFileWriters": "8",
    # Rows that come from Arrow stay Arrow. With fewer than the default's 48 MB they become Java objects, again
    # and again: the pages of half a day filled a heap of 1 GiB until nothing moved.
    "spark.sql.execution.arrow.localRelationThreshold": "1MB",
    # An hour's facts are kept for a minute.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}
"""Of jobs that end."""


def session(name: str, *, lake: bool = True, more: Mapping[str, str] = MappingProxyType({})) -> SparkSession:
    """The session of this process; with `lake`, able to read and write Delta tables (needs Delta's jar).

    `more` is what one application needs on top, and wins. From here on the process lives in UTC: Spark hands
    timestamps out in the process's zone, without saying so, and where clocks are put back two hours have one name.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
    builder = SparkSession.builder.appName(name)
    for key, value in {**SQL_SETTINGS, **(LAKE_SETTINGS if lake else {}), **more}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
