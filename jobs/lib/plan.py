"""Which hours a batch run builds: every ended one that bronze holds more of than is published.

Nobody guesses how far late events reach back: `ops.hour_outcomes` accounts for every row that an hour was built from,
so an hour with more rows than that has got some since. An hour whose layers could not be judged yet is built again too.
An hour that still waits for a query is left to the next run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from jobs.lib.snapshot import Held
from wikiweir.hours import Hour

_ACCOUNTED = "SELECT o.hour, sum(o.records)::bigint FROM ops.hour_outcomes AS o GROUP BY o.hour"
_PENDING = "SELECT DISTINCT r.hour FROM ops.reconciliation AS r WHERE r.verdict = 'pending'"
_WAITING = "SELECT h, ops.hour_waits_for(h) FROM unnest(%s::timestamptz[]) AS h"


@dataclass(frozen=True, slots=True)
class Plan:
    """Newest first, because that is what people look at first."""

    hours: tuple[Hour, ...]
    waiting: Mapping[Hour, str]
    """Hours that have ended and are not ready, with what they wait for."""
    later: int
    """Hours beyond the limit, for the next run."""


def plan(cursor: Cursor, held: Mapping[Hour, Held], now: datetime, *, at_most: int) -> Plan:
    """Look at every ended hour of bronze."""
    accounted, pending = _accounted(cursor), _pending(cursor)
    touched = sorted(
        (
            hour
            for hour, found in held.items()
            if hour.end <= now and (found.rows > accounted.get(hour, 0) or hour in pending)
        ),
        reverse=True,
    )
    waiting = _waiting(cursor, touched)
    ready = [hour for hour in touched if hour not in waiting]
    return Plan(tuple(ready[:at_most]), waiting, max(0, len(ready) - at_most))


def _accounted(cursor: Cursor) -> Mapping[Hour, int]:
    cursor.execute(_ACCOUNTED)
    return {Hour.of(hour): records for hour, records in cursor.fetchall()}


def _pending(cursor: Cursor) -> set[Hour]:
    cursor.execute(_PENDING)
    return {Hour.of(hour) for (hour,) in cursor.fetchall()}


def _waiting(cursor: Cursor, hours: Iterable[Hour]) -> Mapping[Hour, str]:
    cursor.execute(_WAITING, ([hour.start for hour in hours],))
    return {Hour.of(hour): reason for hour, reason in cursor.fetchall() if reason is not None}
