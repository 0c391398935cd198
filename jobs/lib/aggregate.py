"""Classified facts -> rows of the rollups, of `recent_changes`, and of the accounting.

Both layers call `aggregate`: the stream with a micro-batch, the batch with an hour. The surprising thing: the minute
grain leaves the `distinct` metrics out, because increments of them could not be added up.
"""

from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wikiweir.rollups import RECENT_CHANGES, RECENT_CHANGES_WINDOW_HOURS, Rollup

Grain = Literal["minute", "hour", "day"]

_MICROS = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}


def aggregate(events: DataFrame, rollup: Rollup, grain: Grain = "minute") -> DataFrame:
    """One row a window of `grain` (UTC) and key of `rollup`: window_start, dimensions, metrics.

    `events` are facts (`outcome = 'fact'`), each once. Metrics are the additive ones at the minute grain, else all.
    """
    metrics = rollup.additive if grain == "minute" else rollup.metrics
    window = f"timestamp_micros(unix_micros(event_time) - pmod(unix_micros(event_time), {_MICROS[grain]}))"
    dimensions = [dimension.name for dimension in rollup.dimensions]
    return (
        events.where(rollup.where)
        .groupBy(F.expr(f"{window} AS window_start"), *dimensions)
        .agg(*(F.expr(f"{metric.expr} AS {metric.name}") for metric in metrics))
    )


def recent_changes(events: DataFrame) -> DataFrame:
    """The facts that were younger than the window of `recent_changes` when they entered Kafka, one row each."""
    young = f"event_time > received_at - INTERVAL {RECENT_CHANGES_WINDOW_HOURS} HOURS"
    return events.where(young).select(*(column.name for column in RECENT_CHANGES))


def outcomes(judged: DataFrame) -> DataFrame:
    """How many records of each event hour came to which outcome and reason: event_hour, outcome, reason, records."""
    return judged.groupBy("event_hour", "outcome", "reason").agg(F.expr("COUNT(*) AS records"))
