"""Speed layer against batch layer for a published hour, key by key: `ops.reconciliation`.

Whether a difference is an error is decided by records, not by time: each layer counts what it took in of the hour, and
only layers that took in the same must agree. The surprising thing: on a live stream the speed layer is always ahead of
the lake, but seldom in a closed hour, so most hours can be judged at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from jobs.lib import ledger, offsets
from jobs.lib.copying import copy
from jobs.lib.offsets import Offsets
from jobs.lib.postgres import transaction
from jobs.lib.publish import Source
from wikiweir.rollups import ROLLUPS, Rollup

EQUAL, PENDING, EXPLAINED, PRUNED, DIFFER = "equal", "pending", "explained", "pruned", "differ"
WORSE = (EQUAL, EXPLAINED, PRUNED, PENDING, DIFFER)
INCIDENT = "layers_differ"
RECORDS = "records"
LIVE = "SELECT g.generation FROM ops.generations AS g WHERE g.state = 'live'"

_IS_PRUNED = """\
SELECT FROM ops.published_hours AS p JOIN ops.generations AS g ON g.went_live_at <= p.speed_pruned_at
WHERE g.state = 'live' AND p.hour = %s"""
"""A generation that went live later has rows of its own of the hour."""


@dataclass(frozen=True, slots=True)
class Sums:
    """One metric of one rollup in both layers."""

    rollup: str
    metric: str
    speed: Decimal
    batch: Decimal
    keys_differing: int

    @property
    def of(self) -> tuple[str, str]:
        return self.rollup, self.metric


def reconcile(connection: Connection, source: Source, left: Mapping[str, pa.Table]) -> str:
    """Judge the hour that was published from `source`; the worst verdict of its metrics.

    `left`: rollup -> what the speed layer left to the batch of this hour, as minute rows.
    """
    with transaction(connection) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ledger_at = _ledger_offsets(cursor)
        records = _records(cursor, source)
        found = _compare(cursor, source, with_left=False)
        differing = [sums.of for sums in found if sums.keys_differing]
        verdicts = dict.fromkeys(differing, _verdict(cursor, source, records, ledger_at)) if differing else {}
        if DIFFER in verdicts.values() and any(rows.num_rows for rows in left.values()):
            _stage(cursor, left)
            made_up_for = {sums.of for sums in _compare(cursor, source, with_left=True) if not sums.keys_differing}
            verdicts |= dict.fromkeys(made_up_for & verdicts.keys(), EXPLAINED)
        _write(cursor, source, [*found, records], verdicts, ledger_at)
        _tell(cursor, source, [sums for sums in found if verdicts.get(sums.of) == DIFFER])
    return max(verdicts.values(), key=WORSE.index, default=EQUAL)


def _verdict(cursor: Cursor, source: Source, records: Sums, ledger_at: Offsets) -> str:
    """What values that differ mean: an error where both took in the same, or where what was ahead must have met."""
    cursor.execute(_IS_PRUNED, (source.hour.start,))
    if cursor.fetchone() is not None:
        return PRUNED
    if records.speed <= records.batch:
        # past bronze's end the speed layer has all that bronze has: as many are the same ones, fewer are too few
        return DIFFER if offsets.covers(ledger_at, source.end_offsets) else PENDING
    cursor.execute(
        "SELECT r.speed, r.ledger_offsets FROM ops.reconciliation AS r WHERE r.hour = %s AND r.rollup = %s",
        (source.hour.start, RECORDS),
    )
    before = cursor.fetchone()
    if before and offsets.covers(source.end_offsets, offsets.from_json(before[1])) and records.batch < before[0]:
        return DIFFER  # bronze has all that the speed layer had then, and less of the hour
    return DIFFER if offsets.covers(source.end_offsets, ledger_at) else PENDING


def _ledger_offsets(cursor: Cursor) -> Offsets:
    cursor.execute(f"SELECT ops.last_offsets(({LIVE}))")
    return offsets.from_json((cursor.fetchone() or ({},))[0])


def _records(cursor: Cursor, source: Source) -> Sums:
    cursor.execute(
        "SELECT"
        " (SELECT coalesce(sum(o.records), 0) FROM ops.stream_outcomes AS o"
        f"  WHERE o.generation = ({LIVE}) AND o.event_hour = %(hour)s),"
        " (SELECT coalesce(sum(o.records), 0) FROM ops.hour_outcomes AS o"
        "  WHERE o.hour = %(hour)s AND o.outcome <> 'rewritten')",
        {"hour": source.hour.start},
    )
    speed, batch = cursor.fetchone() or (Decimal(0), Decimal(0))
    return Sums(RECORDS, RECORDS, speed, batch, int(speed != batch))


def _stage(cursor: Cursor, left: Mapping[str, pa.Table]) -> None:
    for rollup in ROLLUPS:
        staged, model = sql.Identifier(f"left_{rollup.name}"), sql.Identifier("batch", rollup.name)
        cursor.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(staged, model))
    copy(cursor, {f"pg_temp.left_{name}": rows for name, rows in left.items() if rows.num_rows})


def _compare(cursor: Cursor, source: Source, *, with_left: bool) -> list[Sums]:
    """Every metric of every rollup."""
    found = []
    for rollup in ROLLUPS:
        cursor.execute(_comparison(rollup, with_left=with_left), {"start": source.hour.start, "end": source.hour.end})
        row = cursor.fetchone() or ()
        for place, metric in enumerate(rollup.additive):
            found.append(Sums(rollup.name, metric.name, *row[3 * place : 3 * place + 3]))
    return found


def _comparison(rollup: Rollup, *, with_left: bool) -> str:
    """One row: for each metric its sum in speed, its sum in batch, and how many keys differ in it."""
    window = "window_start >= %(start)s AND window_start < %(end)s"
    columns = [*rollup.key, *(metric.name for metric in rollup.additive)]
    merged = ", ".join(f"{metric.merge}({metric.name}) AS {metric.name}" for metric in rollup.additive)
    key, of = ", ".join(rollup.key), ", ".join(columns)
    live = f"SELECT {of} FROM speed.{rollup.name} WHERE generation = ({LIVE}) AND {window}"
    if with_left:
        live = f"{live} UNION ALL SELECT {of} FROM pg_temp.left_{rollup.name}"
    shown = []
    for metric in rollup.additive:
        total = "sum({0}.{1})" if metric.merge == "sum" else "extract(epoch FROM max({0}.{1}))"
        shown += [f"coalesce({total.format(layer, metric.name)}, 0)::numeric" for layer in ("s", "b")]
        shown.append(f"count(*) FILTER (WHERE s.{metric.name} IS DISTINCT FROM b.{metric.name})")
    return (
        f"WITH s AS (SELECT {key}, {merged} FROM ({live}) AS l GROUP BY {key}),"
        f" b AS (SELECT {of} FROM batch.{rollup.name} WHERE {window})"
        f" SELECT {', '.join(shown)} FROM s FULL JOIN b USING ({key})"
    )


def _write(
    cursor: Cursor, source: Source, found: list[Sums], verdicts: Mapping[tuple[str, str], str], ledger_at: Offsets
) -> None:
    cursor.execute("DELETE FROM ops.reconciliation WHERE hour = %s", (source.hour.start,))
    cursor.executemany(
        "INSERT INTO ops.reconciliation"
        " (hour, rollup, metric, speed, batch, keys_differing, verdict, ledger_offsets, run_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                source.hour.start, *sums.of, sums.speed, sums.batch, sums.keys_differing,
                verdicts.get(sums.of, EQUAL), Json(offsets.to_json(ledger_at)), source.run_id,
            )
            for sums in found
        ],
    )  # fmt: skip


def _tell(cursor: Cursor, source: Source, wrong: list[Sums]) -> None:
    """An incident that is open as long as the layers differ."""
    subject = str(source.hour)
    keys = {".".join(sums.of): sums.keys_differing for sums in wrong}
    message = f"both layers took in hour {subject}, and their numbers differ; the batch layer's are served"
    details = {"keys differing": keys, "run": source.run_id}
    ledger.settle_incident(cursor, INCIDENT, subject, message if wrong else None, details)
