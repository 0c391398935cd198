"""A reader of its own process: which event was first visible when, to the role that dashboards use.

It asks the ledger every 20 ms whether a batch has been committed; if so it reads that batch's rows of
`serving.recent_changes` and notes the time at which it holds them. The surprising thing: so the figure includes the
reader's own query, and polling costs the database less than looking at the rows themselves each time.
"""

import argparse
import signal
import threading
from collections import deque
from pathlib import Path
from typing import Any

import psycopg2

from wikiweir.clock import SystemClock
from wikiweir.settings import load

POLL_SECONDS = 0.02
REMEMBERED_READS = 16
"""Neighbouring batches share a millisecond; ids of so many reads are remembered to count each once."""

NEWS = """
SELECT max(sequence), min(oldest_kafka_time), max(newest_kafka_time)
FROM ops.stream_batches
WHERE generation = %(generation)s AND sequence > %(sequence)s
"""
ROWS = "SELECT event_id::text FROM serving.recent_changes WHERE received_at BETWEEN %s AND %s"


def watch(dsn: str, out: Path, stop: threading.Event) -> None:
    """Write `id milliseconds` a line until told to stop."""
    clock = SystemClock()
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    recent: deque[frozenset[str]] = deque(maxlen=REMEMBERED_READS)
    with connection.cursor() as cursor, out.open("w", encoding="ascii") as file:
        cursor.execute("SELECT generation FROM ops.generations WHERE state = 'live'")
        (generation,) = cursor.fetchone() or (1,)
        cursor.execute("SELECT coalesce(max(sequence), 0) FROM ops.stream_batches WHERE generation = %s", (generation,))
        (sequence,) = cursor.fetchone() or (0,)
        while not stop.is_set():
            cursor.execute(NEWS, {"generation": generation, "sequence": sequence})
            newest, oldest_at, newest_at = cursor.fetchone() or (None, None, None)
            if newest is None:
                clock.sleep(POLL_SECONDS)
                continue
            sequence = newest
            if oldest_at is not None:
                _note(cursor, (oldest_at, newest_at), recent, file, clock)
    connection.close()


def _note(cursor: Any, span: tuple[Any, Any], recent: deque[frozenset[str]], file: Any, clock: SystemClock) -> None:
    cursor.execute(ROWS, span)
    ids = frozenset(row[0] for row in cursor.fetchall())
    visible_ms = clock.now_ms()
    new = ids.difference(*recent)
    recent.append(ids)
    file.writelines(f"{event_id} {visible_ms}\n" for event_id in new)


def main() -> None:
    """Watch the instance that WIKIWEIR_HOME names until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    watch(load().postgres_dsn("reader"), args.out, stop)


if __name__ == "__main__":
    main()
