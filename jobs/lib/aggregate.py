"""Classified facts -> rows of the rollups, of `recent_changes`, and of the accounting, in Spark.

The batch layer's way to the same declarations that `jobs.lib.increments` adds up for the stream. The surprising thing:
the minute grain leaves the `distinct` metrics out, because increments of them could not be added up.
"""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lib import sql
from jobs.lib.copying import for_copy
from wikiweir.rollups import RECENT_CHANGES, RECENT_CHANGES_WINDOW_HOURS, ROLLUPS, Grain, Rollup

SIDE_BY_SIDE = 2

_MICROS = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}

IS_RECENT = f"event_time > received_at - INTERVAL {RECENT_CHANGES_WINDOW_HOURS} HOURS"
"""Whether a fact was younger than the window of `recent_changes` when it entered Kafka (SQL)."""


def window_start(grain: Grain) -> str:
    """The window that an event is in (SQL)."""
    return f"timestamp_micros(unix_micros(event_time) - pmod(unix_micros(event_time), {_MICROS[grain]}))"


def aggregate(events: DataFrame, rollup: Rollup, grain: Grain = "minute") -> DataFrame:
    """One row a window of `grain` (UTC) and key of `rollup`: window_start, dimensions, metrics.

    `events` are facts (`outcome = 'fact'`), each once. Metrics are the additive ones at the minute grain, else all.
    """
    dimensions = [dimension.name for dimension in rollup.dimensions]
    return (
        events.where(rollup.where)
        .groupBy(F.expr(f"{window_start(grain)} AS window_start"), *dimensions)
        .agg(*(F.expr(f"{metric.aggregate} AS {metric.name}") for metric in rollup.measured(grain)))
    )


def collected(events: DataFrame, *grains: Grain) -> dict[str, pa.Table]:
    """Table -> its rows of each grain, of every rollup, in the driver's memory and as PostgreSQL takes them."""

    def rows(rollup: Rollup, grain: Grain) -> pa.Table:
        columns = {"window_start": "window_start"} | for_copy((*rollup.dimensions, *rollup.measured(grain)))
        return aggregate(events, rollup, grain).selectExpr(*sql.named(columns)).toArrow()

    wanted = [(rollup, grain) for grain in grains for rollup in ROLLUPS]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:  # one is planned while another one's tasks run
        tables = pool.map(lambda each: rows(*each), wanted)
        return {rollup.table(grain): table for (rollup, grain), table in zip(wanted, tables, strict=True)}


def recent_changes(events: DataFrame) -> DataFrame:
    """The facts that belong into `recent_changes`, one row each."""
    return events.where(IS_RECENT).select(*(column.name for column in RECENT_CHANGES))


def outcomes(judged: DataFrame) -> DataFrame:
    """How many records of each event hour came to which outcome and reason: event_hour, outcome, reason, records."""
    return judged.groupBy("event_hour", "outcome", "reason").agg(F.expr("COUNT(*) AS records"))
