"""A micro-batch's facts -> what it adds to each rollup, and its recent changes: Arrow tables, on the driver.

Spark hands each event's values over (`COLUMNS`), adding them up is left to Arrow. The surprising thing: that is no
second Spark query. Building, planning and starting one cost more than all the sums of a micro-batch (ADR 7).
"""

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from jobs.lib.aggregate import IS_RECENT, window_start
from jobs.lib.speed_sql import RECENT
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS, Rollup


def _columns() -> tuple[str, ...]:
    named = {"window_start": window_start("minute"), "is_recent": IS_RECENT}
    for rollup in ROLLUPS:
        named |= {dimension.name: dimension.name for dimension in rollup.dimensions}
        named |= {metric.name: metric.value for metric in rollup.additive}
        named[_belongs(rollup)] = rollup.where
    named |= {column.name: column.name for column in RECENT_CHANGES}
    return tuple(name if name == expression else f"{expression} AS {name}" for name, expression in named.items())


def _belongs(rollup: Rollup) -> str:
    return f"in_{rollup.name}"


COLUMNS = _columns()
"""What to select from classified events (SQL): windows, dimensions, each metric's value, the recent changes."""


def increments(facts: pa.Table, recent_since: datetime) -> dict[str, pa.Table]:
    """Per rollup its rows, and the recent changes that were received after `recent_since`."""
    tables = {rollup.name: _grouped(facts.filter(facts[_belongs(rollup)]), rollup) for rollup in ROLLUPS}
    is_young = pc.and_(facts["is_recent"], pc.greater(facts["received_at"], pa.scalar(recent_since)))
    tables[RECENT] = facts.filter(is_young).select([column.name for column in RECENT_CHANGES])
    return tables


def _grouped(facts: pa.Table, rollup: Rollup) -> pa.Table:
    keys = ["window_start", *(dimension.name for dimension in rollup.dimensions)]
    grouped = facts.group_by(keys).aggregate([(metric.name, metric.merge) for metric in rollup.additive])
    return grouped.rename_columns({f"{m.name}_{m.merge}": m.name for m in rollup.additive}).select(rollup.columns)
