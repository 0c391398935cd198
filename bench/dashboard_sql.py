"""The SQL by which one invented hour becomes rows of every rollup, grain and layer; made from `wikiweir/rollups.py`.

Tables of schema `bench`: `events` (the hour), `<rollup>_minute` and `<rollup>_hour` (added up, at each level). The
surprising thing: an hour's distinct count is kept in two parts, of names that come every hour and of names that are the
hour's own. The first part of a day is its busiest hour's, the second is added up over its hours.
"""

from bench import dashboard_facts
from bench.dashboard_facts import DIGITS, WORDS
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS, Metric, Rollup

SCHEMA = "bench"
_TYPES = {"int64": "bigint", "int32": "integer", "double": "double precision", "bool": "boolean", "string": "text"}
_FLAGS = {"title": "page_changes", "user_key": "user_changes"}
_CHANGES = {"title": "page_changes", "user_key": "user_changes", "user_name": "user_changes"}


def flags(rollup: Rollup) -> list[str]:
    """Columns that say whether a row's name is another one every hour; none: the rollup is by nobody's name."""
    return [_FLAGS[d.name] for d in rollup.dimensions if d.name in _FLAGS]


def events_table() -> str:
    """The invented hour; `event_time` counts from its beginning."""
    columns = [
        f"{field.name} {_TYPES.get(str(field.type), 'uuid')}{'' if field.name in _NULLABLE else ' NOT NULL'}"
        for field in dashboard_facts.SCHEMA
    ]
    time = "event_time interval NOT NULL GENERATED ALWAYS AS (at_us * interval '1 microsecond') STORED"
    return f"CREATE UNLOGGED TABLE {SCHEMA}.events ({', '.join([*columns, time])})"


_NULLABLE = {c.name for c in RECENT_CHANGES if c.nullable}


def scaffolding() -> list[str]:
    """Tables that are of no use once all is filled."""
    return ["events", *(f"{rollup.name}_{grain}" for rollup in ROLLUPS for grain in ("minute", "hour"))]


def _dimensions(rollup: Rollup) -> list[str]:
    return [dimension.name for dimension in rollup.dimensions]


def _distinct(rollup: Rollup) -> list[Metric]:
    return [metric for metric in rollup.metrics if metric.merge == "distinct"]


def _sums(rollup: Rollup) -> list[str]:
    cast = {"sum": "::bigint", "max": ""}
    return [f"{metric.aggregate}{cast[metric.merge]} AS {metric.name}" for metric in rollup.additive]


def add_up(rollup: Rollup, levels: tuple[float, ...]) -> list[str]:
    """Statements that make the rollup's minutes and hours at each level, in the order of its key."""
    keys = [*_dimensions(rollup), *flags(rollup)]
    order = ", ".join(name for name in rollup.key if name != "window_start")
    minute = "date_trunc('minute', event_time) AS minute"
    parts = []
    for metric in _distinct(rollup):
        # what the rows are counted by: pages have names that change, and editors have
        flag = "page_changes" if "title" in metric.value else "user_changes"
        for name, condition in (("steady", f"NOT {flag}"), ("own", flag)):
            parts.append(f"count(DISTINCT ({metric.value})) FILTER (WHERE {condition}) AS {metric.name}_{name}")
    made = []
    for grain, first, more in (("minute", [minute], []), ("hour", [], parts)):
        name = f"{SCHEMA}.{rollup.name}_{grain}"
        columns = [*first, *keys, *_sums(rollup), *more]
        grouped = ", ".join(["minute"] * len(first) + keys)
        for number, part in enumerate(levels):
            query = (
                f"SELECT {number} AS level, {', '.join(columns)} FROM {SCHEMA}.events"
                f" WHERE draw < {part} AND ({rollup.where}) GROUP BY {grouped}"
                f" ORDER BY {', '.join(['minute'] * len(first) + [order])}"
            )
            made.append(f"INSERT INTO {name} {query}" if number else f"CREATE UNLOGGED TABLE {name} AS {query}")
        made += [f"CREATE INDEX ON {name} (level)", f"ANALYZE {name}"]
    return made


def _shown(name: str) -> str:
    """A dimension in an hour: its own word and number in the names that have a place for them."""
    if name not in _CHANGES:
        return name
    if name == "user_key":
        shown = "md5(user_key::text || %(word)s)::uuid"
    else:
        shown = f"replace(replace({name}, '{WORDS}', %(word)s), '{DIGITS}', %(digits)s)"
    return f"CASE WHEN {_CHANGES[name]} THEN {shown} ELSE {name} END"


