"""Which hours a batch run builds: those it is asked for, and ended ones that bronze holds more of than is published.

Nobody guesses how far late events reach back: `ops.hour_outcomes` accounts for every row that an hour was built from,
so an hour with more rows than that has got some since. An hour whose layers could not be judged yet is built again too,
and one whose run ended between publishing and judging it.
A touched hour that still waits for a query is left to the next run, and one that was kept back until there is more of
it; one that is asked for is built as it is. An hour whose rows retention has taken from bronze is built by neither:
what late rows are there now would replace the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from jobs.lib.snapshot import Held
from wikiweir.hours import Hour

KEPT_BACK = "it did not pass, and bronze holds no more of it since; docs/runbooks/hour_blocked.md says what to do"

AT_MOST = 48
"""Touched hours of one run; a longer catch-up goes on in the next one."""

_ACCOUNTED = "SELECT o.hour, sum(o.records)::bigint FROM ops.hour_outcomes AS o GROUP BY o.hour"
_PENDING = """\
SELECT p.hour
FROM ops.published_hours AS p
LEFT JOIN ops.reconciliation AS r ON r.hour = p.hour AND r.run_id = p.run_id
GROUP BY p.hour
HAVING count(r.hour) = 0 OR bool_or(r.verdict = 'pending')"""
_BLOCKED = """\
SELECT i.subject, (i.details ->> 'bronze rows')::bigint
FROM ops.incidents AS i
WHERE i.kind = 'hour_blocked' AND i.closed_at IS NULL AND i.details ->> 'bronze rows' IS NOT NULL"""
_PRUNED = "SELECT p.hour, p.pruned_at FROM ops.pruned_hours AS p"
_WAITING = "SELECT h, ops.hour_waits_for(h) FROM unnest(%s::timestamptz[]) AS h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a run is asked for."""

    hour: Hour | None = None
    first: Hour | None = None
    last: Hour | None = None
    touched: bool = False

    @property
    def is_empty(self) -> bool:
        return self.hour is None and self.first is None and not self.touched

    @property
    def newest(self) -> Hour | None:
        """The newest hour asked for by name."""
        return max((hour for hour in (self.hour, self.last) if hour is not None), default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run builds: the hour it is about, then newest first, because that is what people look at first."""

    hours: tuple[Hour, ...]
    asked: frozenset[Hour]
    """Those asked for by name."""
    waiting: Mapping[Hour, str]
    """Hours that have ended and are not built, with why: what they wait for, or that their rows are gone."""
    later: int
    """Hours beyond the limit, for the next run."""
    accounted: Mapping[Hour, int]
    """Rows that each published hour was built from."""


def plan(cursor: Cursor, held: Mapping[Hour, Held], wish: Wish, now: datetime, *, at_most: int = AT_MOST) -> Plan:
    """Look at every hour of bronze. The hour asked for is built if bronze has a row of it."""
    accounted, gone = accounted_rows(cursor), pruned(cursor)
    asked = [wish.hour] if wish.hour is not None and (wish.hour in held or wish.hour in gone) else []
    asked += sorted(_in_range(held, wish), reverse=True)
    touched, waiting = _touched(cursor, held, accounted, now) if wish.touched else ([], {})
    left = {hour: reason for hour, reason in waiting.items() if hour not in asked}
    left |= {hour: _why(gone[hour]) for hour in [*asked, *touched, *left] if hour in gone}
    touched = [hour for hour in touched if hour not in gone]
    hours = tuple(hour for hour in dict.fromkeys([*asked, *touched[:at_most]]) if hour not in gone)
    return Plan(hours, frozenset(asked), left, max(0, len(touched) - at_most), accounted)


def is_touched(cursor: Cursor, hour: Hour, holds: Held) -> bool:
    """Whether there is more of an hour than it was published from, or its layers have not been judged."""
    return holds.rows > accounted_rows(cursor).get(hour, 0) or hour in _pending(cursor)


def accounted_rows(cursor: Cursor) -> Mapping[Hour, int]:
    """Rows that each published hour was built from."""
    cursor.execute(_ACCOUNTED)
    return {Hour.of(hour): records for hour, records in cursor.fetchall()}


def pruned(cursor: Cursor) -> Mapping[Hour, datetime]:
    """Hours whose rows in bronze are gone, or going, with when that was written down."""
    cursor.execute(_PRUNED)
    return {Hour.of(hour): pruned_at for hour, pruned_at in cursor.fetchall()}


def _why(pruned_at: datetime) -> str:
    return f"its rows in bronze were pruned on {pruned_at:%Y-%m-%d}; what was published of it stays"


def _in_range(held: Mapping[Hour, Held], wish: Wish) -> list[Hour]:
    first, last = wish.first, wish.last
    return [] if first is None or last is None else [hour for hour in held if first <= hour <= last]


def _touched(
    cursor: Cursor, held: Mapping[Hour, Held], accounted: Mapping[Hour, int], now: datetime
) -> tuple[list[Hour], Mapping[Hour, str]]:
    """The touched hours that are ready, newest first; and those that wait, with what for."""
    pending = _pending(cursor)
    found = sorted(
        (
            hour
            for hour, holds in held.items()
            if hour.end <= now and (holds.rows > accounted.get(hour, 0) or hour in pending)
        ),
        reverse=True,
    )
    cursor.execute(_WAITING, ([hour.start for hour in found],))
    waiting = {Hour.of(hour): reason for hour, reason in cursor.fetchall() if reason is not None}
    cursor.execute(_BLOCKED)
    blocked = {Hour.parse(subject): rows for subject, rows in cursor.fetchall()}
    waiting |= {hour: KEPT_BACK for hour in found if held[hour].rows == blocked.get(hour)}
    return [hour for hour in found if hour not in waiting], waiting


def _pending(cursor: Cursor) -> set[Hour]:
    cursor.execute(_PENDING)
    return {Hour.of(hour) for (hour,) in cursor.fetchall()}
