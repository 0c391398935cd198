"""The comparer on a real PostgreSQL: silent when the tables hold what the oracle says, exact about what they do not.

The surprising thing: the tables are filled from the oracle's own files, so no other part of the project is needed.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2.extras
import pytest

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
DEFINITIONS = PROJECT / "wikiweir" / "definitions.toml"
TABLES = {
    "activity": "speed.activity",
    "user_activity": "speed.user_activity",
    "page_activity": "speed.page_activity",
    "edit_sizes": "speed.edit_sizes",
    "recent_changes": "speed.recent_changes",
    "outcomes": "ops.stream_outcomes",
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    (folder / "secret").write_text("the weir and the lark", encoding="utf-8")
    command = [sys.executable, "-m", "tests.oracle.oracle", "--records", str(HERE / "counted_by_hand.ndjson")]
    command += ["--definitions", str(DEFINITIONS), "--user-key-secret-file", str(folder / "secret")]
    subprocess.run([*command, "--out", str(folder / "out")], check=True, timeout=60, cwd=PROJECT)
    return folder / "out"


def fill(connection: Any, out: Path) -> None:
    with connection.cursor() as cursor:
        for name, table in TABLES.items():
            header, *rows = (json.loads(line) for line in (out / f"{name}.ndjson").open(encoding="utf-8"))
            columns = header["columns"]
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
                cursor, f"INSERT INTO {table} (generation, {', '.join(columns)}) VALUES %s", [(1, *row) for row in rows]
            )


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
