"""Checked rows into the lake: facts into silver, rollups of all grains into gold.

Gold is written from the same memory that was checked and is published. The surprising thing: a run that ends between
here and PostgreSQL leaves the lake a version ahead. That version has passed the gate, too; `ops.published_hours` names
the versions that go with what is published.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.lib.bronze import PARTITION_COLUMN
from jobs.lib.classify import CLASSIFIED
from jobs.lib.parse import LAKE_ONLY
from jobs.lib.publish import Tables
from jobs.lib.tables import FACTS, LakeTable, gold, replace, starts
from wikiweir.hours import Day, Hour
from wikiweir.rollups import ROLLUPS, Grain, Rollup
from wikiweir.settings import Settings

JUDGED = ("is_canary", "outcome", "reason", "kafka_time")
"""Columns that say nothing of a fact (`kafka_time` is its `received_at`)."""


class Part(NamedTuple):
    """Rows that take the place of those in a table that `where` (SQL) is true of."""

    table: LakeTable
    rows: DataFrame
    where: str


def promote_hour(settings: Settings, facts: DataFrame, hour: Hour, tables: Tables) -> dict[str, int]:
    """Replace an hour in silver and gold; table of the lake -> its version with the hour in it."""
    columns = [name for name in (*CLASSIFIED, *LAKE_ONLY) if name not in JUDGED]
    silver = Part(FACTS, facts.select(columns), f"{PARTITION_COLUMN} = {starts(hour)}")
    return _replace(settings, [silver, *_gold(facts.sparkSession, hour, tables, ("minute", "hour"))])


def promote_day(settings: Settings, spark: SparkSession, day: Day, tables: Tables) -> None:
    """Replace a day in gold."""
    parts = _gold(spark, day, tables, ("day",))
    # by way of a shuffle: a task of coalesced rows carries them all, and its copies of a day's pages fill Java's heap
    _replace(settings, [part._replace(rows=part.rows.repartition(1)) for part in parts])


def _replace(settings: Settings, parts: Sequence[Part]) -> dict[str, int]:
    """All at once: a commit of Delta is many small steps that leave a core idle."""
    with ThreadPoolExecutor(len(parts)) as pool:
        versions = pool.map(lambda part: replace(part.rows, part.table, settings, part.where), parts)
        return {part.table.name: version for part, version in zip(parts, versions, strict=True)}


def _gold(spark: SparkSession, period: Hour | Day, tables: Tables, grains: Iterable[Grain]) -> list[Part]:
    listed = ", ".join(f"'{grain}'" for grain in grains)
    where = f"grain IN ({listed}) AND period = {starts(period)}"
    return [
        Part(
            gold(rollup), _rows(spark, rollup, {grain: tables[rollup.table(grain)] for grain in grains}, period), where
        )
        for rollup in ROLLUPS
    ]


def _rows(spark: SparkSession, rollup: Rollup, tables: Mapping[Grain, pa.Table], period: Hour | Day) -> DataFrame:
    """Rows of a gold table: grain, period, window_start, dimensions, every metric (NULL where the grain has none)."""
    keys = {d.name: f"lower(hex({d.name}))" if d.pg == "uuid" else d.name for d in rollup.dimensions}
    frames = []
    for grain, table in tables.items():
        has = {metric.name for metric in rollup.measured(grain)}
        metrics = (m.name if m.name in has else f"CAST(NULL AS BIGINT) AS {m.name}" for m in rollup.metrics)
        frames.append(
            spark.createDataFrame(table).selectExpr(
                f"'{grain}' AS grain",
                f"{starts(period)} AS period",
                "window_start",
                *(f"{expression} AS {name}" for name, expression in keys.items()),
                *metrics,
            )
        )
    first, *others = frames
    for frame in others:
        first = first.unionByName(frame)
    return first
