"""Gold against `batch.*`, row for row, and silver against its own ids, by DuckDB over Delta's files.

The surprising thing: PostgreSQL's rows come as CSV and gold's as Parquet, so each side is read by code that neither
Spark nor the project has a part in.
"""

from collections import Counter
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg2

from tests.integration import evidence
from wikiweir.rollups import ROLLUPS, Dimension, Grain, Metric, Rollup

GRAINS: tuple[Grain, ...] = ("minute", "hour", "day")
Columns = tuple[Dimension | Metric, ...]
_TYPES = {"text": "VARCHAR", "uuid": "VARCHAR", "integer": "BIGINT", "bigint": "BIGINT", "timestamptz": "TIMESTAMP"}


def differences(lake: Path, dsn: str, folder: Path) -> tuple[Counter[str], list[str]]:
    """How many rows of each table and grain were looked at, and every one that is not the same on both sides."""
    found: list[str] = []
    looked_at: Counter[str] = Counter()
    for rollup in ROLLUPS:
        files = _files(lake / "gold" / rollup.name)
        for grain in GRAINS:
            columns: Columns = (*rollup.dimensions, *rollup.measured(grain))
            csv = folder / f"{rollup.name}-{grain}.csv"
            _export(dsn, rollup, grain, csv, columns)
            with duckdb.connect(":memory:") as db:
                db.execute("SET TimeZone = 'UTC'")
                types = {"window_start": "TIMESTAMP"} | {column.name: _TYPES[column.pg] for column in columns}
                names = ", ".join(types)
                # somebody may be called \N, which is then in quotes
                form = "header = false, nullstr = '\\N', allow_quoted_nulls = false, escape = '\"'"
                served = f"read_csv('{csv}', columns = {types}, {form})"
                db.execute(f"CREATE TABLE served AS SELECT {names} FROM {served}")
                shown = ", ".join(["CAST(window_start AS TIMESTAMP) AS window_start", *map(_shown, columns)])
                gold = f"read_parquet({files[grain]}, hive_partitioning = false, union_by_name = true)"
                db.execute(f"CREATE TABLE gold AS SELECT {shown} FROM {gold}")
                [(rows,)] = db.execute("SELECT count(*) FROM served").fetchall()
                looked_at[f"{rollup.name} {grain}"] = rows
                for one, other in (("gold", "served"), ("served", "gold")):
                    extra = f"SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}"
                    [(count,)] = db.execute(f"SELECT count(*) FROM ({extra})").fetchall()
                    if count:
                        example = db.execute(f"{extra} LIMIT 2").fetchall()
                        found.append(f"{rollup.name} {grain}: {count} rows are only in {one}, e.g. {example}")
            csv.unlink()
    return looked_at, found


def facts_by_hour(lake: Path) -> dict[str, tuple[int, int]]:
    """Event hour (`2026-11-23 09:00:00`) -> rows of silver, and different ids among them."""
    table = lake / "silver" / "facts"
    by_hour: dict[str, list[str]] = {}
    for path, values in evidence.delta_files(table).items():
        by_hour.setdefault(values["event_hour"].replace("T", " ")[:19], []).append(str(table / path))
    with duckdb.connect(":memory:") as db:
        query = "SELECT count(*), count(DISTINCT event_id) FROM read_parquet({}, hive_partitioning = false)"
        return {hour: db.execute(query.format(paths)).fetchall()[0] for hour, paths in by_hour.items()}


def _files(table: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {grain: [] for grain in GRAINS}
    for path, values in evidence.delta_files(table).items():
        found[values["grain"]].append(str(table / path))
    return found


def _export(dsn: str, rollup: Rollup, grain: Grain, path: Path, columns: Columns) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor, path.open("wb") as sink:
        cursor.execute("SET timezone = 'UTC'")
        shown = [f"{column.name}{' AT TIME ZONE $$UTC$$' if column.pg == 'timestamptz' else ''}" for column in columns]
        query = f"SELECT window_start AT TIME ZONE 'UTC', {', '.join(shown)} FROM batch.{rollup.table(grain)}"
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, NULL '\\N', FORCE_QUOTE *)", sink)


def _shown(column: Dimension | Metric) -> str:
    """A column of gold as PostgreSQL's CSV has it: uuids with their hyphens."""
    name = column.name
    if column.pg == "uuid":
        hyphens = "'^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\\1-\\2-\\3-\\4-\\5'"
        return f"regexp_replace({name}, {hyphens}) AS {name}"
    return f"CAST({name} AS {_TYPES[column.pg]}) AS {name}"
