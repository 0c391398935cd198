"""The ledger `ops.stream_batches`: which offsets are in the speed tables, by the transaction that put them there.

The surprising thing: it, and not Spark's checkpoint, says where the stream stands. A checkpoint that disagrees is
thrown away, and a new one begins at the last row's end offsets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from jobs.lib.offsets import Gap, Offsets, from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One micro-batch. `seen_floor` is PostgreSQL's text, because `-infinity` is no Python datetime."""

    generation: int
    sequence: int
    checkpoint_id: str
    batch_id: int
    start_offsets: Offsets
    end_offsets: Offsets
    received: int = 0
    facts: int = 0
    duplicates: int = 0
    canaries: int = 0
    rejected: int = 0
    left_to_batch: int = 0
    seen_floor: str = "-infinity"
    owner_epoch: int = 0
    oldest_kafka_time: datetime | None = None
    newest_kafka_time: datetime | None = None

    def by_outcome(self) -> dict[str, int]:
        """Records of the batch, by the outcome they came to."""
        return {
            "fact": self.facts,
            "duplicate": self.duplicates,
            "canary": self.canaries,
            "rejected": self.rejected,
            "left_to_batch": self.left_to_batch,
        }


_COLUMNS = tuple(f.name for f in fields(Entry))
_SELECT = "SELECT " + ", ".join("seen_floor::text" if name == "seen_floor" else name for name in _COLUMNS)


def last(cursor: Cursor, generation: int) -> Entry | None:
    """The newest row of a generation: where it stands."""
    cursor.execute(
        f"{_SELECT} FROM ops.stream_batches WHERE generation = %s ORDER BY sequence DESC LIMIT 1", (generation,)
    )
    return _entry(cursor.fetchone())


def first(cursor: Cursor, generation: int) -> Entry | None:
    """The oldest row that is kept: what the generation's tables begin with."""
    cursor.execute(f"{_SELECT} FROM ops.stream_batches WHERE generation = %s ORDER BY sequence LIMIT 1", (generation,))
    return _entry(cursor.fetchone())


def append(cursor: Cursor, entry: Entry) -> None:
    """Add a row. A sequence or batch that is already there is an error: somebody else has written."""
    values = {name: getattr(entry, name) for name in _COLUMNS}
    values["start_offsets"] = Json(to_json(entry.start_offsets))
    values["end_offsets"] = Json(to_json(entry.end_offsets))
    cursor.execute(
        f"INSERT INTO ops.stream_batches ({', '.join(_COLUMNS)})"
        f" VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)})",
        values,
    )


def record_gaps(cursor: Cursor, query: str, generation: int | None, gaps: tuple[Gap, ...]) -> None:
    """What this query will never read, a row a partition."""
    cursor.executemany(
        "INSERT INTO ops.stream_gaps (found_at, query, generation, partition, from_offset, to_offset, reason)"
        " VALUES (now(), %s, %s, %s, %s, %s, %s)",
        [(query, generation, gap.partition, gap.first, gap.end, gap.reason) for gap in gaps],
    )


def open_incident(
    cursor: Cursor, kind: str, subject: str, message: str, details: Mapping[str, Any], *, is_over: bool = False
) -> None:
    """Tell the operator; `is_over`: it has mended itself and is only put on record."""
    cursor.execute(
        "INSERT INTO ops.incidents (kind, subject, message, details, closed_at)"
        " VALUES (%s, %s, %s, %s, CASE WHEN %s THEN now() END)",
        (kind, subject, message, Json(dict(details)), is_over),
    )


def settle_incident(cursor: Cursor, kind: str, subject: str, message: str | None, details: Mapping[str, Any]) -> None:
    """Tell the operator as long as something is wrong with the subject, in one row; no message: it is over."""
    of_subject = "WHERE kind = %s AND subject = %s AND closed_at IS NULL"
    if message is None:
        cursor.execute(f"UPDATE ops.incidents SET closed_at = now() {of_subject}", (kind, subject))
        return
    values = (message, Json(dict(details)), kind, subject)
    cursor.execute(f"UPDATE ops.incidents SET message = %s, details = %s {of_subject}", values)
    if not cursor.rowcount:
        open_incident(cursor, kind, subject, message, details)


def _entry(row: tuple[Any, ...] | None) -> Entry | None:
    if row is None:
        return None
    values = dict(zip(_COLUMNS, row, strict=True))
    values["start_offsets"] = from_json(values["start_offsets"])
    values["end_offsets"] = from_json(values["end_offsets"])
    return Entry(**values)
