"""A reader that polls `serving` all the while, as the reader role, and notes whatever must never be seen.

Each poll is one snapshot. What it holds to: no hour's count of any sum ever goes down or away; the rollups agree with
one another and with the ledger to the event (half a batch would break this); `recent_changes` holds every fact of the
minutes it covers. The surprising thing: it is a thread of the test, so a stopped PostgreSQL is a pause, no violation.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import psycopg2

SUMS = {  # rollup: what is added up of it, hour by hour
    "activity": ("events", "edits", "new_pages", "minor_edits", "bytes_added", "bytes_removed", "reverts"),
    "user_activity": ("edits", "new_pages", "bytes_added", "bytes_removed", "reverts"),
    "page_activity": ("edits", "bytes_added", "bytes_removed", "reverts"),
    "edit_sizes": ("edits",),
}
MUST_AGREE = {
    "edits": ("activity", "user_activity", "page_activity", "edit_sizes"),
    "bytes_added": ("activity", "user_activity", "page_activity"),
    "bytes_removed": ("activity", "user_activity", "page_activity"),
    "reverts": ("activity", "user_activity", "page_activity"),
    "new_pages": ("activity", "user_activity"),
}
RECENT_MINUTES = """
SELECT a.minute, a.events, coalesce(r.events, 0)
  FROM (SELECT window_start AS minute, sum(events) AS events
          FROM serving.activity
         WHERE window_start >= date_trunc('minute', now() - INTERVAL '150 minutes')
         GROUP BY 1) AS a
  LEFT JOIN (SELECT date_trunc('minute', event_time) AS minute, count(*) AS events
               FROM serving.recent_changes
              GROUP BY 1) AS r USING (minute)
 WHERE a.events <> coalesce(r.events, 0)
"""
Cell = tuple[str, Any, str]


@dataclass(slots=True)
class Seen:
    """What the polls came to. `states` counts the different totals seen: a reader that saw one proves nothing."""

    polls: int = 0
    pauses: int = 0
    totals: set[int] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)

    @property
    def states(self) -> int:
        return len(self.totals)


class Reader:
    """A context manager; `seen` may be read at any time, and is final after leaving."""

    def __init__(self, dsn: str, poll_seconds: float = 0.25) -> None:
        self.seen = Seen()
        self._dsn = dsn
        self._poll_seconds = poll_seconds
        self._last: dict[Cell, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise TimeoutError("the reader is still inside a query after 60 s: something in PostgreSQL blocks readers")

    def _run(self) -> None:
        connection: Any = None
        while not self._over.wait(self._poll_seconds):
            try:
                if connection is None:
                    connection = psycopg2.connect(self._dsn, connect_timeout=2)
                    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
                self._poll(connection)
                connection.rollback()
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if "statement timeout" in str(error):
                    self.seen.violations.append(f"a poll ran into the reader's statement time-out: {error}")
                self.seen.pauses += 1
                connection = None
        if connection is not None:
            connection.close()

    def _poll(self, connection: Any) -> None:
        now: dict[Cell, int] = {}
        totals: dict[tuple[str, str], int] = {}
        with connection.cursor() as cursor:
            for rollup, names in SUMS.items():
                sums = ", ".join(f"sum({name})" for name in names)
                cursor.execute(f"SELECT date_trunc('hour', window_start), {sums} FROM serving.{rollup} GROUP BY 1")
                for hour, *values in cursor:
                    for name, value in zip(names, values, strict=True):
                        now[rollup, hour, name] = int(value)
                        totals[rollup, name] = totals.get((rollup, name), 0) + int(value)
            cursor.execute(
                "SELECT coalesce(sum(facts), 0) FROM ops.stream_batches"
                " WHERE generation = (SELECT generation FROM ops.generations WHERE state = 'live')"
            )
            [(facts,)] = cursor.fetchall()
            cursor.execute(RECENT_MINUTES)
            disagreeing = cursor.fetchall()
        self.seen.polls += 1
        self.seen.totals.add(totals.get(("activity", "events"), 0))
        self._judge(now, totals, int(facts))
        for minute, events, recent in disagreeing[:3]:
            self.seen.violations.append(f"{minute}: {events} events in activity, {recent} in recent_changes")

    def _judge(self, now: dict[Cell, int], totals: dict[tuple[str, str], int], facts: int) -> None:
        for cell, before in self._last.items():
            if now.get(cell, 0) < before:
                rollup, hour, name = cell
                self.seen.violations.append(f"{rollup}.{name} of {hour} went down from {before} to {now.get(cell, 0)}")
        self._last = now
        for name, rollups in MUST_AGREE.items():
            found = {rollup: totals.get((rollup, name), 0) for rollup in rollups}
            if len(set(found.values())) != 1:
                self.seen.violations.append(f"{name} differ within one snapshot: {found}")
        events = totals.get(("activity", "events"), 0)
        if events != facts:
            self.seen.violations.append(f"{facts} facts in the ledger, {events} events in activity, in one snapshot")
