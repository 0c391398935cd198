"""What Delta's own logs say was written: data files and their bytes, by table and commit.

Read without Spark, from any tables that lie under a folder. The surprising thing: what a run wrote is what commits
newer than a known version added, so nothing has to be known about the run but when it began.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from wikiweir.hours import Hour

LOG = "_delta_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One version of a table: what it added, which data files it took away."""

    table: str
    version: int
    operation: str
    added: Mapping[Path, tuple[int, str]]
    """File -> its bytes and the event hour it stands in, as Delta writes it; empty where a table has none."""
    removed: frozenset[Path]

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.added.values())


def tables(lake: Path) -> list[Path]:
    """Every Delta table under a folder."""
    return [log.parent for log in sorted(lake.rglob(LOG))]


def commits(lake: Path, table: Path, after: int = -1) -> Iterator[Commit]:
    """A table's commits newer than a version, oldest first."""
    for file in sorted((table / LOG).glob("*.json")):
        if file.stem.isdigit() and int(file.stem) > after:
            yield _commit(lake, table, file)


def _commit(lake: Path, table: Path, file: Path) -> Commit:
    actions: list[dict[str, Any]] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    adds = [action["add"] for action in actions if "add" in action]
    return Commit(
        table=table.relative_to(lake).as_posix(),
        version=int(file.stem),
        operation=next((action["commitInfo"]["operation"] for action in actions if "commitInfo" in action), ""),
        added={_path(table, add): (int(add["size"]), add["partitionValues"].get("event_hour") or "") for add in adds},
        removed=frozenset(_path(table, action["remove"]) for action in actions if "remove" in action),
    )


def _path(table: Path, action: Mapping[str, Any]) -> Path:
    return table / unquote(action["path"])


def files(lake: Path, table: Path, hour: Hour) -> dict[Path, int]:
    """The data files of a table's last version that hold an event hour, and their bytes."""
    live: dict[Path, int] = {}
    for commit in commits(lake, table):
        live |= {path: size for path, (size, at) in commit.added.items() if is_of(hour, at)}
        for path in commit.removed & live.keys():
            del live[path]
    return live


def is_of(hour: Hour, value: str) -> bool:
    """Whether a partition's value, which Delta writes in one of two ways, is an hour."""
    return value.replace("T", " ").startswith(f"{hour.start:%Y-%m-%d %H}")


def versions(lake: Path) -> dict[str, int]:
    """Table -> its last version."""
    return {table.relative_to(lake).as_posix(): max(c.version for c in commits(lake, table)) for table in tables(lake)}


def since(lake: Path, before: Mapping[str, int]) -> list[Commit]:
    """Every commit that is newer than `versions` once said; a table that was not there is new whole."""
    return [
        commit
        for table in tables(lake)
        for commit in commits(lake, table, before.get(table.relative_to(lake).as_posix(), -1))
    ]
