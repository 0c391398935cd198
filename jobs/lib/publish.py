"""An hour's rollups -> `batch.*`, in one PostgreSQL transaction that replaces what stood there.

Readers see the hour before or after, never between: `ops.published_hours` changes in the same transaction, and by it
`serving` leaves the speed layer's rows out. The surprising thing: the row of `published_hours` is written first, so
that its lock makes two runs of one hour wait for each other, and an older result never replaces a newer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from jobs.lib.copying import copy
from jobs.lib.offsets import Offsets, to_json
from jobs.lib.postgres import transaction
from wikiweir.hours import Hour
from wikiweir.rollups import ROLLUPS, Rollup

Accounting = Mapping[tuple[str, str], int]
"""(outcome, reason) -> how many rows of bronze."""

REWRITTEN = ("rewritten", "")


class NewerPublishedError(RuntimeError):
    """The hour was published from a newer version of bronze meanwhile; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What an hour was computed from."""

    hour: Hour
    bronze_version: int
    end_offsets: Offsets
    run_id: str


_CLAIM = """\
INSERT INTO ops.published_hours AS p (hour, version, bronze_version, end_offsets, run_id)
VALUES (%(hour)s, 1, %(bronze_version)s, %(end_offsets)s, %(run_id)s)
ON CONFLICT (hour) DO UPDATE
SET version = p.version + 1,
    bronze_version = excluded.bronze_version,
    end_offsets = excluded.end_offsets,
    run_id = excluded.run_id,
    published_at = excluded.published_at
WHERE p.bronze_version <= excluded.bronze_version
RETURNING version"""


def publish(connection: Connection, source: Source, tables: Mapping[str, pa.Table], accounting: Accounting) -> int:
    """Replace the hour in every `batch` table; `tables`: rollup name -> its minute rows. The hour's new version.

    Raises `NewerPublishedError`. The connection (role batch) is in autocommit mode; all is one transaction of its own.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT batch.ensure_partitions(%s::timestamptz[])", ([source.hour.start],))
    with transaction(connection) as cursor:
        version = _claim(cursor, source)
        for rollup in ROLLUPS:
            cursor.execute(_delete(rollup), (source.hour.start, source.hour.end))
        copy(cursor, {f"batch.{name}": rows for name, rows in tables.items()})
        cursor.execute("DELETE FROM ops.hour_outcomes WHERE hour = %s", (source.hour.start,))
        cursor.executemany(
            "INSERT INTO ops.hour_outcomes (hour, outcome, reason, records) VALUES (%s, %s, %s, %s)",
            [(source.hour.start, *what, records) for what, records in accounting.items()],
        )
        return version


def _claim(cursor: Cursor, source: Source) -> int:
    values = {
        "hour": source.hour.start,
        "bronze_version": source.bronze_version,
        "end_offsets": Json(to_json(source.end_offsets)),
        "run_id": source.run_id,
    }
    cursor.execute(_CLAIM, values)
    row = cursor.fetchone()
    if row is None:
        raise NewerPublishedError(
            f"hour {source.hour} is published from a newer bronze than version {source.bronze_version}; left as it is"
        )
    return int(row[0])


def _delete(rollup: Rollup) -> sql.Composed:
    return sql.SQL("DELETE FROM {} WHERE window_start >= %s AND window_start < %s").format(
        sql.Identifier("batch", rollup.name)
    )
