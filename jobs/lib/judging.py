"""Which records of a micro-batch count: first copies that are new, and what becomes of the others.

Arrow in, Arrow out, no database. The surprising thing: the judgement is made over ids alone, canaries and records that
will be rejected included, because both layers de-duplicate before they classify.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

COLUMNS = (
    "partition",
    "offset",
    "kafka_time",
    "event_id",
    "key_hour",
    "event_time",
    "event_hour",
    "outcome",
    "reason",
    "wiki",
    "server_name",
)
"""What judgement needs to know of each record; other columns are carried along."""

DUPLICATE = "duplicate"
LEFT_TO_BATCH = "left_to_batch"


@dataclass(frozen=True, slots=True)
class Floor:
    """Key hours at or below it cannot be told from duplicates. `text` is PostgreSQL's, `micros` none for -infinity."""

    text: str = "-infinity"
    micros: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The records with their final outcome, and what must be remembered of them."""

    records: pa.Table
    facts: pa.Table
    """The records that count."""
    new_ids: pa.Table
    """key_hour, id of what goes into `seen`: first copies, unknown, above the floor; ordered as an index is."""

    def count(self, outcome: str) -> int:
        """How many records came to an outcome."""
        return int(pc.sum(pc.equal(self.records["outcome"], outcome)).as_py() or 0)

    def remembered(self, floor: "Floor") -> pa.Table:
        """The records whose ids belong into `seen`, new or known: those with an id above the floor."""
        found = self.records.filter(self.records["event_id"].is_valid())
        if floor.micros is None:
            return found
        return found.filter(pc.greater(found["key_hour"].cast(pa.int64()), floor.micros))

    def outcomes(self) -> pa.Table:
        """event_hour, outcome, reason, records."""
        grouped = self.records.group_by(["event_hour", "outcome", "reason"]).aggregate([([], "count_all")])
        return grouped.rename_columns(["event_hour", "outcome", "reason", "records"])


def in_order(records: pa.Table) -> pa.Table:
    """By (partition, offset): the order in which copies come first. As a rule it is the order they came in."""
    partitions, offsets = records["partition"].to_numpy(), records["offset"].to_numpy()
    steps, jumps = np.diff(partitions), np.diff(offsets)
    if ((steps > 0) | ((steps == 0) & (jumps >= 0))).all():
        return records
    return records.sort_by([("partition", "ascending"), ("offset", "ascending")])


def later_copies(records: pa.Table) -> NDArray[np.bool_]:
    """Per record of an ordered table whether an earlier record has the same id and key hour."""
    numbered = records.select(["event_id", "key_hour"]).append_column("n", pa.array(np.arange(records.num_rows)))
    firsts = numbered.group_by(["event_id", "key_hour"]).aggregate([("n", "min")])
    later: NDArray[np.bool_] = records["event_id"].is_valid().to_numpy(zero_copy_only=False).copy()
    later[firsts["n_min"].to_numpy()] = False
    return later


def first_copies(records: pa.Table, later: NDArray[np.bool_]) -> pa.Table:
    """n (row number in `records`), key_hour, id of the first copy of each id in the batch, ordered as an index is."""
    is_first = ~later & records["event_id"].is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(is_first)
    chosen = records.select(["key_hour", "event_id"]).take(rows)
    ids = pa.table({"n": pa.array(rows, pa.int32()), "key_hour": chosen["key_hour"], "id": chosen["event_id"]})
    return ids.sort_by([("key_hour", "ascending"), ("id", "ascending")])


def judge(records: pa.Table, later: NDArray[np.bool_], ids: pa.Table, known: list[int], floor: Floor) -> Judged:
    """Final outcomes of an ordered table. `ids` are its `first_copies`; those in the rows `known` are in `seen`."""
    has_id = records["event_id"].is_valid().to_numpy(zero_copy_only=False)
    duplicate = later.copy()
    duplicate[known] = True
    key_hours = records["key_hour"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    below = np.zeros(len(duplicate), dtype=bool) if floor.micros is None else key_hours <= floor.micros
    left = has_id & ~duplicate & below
    overruled = duplicate | left
    outcome = np.where(duplicate, DUPLICATE, np.where(left, LEFT_TO_BATCH, records["outcome"].to_numpy()))
    reason = np.where(overruled, "", records["reason"].to_numpy())
    columns = {name: records[name] for name in records.column_names}
    columns["outcome"] = pa.array(outcome, pa.string())
    columns["reason"] = pa.array(reason, pa.string())
    final = pa.table(columns)
    return Judged(
        records=final,
        facts=final.filter(pc.equal(final["outcome"], "fact")),
        new_ids=ids.filter(pa.array(~overruled[ids["n"].to_numpy()])).select(["key_hour", "id"]),
    )


def distinct_hours(column: pa.ChunkedArray) -> list[datetime]:
    """The hours that instants of a column are in."""
    return _distinct(column, "hour")


def distinct_days(column: pa.ChunkedArray) -> list[datetime]:
    """The UTC days that instants of a column are in."""
    return _distinct(column, "day")


def _distinct(column: pa.ChunkedArray, unit: str) -> list[datetime]:
    micros = 86_400_000_000 if unit == "day" else 3_600_000_000
    instants = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return [datetime.fromtimestamp(int(start) * micros / 1e6, UTC) for start in np.unique(instants // micros)]
