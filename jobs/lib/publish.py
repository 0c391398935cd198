"""Rows of the batch layer -> `batch.*`, in one PostgreSQL transaction that replaces what stood there.

Readers see an hour or a day before or after, never between: `ops.published_hours` changes in the same transaction, and
by it `serving` leaves the speed layer's rows out. The surprising thing: the row of `published_hours` is written first,
so that its lock makes two runs of one hour wait for each other, and an older result never replaces a newer one.
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
from wikiweir.hours import Day, Hour

Tables = Mapping[str, pa.Table]
"""Table of `batch` -> its rows of an hour or a day."""

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
    bronze_rows: int
    """Rows of the hour that this version holds, by Delta's log."""
    end_offsets: Offsets
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedHours:
    """What a day is made of."""

    day: Day
    hours: tuple[Hour, ...]
    versions: int
    """Sum of their versions: another sum says that one was published anew."""


_HOUR = """\
INSERT INTO ops.published_hours AS p (hour, version, bronze_version, bronze_rows, end_offsets, run_id, lake_versions)
VALUES (%(hour)s, 1, %(bronze_version)s, %(bronze_rows)s, %(end_offsets)s, %(run_id)s, %(lake_versions)s)
ON CONFLICT (hour) DO UPDATE
SET version = p.version + 1,
    bronze_version = excluded.bronze_version,
    bronze_rows = excluded.bronze_rows,
    end_offsets = excluded.end_offsets,
    run_id = excluded.run_id,
    lake_versions = excluded.lake_versions,
    published_at = excluded.published_at
WHERE p.bronze_version <= excluded.bronze_version
RETURNING version"""
_DAY = """\
INSERT INTO ops.published_days AS p (day, version, hours, hour_versions, as_of, run_id)
VALUES (%s, 1, %s, %s, %s, %s)
ON CONFLICT (day) DO UPDATE
SET version = p.version + 1,
    hours = excluded.hours,
    hour_versions = excluded.hour_versions,
    as_of = excluded.as_of,
    run_id = excluded.run_id,
    published_at = excluded.published_at
RETURNING version"""
_STALE_DAYS = """\
SELECT h.day, h.hours, h.versions
FROM (
    SELECT
        date_trunc('day', p.hour, 'UTC') AS day,
        array_agg(p.hour ORDER BY p.hour) AS hours,
        sum(p.version) AS versions
    FROM ops.published_hours AS p
    WHERE p.lake_versions <> '{}'
    GROUP BY 1
) AS h
LEFT JOIN ops.published_days AS d ON d.day = h.day
WHERE d.day IS NULL OR d.hours <> cardinality(h.hours) OR d.hour_versions <> h.versions
ORDER BY h.day DESC"""


def publish(
    connection: Connection, source: Source, tables: Tables, accounting: Accounting, lake_versions: Mapping[str, int]
) -> int:
    """Replace the hour in the tables of minutes and hours, its tops and totals. The hour's new version.

    `lake_versions`: versions of silver and gold that hold it. Raises `NewerPublishedError`. The connection (role batch)
    is in autocommit mode; all is one transaction of its own.
    """
    _ensure_partitions(connection, source.hour)
    with transaction(connection) as cursor:
        version = _publish_hour(cursor, source, lake_versions)
        _replace(cursor, source.hour, tables)
        cursor.execute("SELECT batch.rank_tops('hour', %s), batch.total_hour(%s)", (source.hour.start,) * 2)
        cursor.execute("DELETE FROM ops.hour_outcomes WHERE hour = %s", (source.hour.start,))
        cursor.executemany(
            "INSERT INTO ops.hour_outcomes (hour, outcome, reason, records) VALUES (%s, %s, %s, %s)",
            [(source.hour.start, *what, records) for what, records in accounting.items()],
        )
        return version


def refuse_older(connection: Connection, source: Source) -> None:
    """Raise `NewerPublishedError` where a newer version of bronze is published. The caller holds the day's claim."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT bronze_version FROM ops.published_hours WHERE hour = %s", (source.hour.start,))
        if (row := cursor.fetchone()) and row[0] > source.bronze_version:
            raise _newer(source)


def stale_days(connection: Connection) -> list[PublishedHours]:
    """Days that are not published as their hours are, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_STALE_DAYS)
        return [
            PublishedHours(day=Day.of(day), hours=tuple(map(Hour.of, hours)), versions=int(versions))
            for day, hours, versions in cursor.fetchall()
        ]


def publish_day(connection: Connection, made_of: PublishedHours, tables: Tables, run_id: str) -> int:
    """Replace the day in the tables of days, and its tops. The day's new version."""
    _ensure_partitions(connection, made_of.day)
    with transaction(connection) as cursor:
        as_of = max(made_of.hours).end
        values = (made_of.day.start, len(made_of.hours), made_of.versions, as_of, run_id)
        cursor.execute(_DAY, values)
        row = cursor.fetchone()
        _replace(cursor, made_of.day, tables)
        cursor.execute("SELECT batch.rank_tops('day', %s)", (made_of.day.start,))
        return int(row[0]) if row else 0


def _ensure_partitions(connection: Connection, period: Hour | Day) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT batch.ensure_partitions(%s::timestamptz[])", ([period.start],))


def _publish_hour(cursor: Cursor, source: Source, lake_versions: Mapping[str, int]) -> int:
    values = {
        "hour": source.hour.start,
        "bronze_version": source.bronze_version,
        "bronze_rows": source.bronze_rows,
        "end_offsets": Json(to_json(source.end_offsets)),
        "run_id": source.run_id,
        "lake_versions": Json(lake_versions),
    }
    cursor.execute(_HOUR, values)
    row = cursor.fetchone()
    if row is None:
        raise _newer(source)
    return int(row[0])


def _newer(source: Source) -> NewerPublishedError:
    return NewerPublishedError(
        f"hour {source.hour} is published from a newer bronze than version {source.bronze_version}; left as it is"
    )


def _replace(cursor: Cursor, period: Hour | Day, tables: Tables) -> None:
    for name in tables:
        statement = sql.SQL("DELETE FROM {} WHERE window_start >= %s AND window_start < %s")
        cursor.execute(statement.format(sql.Identifier("batch", name)), (period.start, period.end))
    copy(cursor, {f"batch.{name}": rows for name, rows in tables.items()})
