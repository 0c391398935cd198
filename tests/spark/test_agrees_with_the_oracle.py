"""parse -> classify -> both layers' sums on every odd event and on recorded ones, against the oracle, row for row.

The oracle runs in a process of its own and imports nothing of ours. Duplicates are the sink's business: here each id
comes once.
"""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.lib import sql
from jobs.lib.aggregate import aggregate, outcomes, recent_changes
from jobs.lib.classify import classify
from jobs.lib.increments import COLUMNS, increments
from jobs.lib.parse import parse
from tests.fixtures.odd_events import odd_events
from tests.spark.records import KAFKA_MS, kafka_frame
from wikiweir.rollups import ROLLUPS
from wikiweir.settings import PROJECT

SECRET = "invented"
RECORDINGS = sorted(
    path for path in (PROJECT.parent / "shared" / "data").glob("recentchange-*.ndjson.gz") if "flat" not in path.name
)


def oracle(lines: Iterable[bytes], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Its tables, as rows by column name."""
    folder.mkdir()
    records, secret = folder / "records.ndjson", folder / "secret"
    with records.open("w", encoding="utf-8") as out:
        for offset, line in enumerate(lines):
            record = {"partition": 0, "offset": offset, "kafka_ms": KAFKA_MS, "value": line.decode()}
            out.write(json.dumps(record) + "\n")
    secret.write_text(SECRET)
    command = [sys.executable, "-m", "tests.oracle.oracle", "--records", str(records), "--out", str(folder)]
    command += ["--definitions", "wikiweir/definitions.toml", "--user-key-secret-file", str(secret)]
    subprocess.run(command, check=True, cwd=PROJECT)
    tables = {}
    for name in (*(rollup.name for rollup in ROLLUPS), "recent_changes", "outcomes"):
        head, *rows = (folder / f"{name}.ndjson").read_text(encoding="utf-8").rstrip("\n").split("\n")
        tables[name] = [dict(zip(json.loads(head)["columns"], json.loads(row), strict=True)) for row in rows]
    return tables


def shown(value: Any, column: str) -> Any:
    """As the oracle writes it."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    if column in ("user_key", "event_id"):
        return str(UUID(bytes=value) if isinstance(value, bytes) else UUID(value))
    return value


def first_copies(lines: Iterable[bytes]) -> list[bytes]:
    """Each line whose `meta.id` was not there before."""
    seen: dict[str, bytes] = {}
    for number, line in enumerate(lines):
        try:
            event = json.loads(line)
            name = str(event["meta"]["id"]).lower()
        except (ValueError, KeyError, TypeError):
            name = f"line {number}"
        seen.setdefault(name, line)
    return list(seen.values())


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    # Arrow keeps instants as they are; collect() would bring them into the local zone
    return [{column: shown(value, column) for column, value in row.items()} for row in table.to_pylist()]


def assert_agree(spark: SparkSession, lines: list[bytes], folder: Path) -> None:
    expected = oracle(lines, folder)
    judged = classify(parse(kafka_frame(spark, lines)), user_key_secret=SECRET.encode(), mask_addresses=True).persist()
    facts = judged.where("outcome = 'fact'")
    found = [(rollup.name, aggregate(facts, rollup).toArrow()) for rollup in ROLLUPS]
    found += [("recent_changes", recent_changes(facts).toArrow()), ("outcomes", outcomes(judged).toArrow())]
    added = increments(facts.selectExpr(*sql.named(COLUMNS)).toArrow(), datetime.fromtimestamp(0, UTC))
    found += [(name, rows.result()) for name, rows in added.items()]
    judged.unpersist()
    for name, table in found:
        ours = {json.dumps(row, sort_keys=True, default=str) for row in rows_of(table)}
        theirs = {json.dumps(normal(row), sort_keys=True) for row in expected[name]}
        assert len(ours) == table.num_rows
        assert ours == theirs, f"{name}: only ours {sorted(ours - theirs)[:3]}, only theirs {sorted(theirs - ours)[:3]}"


def normal(row: dict[str, Any]) -> dict[str, Any]:
    """Instants without their zone, which is UTC."""
    instants = ("window_start", "event_hour", "event_time", "received_at", "last_edit_at")
    return {
        name: (
            datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            if name in instants
            else value
        )
        for name, value in row.items()
    }


def test_odd_events(spark: SparkSession, tmp_path: Path) -> None:
    now = datetime.fromtimestamp(KAFKA_MS / 1000, UTC)
    lines = [line for case in odd_events("spark", now) for line in case.lines]
    readable = [line for line in first_copies(lines) if line.decode("utf-8", "replace").encode() == line]
    assert len(readable) > 40
    assert_agree(spark, readable, tmp_path / "odd")


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.split(".")[0])
def test_recorded_events(spark: SparkSession, tmp_path: Path, path: Path) -> None:
    """Only where the recordings lie beside the project."""
    with gzip.open(path) as file:
        lines = first_copies(line.rstrip(b"\n") for line in file)
    assert_agree(spark, lines, tmp_path / "recorded")