def _placed(metric: Metric) -> str:
    return f"%(start)s + {metric.name}" if metric.pg == "timestamptz" else metric.name


def copy_minutes(rollup: Rollup, table: str, generation: int | None = None) -> str:
    """Its minutes in an hour, those before now; with the generation, in the speed layer."""
    values = ["%(start)s + minute", *map(_shown, _dimensions(rollup)), *map(_placed, rollup.additive)]
    columns = list(rollup.columns)
    if generation is not None:
        columns, values = ["generation", *columns], [str(generation), *values]
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
        f" FROM {SCHEMA}.{rollup.name}_minute WHERE level = %(level)s AND %(start)s + minute < %(now)s"
    )


def copy_hour(rollup: Rollup) -> str:
    """The hour itself, with exact distinct counts."""
    distinct = [f"{metric.name}_steady + {metric.name}_own" for metric in _distinct(rollup)]
    values = ["%(start)s", *map(_shown, _dimensions(rollup)), *map(_placed, rollup.additive), *distinct]
    return (
        f"INSERT INTO batch.{rollup.table('hour')} ({_coarse(rollup)}) SELECT {', '.join(values)}"
        f" FROM {SCHEMA}.{rollup.name}_hour WHERE level = %(level)s"
    )


def _coarse(rollup: Rollup) -> str:
    return ", ".join([*rollup.columns, *(metric.name for metric in _distinct(rollup))])


def add_up_day(rollup: Rollup) -> str:
    """Rows of a day whose names come every hour, from how often each level comes in the day."""
    together = {
        "sum": "sum(h.{0} * d.times)::bigint",
        "max": "max(d.last + h.{0})",
        "distinct": "max(h.{0}_steady) + sum(h.{0}_own * d.times)::bigint",
    }
    metrics = [together[m.merge].format(m.name) for m in (*rollup.additive, *_distinct(rollup))]
    keys = ", ".join(f"h.{name}" for name in _dimensions(rollup))
    steady = "".join(f" AND NOT h.{flag}" for flag in flags(rollup))
    return (
        f"INSERT INTO batch.{rollup.table('day')} ({_coarse(rollup)}) SELECT %(day)s, {keys}, {', '.join(metrics)}"
        f" FROM {SCHEMA}.{rollup.name}_hour AS h"
        " JOIN unnest(%(levels)s::integer[], %(times)s::integer[], %(last)s::timestamptz[])"
        " AS d (level, times, last) ON d.level = h.level"
        f" WHERE TRUE{steady} GROUP BY {keys}"
    )


def copy_to_day(rollup: Rollup) -> str:
    """Rows of a day whose names are one hour's own."""
    distinct = [f"{metric.name}_steady + {metric.name}_own" for metric in _distinct(rollup)]
    values = ["%(day)s", *map(_shown, _dimensions(rollup)), *map(_placed, rollup.additive), *distinct]
    return (
        f"INSERT INTO batch.{rollup.table('day')} ({_coarse(rollup)}) SELECT {', '.join(values)}"
        f" FROM {SCHEMA}.{rollup.name}_hour WHERE level = %(level)s AND {' AND '.join(flags(rollup))}"
    )


def raw_table() -> str:
    """One row an event: what dashboards without rollups would ask."""
    columns = [f"{column.name} {column.pg}" for column in RECENT_CHANGES]
    return f"CREATE TABLE {SCHEMA}.raw_events (generation smallint, {', '.join(columns)}, is_edit boolean)"


def recent_changes(table: str, generation: int, *, is_whole: bool = False) -> str:
    """An event a row, received a moment after it happened; what comes again in another hour has an id of its own."""
    special = {
        "received_at": "%(start)s + event_time",
        "event_time": "%(start)s + event_time",
        "event_id": "md5(event_id::text || %(word)s)::uuid",
        "old_revision": "old_revision + extract(epoch FROM %(start)s)::bigint / 36",
        "new_revision": "new_revision + extract(epoch FROM %(start)s)::bigint / 36",
    }
    names = [column.name for column in RECENT_CHANGES]
    values = [special.get(name, _shown(name)) for name in names]
    if is_whole:
        names, values = [*names, "is_edit"], [*values, "is_edit"]
    return (
        f"INSERT INTO {table} (generation, {', '.join(names)}) SELECT {generation}, {', '.join(values)}"
        f" FROM {SCHEMA}.events WHERE draw < %(part)s"
        " AND %(start)s + event_time >= %(since)s AND %(start)s + event_time < %(now)s"
        " ORDER BY at_us"
    )
