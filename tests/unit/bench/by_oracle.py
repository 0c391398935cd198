"""What the independent oracle says of the same records, in the form of `bench.lib_answers`."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from wikiweir.rollups import RECENT_CHANGES, ROLLUPS
from wikiweir.settings import PROJECT

TIMES = {"window_start", "last_edit_at", "received_at", "event_time"}
IDS = {"user_key", "event_id"}


class Record(NamedTuple):
    """A record as Kafka holds it."""

    partition: int
    offset: int
    kafka_ms: int
    value: bytes


def by_oracle(records: list[Record], secret: str, folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Table -> its rows."""
    lines = [json.dumps({**record._asdict(), "value": record.value.decode()}) for record in sorted(records)]
    (folder / "records").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "secret").write_text(secret, encoding="utf-8")
    command = [sys.executable, "-m", "tests.oracle.oracle", "--records", str(folder / "records")]
    command += ["--definitions", str(PROJECT / "wikiweir" / "definitions.toml"), "--out", str(folder / "out")]
    subprocess.run([*command, "--user-key-secret-file", str(folder / "secret")], check=True, cwd=PROJECT)
    wanted = {rollup.name: list(rollup.columns) for rollup in ROLLUPS}
    wanted["recent_changes"] = [column.name for column in RECENT_CHANGES]
    return {table: _rows(folder / "out" / f"{table}.ndjson", columns) for table, columns in wanted.items()}


def _rows(path: Path, columns: list[str]) -> list[tuple[Any, ...]]:
    head, *lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    at = [json.loads(head)["columns"].index(column) for column in columns]
    rows = (json.loads(line) for line in lines)
    return [tuple(_plain(name, row[position]) for name, position in zip(columns, at, strict=True)) for row in rows]


def _plain(column: str, value: Any) -> Any:
    if value is not None and column in TIMES:
        since = datetime.fromisoformat(value.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(microseconds=1)
    return value.replace("-", "") if column in IDS else value
