"""The SQL of a micro-batch, made from the rollups' declarations: staging tables and the statements that merge them.

The surprising thing: staging tables are temporary and made once a connection, so a batch that is retried on a new
connection finds them empty and starts from nothing.
"""

from functools import cache

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from wikiweir.rollups import ROLLUPS, Metric, Rollup

IDS = "stage_ids"
SEEN = "seen"
RECENT = "recent_changes"
OUTCOMES = "outcomes"


def stage(name: str) -> str:
    """Name of a staging table."""
    return f"stage_{name}"


def table(name: str) -> str:
    """Full name of a table of the speed layer."""
    return f"speed.{name}"


def create_stages(cursor: Cursor) -> None:
    """The staging tables, on a new connection; each transaction leaves them empty, but for the ids."""
    cursor.execute("SET client_encoding = 'UTF8'")
    cursor.execute("SET temp_buffers = '64MB'")  # a staged batch of 100,000 events; what is not used is not taken
    # The ids are staged before the transaction, to ask which are known.
    cursor.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} (n integer, key_hour timestamptz, id uuid)").format(sql.Identifier(IDS))
    )
    like = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA")
    for name, table, columns in (
        (stage(OUTCOMES), "ops.stream_outcomes", ("event_hour", "outcome", "reason", "records")),
        *((stage(rollup.name), f"speed.{rollup.name}", rollup.columns) for rollup in ROLLUPS),
    ):
        cursor.execute(like.format(sql.Identifier(name), _names(columns), sql.Identifier(*table.split("."))))


def _names(names: tuple[str, ...], alias: str | None = None) -> sql.Composed:
    prefix = (alias,) if alias else ()
    return sql.SQL(", ").join(sql.Identifier(*prefix, name) for name in names)


def _merged(metric: Metric) -> sql.Composed:
    together = {"sum": "{name} = t.{name} + excluded.{name}", "max": "{name} = greatest(t.{name}, excluded.{name})"}
    return sql.SQL(together[metric.merge]).format(name=sql.Identifier(metric.name))


@cache
def new_windows(rollup: Rollup) -> sql.Composed:
    """Which windows have no row yet; parameters: windows, generation."""
    return sql.SQL(
        "SELECT w FROM unnest(%s::timestamptz[]) AS w"
        " WHERE NOT EXISTS (SELECT FROM {table} WHERE generation = %s AND window_start = w)"
    ).format(table=sql.Identifier("speed", rollup.name))


@cache
def merge_rollup(rollup: Rollup) -> sql.Composed:
    """Add the staged increments; parameter: generation."""
    return sql.SQL(
        "INSERT INTO {table} AS t (generation, {columns}) SELECT %s, {columns} FROM {stage}"
        " ON CONFLICT (generation, {key}) DO UPDATE SET {metrics}"
    ).format(
        table=sql.Identifier("speed", rollup.name),
        columns=_names(rollup.columns),
        stage=sql.Identifier(stage(rollup.name)),
        key=_names(rollup.key),
        metrics=sql.SQL(", ").join(map(_merged, rollup.additive)),
    )


MERGE_OUTCOMES = sql.SQL(
    "INSERT INTO ops.stream_outcomes AS t (generation, event_hour, outcome, reason, records)"
    " SELECT %s, event_hour, outcome, reason, records FROM {stage}"
    " ON CONFLICT (generation, event_hour, outcome, reason) DO UPDATE SET records = t.records + excluded.records"
).format(stage=sql.Identifier(stage(OUTCOMES)))

EMPTY_IDS = sql.SQL("TRUNCATE {stage}").format(stage=sql.Identifier(IDS))

KNOWN_IDS = sql.SQL(
    "SELECT i.n FROM {stage} AS i CROSS JOIN LATERAL ("
    "SELECT FROM speed.seen AS s WHERE s.generation = %s AND s.key_hour = i.key_hour AND s.id = i.id"
    " AND s.key_hour = ANY(%s::timestamptz[]) LIMIT 1) AS known"
).format(stage=sql.Identifier(IDS))
"""Staged ids that are known; the list of key hours lets the planner leave all other leaves alone.

LIMIT makes an id one probe of the index, whatever the planner believes of a leaf that has no statistics yet, as each
has in its first minute: a plain join read 20,000 rows again for each of 2,500 ids (10 s; so, 12 ms).
"""

SEEN_ARRIVALS = (
    "INSERT INTO ops.seen_partitions AS t (generation, key_hour, newest_arrival)"
    " SELECT %s, hour, now() FROM unnest(%s::timestamptz[]) AS hour"
    " ON CONFLICT (generation, key_hour) DO UPDATE SET newest_arrival = excluded.newest_arrival"
)

INSERT_WIKI = (
    "INSERT INTO speed.wikis (wiki, server_name, project, language, language_name, territory)"
    " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)

FLOOR = (
    "SELECT seen_floor::text,"
    " (extract(epoch FROM CASE WHEN isfinite(seen_floor) THEN seen_floor END) * 1000000)::bigint"
    " FROM ops.generations WHERE generation = %s"
)
"""The floor as text (it may be -infinity) and in microseconds (NULL where it is)."""
