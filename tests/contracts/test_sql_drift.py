"""Migrated tables against `wikiweir.rollups`, and every column explained; all differences are told at once."""

from collections.abc import Iterator

import pytest
from psycopg2.extensions import cursor as Cursor  # psycopg2's class has a lower-case name

from sql import generate
from tests.conftest import Postgres
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS

SHORT = {"timestamp with time zone": "timestamptz"}
Table = dict[str, tuple[str, bool]]
"""Column name -> type, whether it may be NULL; in order."""


def expected() -> Iterator[tuple[str, Table, tuple[str, ...]]]:
    """Each table's columns and primary key as rollups.py declares them; their order is nobody's business."""
    generation: Table = {"generation": ("smallint", False)}
    for rollup in ROLLUPS:
        columns: Table = {"window_start": ("timestamptz", False)}
        columns |= {dimension.name: (dimension.pg, False) for dimension in rollup.dimensions}
        columns |= {metric.name: (metric.pg, False) for metric in rollup.additive}
        yield f"speed.{rollup.name}", generation | columns, ("generation", *rollup.key)
        yield f"batch.{rollup.name}", columns, rollup.key
        distinct: Table = {metric.name: (metric.pg, False) for metric in rollup.metrics if metric.merge == "distinct"}
        for grain in ("hourly", "daily"):
            yield f"batch.{rollup.name}_{grain}", columns | distinct, rollup.key
    recent: Table = {column.name: (column.pg, column.nullable) for column in RECENT_CHANGES}
    yield "speed.recent_changes", generation | recent, ()


def found_columns(cursor: Cursor, table: str) -> Table:
    cursor.execute(
        """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull
        FROM pg_attribute AS a
        WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """,
        (table,),
    )
    return {name: (SHORT.get(kind, kind), nullable) for name, kind, nullable in cursor.fetchall()}


def found_key(cursor: Cursor, table: str) -> tuple[str, ...]:
    cursor.execute(
        """
        SELECT a.attname
        FROM pg_constraint AS c
        CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
        WHERE c.conrelid = to_regclass(%s) AND c.contype = 'p'
        ORDER BY k.place
        """,
        (table,),
    )
    return tuple(name for (name,) in cursor.fetchall())


def unexplained(cursor: Cursor) -> list[str]:
    """Tables, views and columns without a comment (leaves and branches are their parents' business)."""
    cursor.execute(
        """
        SELECT format('%I.%I', n.nspname, c.relname) || COALESCE('.' || a.attname, '')
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT NULL::name AS attname, 0 AS attnum
            UNION ALL
            SELECT x.attname, x.attnum FROM pg_attribute AS x
            WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped
        ) AS a
        WHERE n.nspname IN ('ops', 'speed', 'batch', 'serving')
            AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
            AND COALESCE(
                CASE a.attnum WHEN 0 THEN obj_description(c.oid) ELSE col_description(c.oid, a.attnum) END, ''
            ) = ''
        ORDER BY 1
        """
    )
    return [f"{name}: expected a comment, found none" for (name,) in cursor.fetchall()]


def differences(cursor: Cursor) -> list[str]:
    """Everything in which the database is not what the kernel and the dictionary say."""
    told = unexplained(cursor)
    for table, columns, key in expected():
        found = found_columns(cursor, table)
        for name in columns.keys() | found.keys():
            if columns.get(name) != found.get(name):
                told.append(f"{table}.{name}: expected {columns.get(name)}, found {found.get(name)}")
        if found_key(cursor, table) != key:
            told.append(f"{table}: expected primary key {key}, found {found_key(cursor, table)}")
    for rollup in ROLLUPS:
        everything = [*rollup.columns, *(metric.name for metric in rollup.metrics if metric.merge == "distinct")]
        for suffix, wanted in (
            ("", [*rollup.columns, "layer"]),
            ("_hourly", [*everything, "layer"]),
            ("_daily", [*everything, "hours", "as_of"]),
        ):
            shown = list(found_columns(cursor, f"serving.{rollup.name}{suffix}"))
            if shown != wanted:
                told.append(f"serving.{rollup.name}{suffix}: expected {wanted}, found {shown}")
    return sorted(told)


def test_tables_are_what_the_kernel_declares(postgres: Postgres) -> None:
    with postgres.connect("owner") as connected, connected.cursor() as cursor:
        told = differences(cursor)
        assert not told, "\n" + "\n".join(told)


def test_every_difference_is_told_at_once(postgres: Postgres) -> None:
    connected = postgres.connect("owner", autocommit=False)
    with connected.cursor() as cursor:
        cursor.execute("DROP VIEW serving.edit_sizes CASCADE")
        cursor.execute("ALTER TABLE batch.edit_sizes ALTER COLUMN edits TYPE integer")
        cursor.execute("ALTER TABLE batch.activity ALTER COLUMN reverts DROP NOT NULL")
        cursor.execute("ALTER TABLE batch.page_activity DROP CONSTRAINT page_activity_pkey")
        cursor.execute("ALTER TABLE speed.recent_changes ADD COLUMN surprise text")
        cursor.execute("COMMENT ON COLUMN ops.incidents.kind IS NULL")
        told = "\n".join(differences(cursor))
    connected.rollback()
    connected.close()
    for part in (
        "edit_sizes.edits",
        "activity.reverts",
        "page_activity: expected primary key",
        "surprise",
        "incidents.kind",
    ):
        assert part in told


def test_generated_files_are_current() -> None:
    assert not generate.stale(), "run python -m sql.generate and commit"


def test_staleness_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "LAYER", "Something else.")
    assert {path.name for path in generate.stale()} == {"comments.sql", "data-dictionary.md"}
