"""What the driver does every minute for its generation: partitions ahead of time, retention by arrival.

The functions it calls take the owner's lock themselves where a batch could be in the way, and give up where it is. The
surprising thing: they are right whoever calls them, so this thread is not fenced; a former owner can do no harm here.
"""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

import psycopg2
from psycopg2.extensions import cursor as Cursor

from jobs.lib.postgres import connect
from wikiweir.clock import Clock
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
RETIRED_KEPT = timedelta(hours=24)
"""How long a generation that was swapped out can still be looked at."""


def ledger_kept(settings: Settings) -> timedelta:
    """Ledger rows outlive what Kafka can still hold: by them a rebuild sees where the generation began."""
    return max(timedelta(days=14), 2 * settings.keep.kafka)


def make_ahead(cursor: Cursor, generation: int, clock: Clock) -> None:
    """Leaves of the hour and the day to come, so that no batch waits for DDL at the full hour."""
    soon = [clock.now() + timedelta(minutes=minutes) for minutes in (0, 70)]
    cursor.execute(
        "SELECT speed.ensure_partitions(%s, %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])",
        (generation, soon, soon, soon),
    )


def expire(cursor: Cursor, generation: int, settings: Settings) -> None:
    """Drop what has lived long enough; what is in use now goes the next time."""
    cursor.execute("SELECT speed.expire_recent_changes(%s, %s)", (generation, settings.keep.recent_changes))
    cursor.execute("SELECT speed.expire_seen(%s, %s)", (generation, settings.keep.seen))
    cursor.execute("SELECT speed.expire_ledger(%s, %s)", (generation, ledger_kept(settings)))
    cursor.execute(
        "SELECT generation FROM ops.generations AS g WHERE state = 'retired' AND retired_at < now() - %s"
        " AND to_regclass('speed.seen_g' || g.generation) IS NOT NULL",
        (RETIRED_KEPT,),
    )
    for (retired,) in cursor.fetchall():
        log.info("dropping generation %s, retired more than %s ago", retired, RETIRED_KEPT)
        cursor.execute("SELECT speed.drop_generation(%s)", (retired,))


def run(settings: Settings, clock: Clock, stop: threading.Event, generation: Callable[[], int | None]) -> None:
    """Until `stop`; a round that fails is said and left to the next."""
    while not stop.is_set():
        current = generation()
        if current is not None:
            try:
                connection = connect(settings.postgres_dsn("stream"), "wikiweir-stream-maintenance")
                try:
                    with connection.cursor() as cursor:
                        make_ahead(cursor, current, clock)
                        expire(cursor, current, settings)
                finally:
                    connection.close()
            except psycopg2.Error as failure:
                log.warning("maintenance is left to the next round: %s", str(failure).strip())
        stop.wait(EVERY_SECONDS if current is not None else 1.0)
