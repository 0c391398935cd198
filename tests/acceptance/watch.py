"""A reader that looks at published hours all the while, as the reader role, and notes whatever must never be seen.

Each look is one snapshot. What it holds to: an hour that was there stays there; its minutes come to its hour; no key is
in two rows; publishing moves an hour's count by no more than late events can. The surprising thing: it also keeps what
Kafka held when an hour's first version was built, which is how a test knows that the hour had been ready.
"""

import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg2

from wikiweir.hours import Hour

LATE_SHARE = 0.01
"""How much of an hour may be late: far more than the source sends, far less than half an hour or a doubled one."""
FEW = 5
LOOK_SECONDS = 3.0
SHARE = 0.2
"""Of its time that it looks, at most: what it asks for takes a second and more while hours are still counted live."""

_PUBLISHED = "SELECT hour, version, end_offsets FROM ops.published_hours"
_HOURS = "SELECT window_start, sum(events)::bigint FROM serving.activity_hourly GROUP BY window_start"
_MINUTES = """\
SELECT sum(events)::bigint, count(*), count(DISTINCT (window_start, wiki, type, namespace, user_class))
FROM serving.activity WHERE window_start >= %s AND window_start < %s"""


@dataclass(slots=True)
class Seen:
    """What the looks came to."""

    looks: int = 0
    versions: int = 0
    """Changes of an hour's version that fell between two looks."""
    first_built_from: dict[Hour, dict[str, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


class Watch:
    """A context manager; `seen` may be read at any time."""

    def __init__(self, dsn: str) -> None:
        self.seen = Seen()
        self._dsn = dsn
        self._before: dict[datetime, int] = {}
        self._versions: dict[Hour, int] = {}
        self._turn = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(120)

    @property
    def is_watching(self) -> bool:
        """Whether it still looks: a reader that failed has seen nothing since."""
        return self._thread.is_alive()

    def _run(self) -> None:
        with closing(psycopg2.connect(self._dsn)) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            took = 0.0
            while not self._over.wait(max(LOOK_SECONDS, took / SHARE - took)):
                began = time.monotonic()
                with connection.cursor() as cursor:
                    self._look(cursor)
                connection.rollback()
                took = time.monotonic() - began

    def _look(self, cursor: Any) -> None:
        cursor.execute(_PUBLISHED)
        found = {Hour.of(hour): (version, ends) for hour, version, ends in cursor.fetchall()}
        cursor.execute(_HOURS)
        hours = dict(cursor.fetchall())
        for hour, (version, ends) in found.items():
            self.seen.first_built_from.setdefault(hour, ends)
            if version != self._versions.get(hour, 0):
                self.seen.versions += 1
                self._versions[hour] = version
        for start, events in self._before.items():
            now, spare = hours.get(start, 0), max(FEW, events * LATE_SHARE)
            if now < events - spare or (Hour.of(start) in found and now > events + spare):
                self.seen.violations.append(f"{start} had {events} events, then {hours.get(start)}")
        self._before = hours
        if hours:
            self._turn += 1
            start = sorted(hours)[self._turn % len(hours)]
            cursor.execute(_MINUTES, (start, start + timedelta(hours=1)))
            events, rows, keys = cursor.fetchone()
            if (events, rows) != (hours[start], keys):
                self.seen.violations.append(
                    f"{start}: its minutes have {events} events in {rows} rows of {keys} keys, its hour {hours[start]}"
                )
        self.seen.looks += 1
