"""How long rows live in PostgreSQL: which lifetime goes for which table, and the calls that drop what has lived.

Whole leaves are dropped, by functions of the owner's that wait a tenth of a second for readers and no longer. The
surprising thing: a table of `batch` that stands in neither list fails a test, so that a new one is decided upon.
"""

import logging
from functools import partial
from typing import Any

from psycopg2.extensions import cursor as Cursor

from wikiweir.clock import Clock
from wikiweir.settings import Lifetimes

log = logging.getLogger(__name__)

KEPT = {
    "activity": "batch_minutes",
    "minute_totals": "batch_minutes",
    "edit_sizes": "batch_minutes",
    "user_activity": "batch_key_minutes",
    "page_activity": "batch_key_minutes",
    "activity_hourly": "batch_hours",
    "edit_sizes_hourly": "batch_hours",
    "user_activity_hourly": "batch_key_hours",
    "page_activity_hourly": "batch_key_hours",
}
"""Table of `batch` -> field of `Lifetimes`."""
FOR_EVER = {
    "activity_daily",
    "edit_sizes_daily",
    "user_activity_daily",
    "page_activity_daily",
    "top_pages",
    "top_editors",
    "editor_counts",
    "hour_totals",
}
"""Tables of `batch` that nothing is taken from."""

ATTEMPTS = 5
PAUSE_SECONDS = 3.0
"""Between two attempts at what was in use."""


def expire(cursor: Cursor, keep: Lifetimes, clock: Clock, *, is_dry: bool = False) -> None:
    """Drop what has lived long enough; what is in use at every attempt goes the next time.

    A dry run does each and takes it back at once: a dropped leaf stays locked, and its parent, until then.
    """
    run = partial(_taken_back, cursor) if is_dry else partial(_repeat, cursor, clock=clock)
    days, found = run("SELECT * FROM speed.expire_minutes(%s)", (keep.speed_minutes,))
    log.info("speed: %s days of minutes dropped, settled more than %s ago", days, keep.speed_minutes)
    for hour in found[2]:
        log.warning("speed: hour %s holds its day back: it is not published, or the layers do not agree", hour)
    for table, lifetime in KEPT.items():
        values = (table, getattr(keep, lifetime))
        leaves, _ = run("SELECT * FROM batch.expire_partitions(%s, %s)", values)
        log.info("batch.%s: %s leaves older than %s dropped", table, leaves, values[1])
    findings, _ = run("SELECT ops.expire_findings(%s), 0", (keep.findings,))
    log.info("ops: %s findings older than %s deleted", findings, keep.findings)
    if is_dry:
        log.info("nothing of this was done")


def _taken_back(cursor: Cursor, statement: str, values: tuple[object, ...]) -> tuple[int, tuple[Any, ...]]:
    """Call, and undo it: how much would have been dropped, and the answer."""
    cursor.execute("BEGIN")
    try:
        cursor.execute(statement, values)
        [answer] = cursor.fetchall()
    finally:
        cursor.execute("ROLLBACK")
    return answer[0], answer


def _repeat(cursor: Cursor, statement: str, values: tuple[object, ...], clock: Clock) -> tuple[int, tuple[Any, ...]]:
    """Call until nothing was in use: how much was dropped in all, and the last answer (dropped, in use, …)."""
    dropped = 0
    answer: tuple[Any, ...] = ()
    for attempt in range(ATTEMPTS):
        if attempt:
            clock.sleep(PAUSE_SECONDS)
        cursor.execute(statement, values)
        [answer] = cursor.fetchall()
        dropped += answer[0]
        if not answer[1]:
            break
    else:
        log.info("%s of %s are in use, and left to the next run", answer[1], values[0])
    return dropped, answer
