"""Whether two stores hold the same rollups: each is read back as plain tuples, summed by key, and compared row for row.

Summed, because the usual way appends increments and leaves the adding to whoever reads. The surprising thing: times
are compared as microseconds and ids as hexadecimal digits, so that no driver's idea of a type can hide or invent a
difference.
"""

from collections.abc import Callable
from typing import Any

import psycopg2

from bench.lib_result import UnequalAnswersError
from wikiweir.hours import Hour
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS, PgType, Rollup

Row = tuple[Any, ...]
Rows = Callable[[str], list[Row]]
"""Runs a query."""
Form = Callable[[str, PgType], str]
"""How a column is written in a query so that it comes out plain."""


def duckdb_form(column: str, pg: PgType) -> str:
    """DuckDB holds times as microseconds and ids as text already."""
    return f"replace(\"{column}\", '-', '')" if pg == "uuid" else f'"{column}"'


def postgres_form(column: str, pg: PgType) -> str:
    """PostgreSQL: whatever type the writer chose."""
    if pg == "timestamptz":
        return f'(extract(epoch FROM "{column}") * 1000000)::bigint'
    if pg == "uuid":
        return f"replace(\"{column}\"::text, '-', '')"
    return f'"{column}"'


def rollup_query(rollup: Rollup, table: str, form: Form, hour: Hour | None = None) -> str:
    """One plain row a key, increments added up; of one hour, or of all."""
    window = form("window_start", "timestamptz")
    first, end = (int(instant.timestamp()) * 1_000_000 for instant in (hour.start, hour.end)) if hour else (0, 0)
    where = f" WHERE {window} >= {first} AND {window} < {end}" if hour else ""
    keys = [window, *(form(d.name, d.pg) for d in rollup.dimensions)]
    metrics = [
        f"MAX({form(m.name, m.pg)})" if m.merge == "max" else f"CAST(SUM({form(m.name, m.pg)}) AS bigint)"
        for m in rollup.additive
    ]
    positions = ", ".join(str(position + 1) for position in range(len(keys)))
    return f"SELECT {', '.join(keys + metrics)} FROM {table}{where} GROUP BY {positions}"


def recent_query(table: str, form: Form) -> str:
    """One plain row a recent change."""
    return f"SELECT {', '.join(form(column.name, column.pg) for column in RECENT_CHANGES)} FROM {table}"


def read(rows: Rows, schema: str, form: Form, hour: Hour | None = None) -> dict[str, list[Row]]:
    """All rollups and recent_changes of a store, or the rollups of one hour; `schema` is a prefix with its dot."""
    answers = {r.name: rows(rollup_query(r, f"{schema}{r.name}", form, hour)) for r in ROLLUPS}
    return answers if hour else {**answers, "recent_changes": rows(recent_query(f"{schema}recent_changes", form))}


def read_postgres(dsn: str, schema: str, hour: Hour | None = None) -> dict[str, list[Row]]:
    """The same from PostgreSQL."""
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")

        def rows(query: str) -> list[Row]:
            cursor.execute(query)
            return cursor.fetchall()

        answers = read(rows, schema, postgres_form, hour)
    connection.close()
    return answers


def compare(name: str, expected: dict[str, list[Row]], found: dict[str, list[Row]]) -> None:
    """Raise unless every table holds the same rows, none twice."""
    for table, rows in expected.items():
        wanted, got = set(rows), set(found[table])
        if wanted != got or len(found[table]) != len(got):
            missing, extra = sorted(wanted - got, key=repr), sorted(got - wanted, key=repr)
            raise UnequalAnswersError(
                f"{name}.{table}: expected {len(wanted):,} rows, found {len(found[table]):,}; {len(missing):,} missing,"
                f" {len(extra):,} extra\n  missing {missing[:3]}\n  extra   {extra[:3]}"
            )
