"""One run at a time for the hours of a day, and for the day: PostgreSQL's advisory lock of this connection's session.

A run that is killed lets go with its connection, so no claim ever expires and none is left behind. The surprising
thing: a day is the smallest thing that is claimed, because an hour writes to its day's part of the lake.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from wikiweir.clock import Clock
from wikiweir.hours import Day

log = logging.getLogger(__name__)

SPACE = 794_534
"""First half of our lock numbers (any number nobody else takes)."""

SECONDS_BETWEEN_LOOKS = 1.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def claim(connection: Connection, day: Day, clock: Clock) -> Iterator[None]:
    """Hold the claim to a day; waits while another run has it. The connection is in autocommit mode."""
    key = (SPACE, (day.start - _EPOCH).days)
    with connection.cursor() as cursor:
        # asked again and again, because a statement that waits is ended by the connection's time-outs
        is_told = False
        while not _is_taken(cursor, key):
            if not is_told:
                log.info("another run is building hours of %s; waiting for it", day)
                is_told = True
            clock.sleep(SECONDS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        if not connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _is_taken(cursor: Cursor, key: tuple[int, int]) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
    return cursor.fetchone() == (True,)


def confirm(connection: Connection) -> None:
    """Raise where the connection, and so every claim of it, is lost. Asked before the lake is written to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
