"""Spark's checkpoint of the speed query, held against the ledger: go on with it, or throw it away.

Read through Hadoop's FileSystem, so any store that Spark can checkpoint to will do. The surprising thing: throwing one
away costs nothing, since the ledger knows where to begin; so whatever looks odd here is thrown away.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jobs.lib.ledger import Entry
from jobs.lib.offsets import Offsets, from_spark

RETIRED = ".retired-"
KEPT_RETIRED = 3
"""Retired checkpoints that are kept for a look; older ones are deleted."""


class Store(Protocol):
    """The few things that are done to checkpoint folders. Paths are URIs."""

    def names(self, folder: str) -> list[str]:
        """Names in a folder; none if it is not there."""
        ...

    def text(self, path: str) -> str:
        """A small file's content; `FileNotFoundError` if it is not there."""
        ...

    def rename(self, path: str, new_path: str) -> None:
        """Move a folder, if it is there."""
        ...

    def delete(self, path: str) -> None:
        """Delete a folder with all that is in it, if it is there."""
        ...


class HadoopStore:
    """Whatever Spark itself can read and write."""

    def __init__(self, spark: Any) -> None:
        self._jvm = spark._jvm
        self._conf = spark._jsparkSession.sessionState().newHadoopConf()

    def _open(self, path: str) -> tuple[Any, Any]:
        hadoop_path = self._jvm.org.apache.hadoop.fs.Path(path)
        return hadoop_path.getFileSystem(self._conf), hadoop_path

    def names(self, folder: str) -> list[str]:
        files, path = self._open(folder)
        return [status.getPath().getName() for status in files.listStatus(path)] if files.exists(path) else []

    def text(self, path: str) -> str:
        files, hadoop_path = self._open(path)
        if not files.exists(hadoop_path):
            raise FileNotFoundError("no such file")
        stream = files.open(hadoop_path)
        try:
            content: str = self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        finally:
            stream.close()
        return content

    def rename(self, path: str, new_path: str) -> None:
        files, hadoop_path = self._open(path)
        if files.exists(hadoop_path):
            files.rename(hadoop_path, self._jvm.org.apache.hadoop.fs.Path(new_path))

    def delete(self, path: str) -> None:
        files, hadoop_path = self._open(path)
        files.delete(hadoop_path, True)


class TornError(ValueError):
    """A file of a checkpoint is not there, empty, cut off, or says something else than it should."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: the newest planned batch, its end offsets and those of the one before."""

    query_id: str
    batch_id: int | None
    end: Offsets | None
    previous_end: Offsets | None


def _log_text(store: Store, path: str) -> list[str]:
    """Lines of a file of Spark's logs, after the version line."""
    try:
        version, *lines = store.text(path).splitlines()
    except (FileNotFoundError, ValueError) as damage:
        raise TornError(f"expected a file of Spark's log at {path}, found {damage}") from damage
    if not version.startswith("v") or not lines:
        raise TornError(f"expected a version line and content in {path}, found {version[:40]!r} and {len(lines)} lines")
    return lines


def planned_end(store: Store, checkpoint: str, batch_id: int, topic: str) -> Offsets:
    """The end offsets that Spark planned for a batch."""
    path = f"{checkpoint}/offsets/{batch_id}"
    lines = _log_text(store, path)
    try:
        json.loads(lines[0])
        return from_spark(topic, lines[1])
    except (ValueError, IndexError, TypeError) as damage:
        raise TornError(f"expected offsets of {topic} in {path}, found {damage}") from damage


def read(store: Store, checkpoint: str, topic: str) -> Checkpoint:
    """What stands in a checkpoint's folder; `TornError` if any of it cannot be relied on."""
    try:
        query_id = str(json.loads(store.text(f"{checkpoint}/metadata"))["id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as damage:
        raise TornError(f"expected the query's id in {checkpoint}/metadata, found {damage}") from damage
    planned = _numbers(store, f"{checkpoint}/offsets")
    committed = _numbers(store, f"{checkpoint}/commits")
    if committed:
        _commit(store, f"{checkpoint}/commits/{committed[-1]}")
    newest = planned[-1] if planned else None
    end = previous_end = None
    if newest is not None:
        end = planned_end(store, checkpoint, newest, topic)
        if newest > 0:
            previous_end = planned_end(store, checkpoint, newest - 1, topic)
    if committed and (newest is None or committed[-1] > newest):
        raise TornError(f"batch {committed[-1]} is committed in {checkpoint}, but planned is only {newest}")
    return Checkpoint(query_id, newest, end, previous_end)


def _commit(store: Store, path: str) -> None:
    try:
        json.loads(_log_text(store, path)[0])
    except ValueError as damage:
        raise TornError(f"expected JSON in {path}, found {damage}") from damage


def _numbers(store: Store, folder: str) -> list[int]:
    return sorted(int(name) for name in store.names(folder) if name.isdigit())


def objection(checkpoint: Checkpoint, entry: Entry) -> str | None:
    """Why Spark must not go on with this checkpoint; none: it stands where the ledger does, or one batch ahead."""
    if checkpoint.batch_id == entry.batch_id:
        if checkpoint.end == entry.end_offsets:
            return None
        return (
            f"batch {entry.batch_id} ends at {checkpoint.end} in the checkpoint, at {entry.end_offsets} in the ledger"
        )
    if checkpoint.batch_id == entry.batch_id + 1:
        if checkpoint.previous_end == entry.end_offsets:
            return None
        return (
            f"batch {entry.batch_id} ends at {checkpoint.previous_end} in the checkpoint,"
            f" at {entry.end_offsets} in the ledger"
        )
    return f"the checkpoint's newest batch is {checkpoint.batch_id}, the ledger's {entry.batch_id}"


def new_id() -> str:
    """A checkpoint's name; also what the ledger calls it by."""
    return uuid.uuid4().hex


def retire(store: Store, folder: str, checkpoint_id: str, stamp: int) -> None:
    """Put a checkpoint aside under a name that no query will use. `stamp` orders the retired ones."""
    store.rename(f"{folder}/{checkpoint_id}", f"{folder}/{checkpoint_id}{RETIRED}{stamp}")


def sweep(store: Store, folder: str, current_id: str) -> None:
    """Delete what no query will use again: never-used checkpoints, and retired ones but the last few."""
    retired: Mapping[str, int] = {
        name: int(name.rpartition(RETIRED)[2]) for name in store.names(folder) if RETIRED in name
    }
    kept = sorted(retired, key=lambda name: retired[name])[-KEPT_RETIRED:]
    for name in store.names(folder):
        if name != current_id and name not in kept and not name.startswith("."):
            store.delete(f"{folder}/{name}")
