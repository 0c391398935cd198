"""A micro-batch's facts -> what it adds to each rollup, and its recent changes: Arrow tables, on the driver.

Spark hands each event's values over (`COLUMNS`), adding them up is left to Arrow. The surprising thing: that is no
second Spark query. Building, planning and starting one cost more than all the sums of a micro-batch (ADR 7).
"""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from jobs.lib.aggregate import IS_RECENT, window_start
from jobs.lib.copying import for_copy
from jobs.lib.speed_sql import RECENT
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS, Rollup


def _columns() -> dict[str, str]:
    named = {"window_start": window_start("minute"), "is_recent": IS_RECENT}
    for rollup in ROLLUPS:
        named |= for_copy(rollup.dimensions)
        named |= {metric.name: metric.value for metric in rollup.additive}
        named[_belongs(rollup)] = rollup.where
    return named | for_copy(RECENT_CHANGES)


def _belongs(rollup: Rollup) -> str:
    return f"in_{rollup.name}"


COLUMNS = _columns()
"""What is needed of a classified event, as SQL: windows, dimensions, each metric's value, the recent changes."""


_POOL = ThreadPoolExecutor(thread_name_prefix="increments")
"""Arrow lets go of Python's lock, and while PostgreSQL takes the first COPY a core has nothing to do."""


def increments(facts: pa.Table, recent_since: datetime) -> dict[str, Future[pa.Table]]:
    """Per rollup its rows, and the recent changes that were received after `recent_since`; still being added up."""
    tables = {rollup.name: _POOL.submit(_grouped, facts, rollup) for rollup in ROLLUPS}
    return {RECENT: _POOL.submit(_recent, facts, recent_since), **tables}


def _recent(facts: pa.Table, since: datetime) -> pa.Table:
    is_young = pc.and_(facts["is_recent"], pc.greater(facts["received_at"], pa.scalar(since)))
    return facts.select([column.name for column in RECENT_CHANGES]).filter(is_young)


def _grouped(facts: pa.Table, rollup: Rollup) -> pa.Table:
    keys = ["window_start", *(dimension.name for dimension in rollup.dimensions)]
    belonging = facts.select(rollup.columns).filter(facts[_belongs(rollup)])
    grouped = belonging.group_by(keys).aggregate([(metric.name, metric.merge) for metric in rollup.additive])
    named = grouped.rename_columns({f"{m.name}_{m.merge}": m.name for m in rollup.additive}).select(rollup.columns)
    # as the table's index is ordered: a row then goes where the last one went
    return named.sort_by([(name, "ascending") for name in rollup.key])
