"""The comparer on a real PostgreSQL: silent when the tables hold what the oracle says, exact about what they do not.

The surprising thing: the tables are filled from the oracle's own files, so no other part of the project is needed.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2.extras
import pytest

from tests.oracle.compare import OF_PERIODS, ROLLUPS, TABLES, Difference, compare_day, compare_hour

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
DEFINITIONS = PROJECT / "wikiweir" / "definitions.toml"
HOUR, DAY = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    (folder / "secret").write_text("the weir and the lark", encoding="utf-8")
    command = [sys.executable, "-m", "tests.oracle.oracle", "--records", str(HERE / "counted_by_hand.ndjson")]
    command += ["--definitions", str(DEFINITIONS), "--user-key-secret-file", str(folder / "secret")]
    subprocess.run([*command, "--out", str(folder / "out")], check=True, timeout=60, cwd=PROJECT)
    return folder / "out"


def read(path: Path) -> tuple[list[str], list[list[Any]]]:
    header, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return header["columns"], rows


def fill(connection: Any, out: Path) -> None:
    with connection.cursor() as cursor:
        for name, (schema, table) in TABLES.items():
            columns, rows = read(out / f"{name}.ndjson")
            instants = {"window_start": "windows", "received_at": "received"}
            if columns[0] in instants:
                times: dict[str, list[str]] = {kind: [] for kind in ("windows", "key_hours", "received")}
                times[instants[columns[0]]] = sorted({row[0] for row in rows})
                cursor.execute(
                    "SELECT speed.ensure_partitions(1, %(windows)s::timestamptz[], %(key_hours)s::timestamptz[],"
                    " %(received)s::timestamptz[])",
                    times,
                )
            psycopg2.extras.execute_values(
                cursor,
                f"INSERT INTO {schema}.{table} (generation, {', '.join(columns)}) VALUES %s",
                [(1, *row) for row in rows],
            )


def publish(connection: Any, out: Path) -> None:
    """Every hour and day that the oracle has, into the tables of `batch` and the accounts of its hours."""
    with connection.cursor() as cursor:
        for name in (*(rollup + grain for rollup in ROLLUPS for grain in ("", "_hourly", "_daily")), *OF_PERIODS):
            columns, rows = read(out / f"{name}.ndjson")
            starts = [row[columns.index("window_start")] for row in rows]
            cursor.execute("SELECT batch.ensure_partitions(%s::timestamptz[])", (starts,))
            if name in OF_PERIODS:
                columns, rows = [*columns, "as_of"], [[*row, start] for row, start in zip(rows, starts, strict=True)]
            statement = f"INSERT INTO batch.{name} ({', '.join(columns)}) VALUES %s"
            psycopg2.extras.execute_values(cursor, statement, rows)
        _, rows = read(out / "outcomes.ndjson")
        statement = "INSERT INTO ops.hour_outcomes (hour, outcome, reason, records) VALUES %s"
        psycopg2.extras.execute_values(cursor, statement, rows)


def run(out: Path, dsn: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "dsn").write_text(dsn, encoding="utf-8")
    command = [sys.executable, str(HERE / "compare.py"), "--oracle", str(out), "--dsn-file", str(folder / "dsn")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(120)
def test_says_nothing_of_equal_tables_and_finds_each_kind_of_difference(
    counted: Path, postgres: Any, tmp_path: Path
) -> None:
    connection = postgres.connect("owner")
    fill(connection, counted)
    equal = run(counted, postgres.dsn("owner"), tmp_path)
    assert equal.returncode == 0, equal.stdout + equal.stderr
    assert "0 missing, 0 extra, 0 different" in equal.stdout

    with connection.cursor() as cursor:
        cursor.execute("UPDATE speed.activity SET events = events + 1 WHERE wiki = 'dewiki'")
        cursor.execute("DELETE FROM speed.edit_sizes WHERE size_bucket = '+10k' OR size_bucket = '+1k'")
        cursor.execute("UPDATE speed.page_activity SET title = 'Bracken' WHERE title = 'Saltmarsh'")
        cursor.execute("UPDATE ops.stream_outcomes SET records = 5 WHERE outcome = 'duplicate'")
        cursor.execute("UPDATE speed.recent_changes SET severity = NULL WHERE severity = 'minor'")
        cursor.execute("UPDATE speed.user_activity SET user_name = '192.0.2.77' WHERE user_name = '192.0.2.0/24'")
    connection.close()
    spoilt = run(counted, postgres.dsn("owner"), tmp_path)
    assert spoilt.returncode == 1
    assert "activity: 0 missing, 0 extra, 1 different of 20 rows" in spoilt.stdout
    assert "user_activity: 0 missing, 0 extra, 2 different of 17 rows" in spoilt.stdout
    assert "page_activity: 1 missing, 1 extra, 0 different of 17 rows" in spoilt.stdout
    assert "edit_sizes: 1 missing, 0 extra, 0 different of 25 rows" in spoilt.stdout
    assert "recent_changes: 0 missing, 0 extra, 2 different of 38 rows" in spoilt.stdout
    assert "outcomes: 0 missing, 0 extra, 1 different of 10 rows" in spoilt.stdout
    assert "Bracken" in spoilt.stdout


def told(found: list[Difference]) -> dict[str, tuple[int, int, int]]:
    """Table that differs -> how many rows are missing, extra, different."""
    return {each.table: (each.missing, each.extra, each.different) for each in found if not each.is_none}


@pytest.mark.timeout(120)
def test_an_hour_and_a_day_differ_in_what_was_changed_of_them_alone(counted: Path, postgres: Any) -> None:
    connection, dsn = postgres.connect("owner"), postgres.dsn("owner")
    publish(connection, counted)
    for found in (compare_hour(counted, dsn, HOUR), compare_day(counted, dsn, DAY)):
        assert told(found) == {}
        assert all(each.rows for each in found), "and it has compared something"

    with connection.cursor() as cursor:
        for statement in (
            "UPDATE batch.activity SET events = events + 1 WHERE wiki = 'dewiki'",
            "UPDATE batch.activity_hourly SET editors = 1 WHERE user_class = 'hidden' AND wiki = 'enwiki'",
            "DELETE FROM batch.user_activity_hourly WHERE user_class = 'bot'",
            "UPDATE batch.page_activity_hourly SET title = 'Bracken' WHERE title = 'Saltmarsh'",
            "UPDATE batch.page_activity_daily SET last_edit_at = last_edit_at - interval '1 microsecond'"
            " WHERE title = 'Broom' AND namespace = 0",
            "UPDATE batch.top_pages SET place = 13 WHERE scope = '' AND place = 12",  # of hour and day
            "UPDATE batch.top_editors SET edits = 8 WHERE grain = 'hour' AND scope = '' AND place = 2",
            "DELETE FROM batch.editor_counts WHERE grain = 'day' AND scope = '' AND user_class = ''",
            "UPDATE ops.hour_outcomes SET records = 3 WHERE outcome = 'duplicate'",
            # of other hours and days
            "DELETE FROM batch.edit_sizes WHERE window_start < '2026-03-01 10:00Z'",
            "DELETE FROM batch.edit_sizes_hourly WHERE window_start < '2026-03-01 10:00Z'",
            "DELETE FROM batch.edit_sizes_daily WHERE window_start < '2026-03-01Z'",
            "DELETE FROM ops.hour_outcomes WHERE hour <> '2026-03-01 10:00Z'",
        ):
            cursor.execute(statement)
            assert cursor.rowcount, statement
    connection.close()
    assert told(compare_hour(counted, dsn, HOUR)) == {
        "activity": (0, 0, 1),
        "activity_hourly": (0, 0, 1),
        "user_activity_hourly": (2, 0, 0),
        "page_activity_hourly": (1, 1, 0),
        "top_pages": (1, 1, 0),
        "top_editors": (0, 0, 1),
        "hour_outcomes": (0, 0, 1),
    }
    assert told(compare_day(counted, dsn, DAY)) == {
        "page_activity_daily": (0, 0, 1),
        "top_pages": (1, 1, 0),
        "editor_counts": (1, 0, 0),
    }
