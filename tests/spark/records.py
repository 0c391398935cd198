"""Data lines -> a frame with the columns of Spark's Kafka source, in the order given, one partition of the topic."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

SCHEMA = (
    "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, timestampType INT,"
    " headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
)
KAFKA_MS = 1_795_000_000_123
"""When each record enters Kafka, unless a test says else (2026-11-18)."""


def kafka_frame(spark: SparkSession, lines: Iterable[bytes], kafka_ms: int = KAFKA_MS) -> DataFrame:
    """As read with `includeHeaders`."""
    entered = datetime.fromtimestamp(kafka_ms / 1000, UTC)
    rows: list[tuple[Any, ...]] = [
        (b"", line, "events", 0, offset, entered, 0, []) for offset, line in enumerate(lines)
    ]
    return spark.createDataFrame(rows, SCHEMA)
