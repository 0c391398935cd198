"""How far each query is: rows of `ops.stream_progress`, `/metrics` and `/healthz`.

Spark commits nothing to Kafka, so lag is the broker's end minus what the ledger or bronze holds. The surprising thing:
"seconds behind" needs no clock inside the records: it is the age of the newest sample of Kafka's end that was reached.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from jobs.lib import offsets
from jobs.lib.offsets import Offsets
from wikiweir.clock import Clock

RATE_SECONDS = 30.0
STALL_SECONDS = 20.0
"""Behind, and nothing committed for so long (above the trigger): unhealthy."""
SAMPLES = 4000


@dataclass(kw_only=True)
class QueryProgress:
    """One query. Written by its own thread, read by the reporter's and the web server's."""

    name: str
    clock: Clock
    trigger_seconds: float
    generation: int | None = None
    state: str = "starting"
    message: str = ""
    checkpoint_id: str | None = None
    batch_id: int | None = None
    end_offsets: Offsets = field(default_factory=dict)
    kafka_end_offsets: Offsets = field(default_factory=dict)
    newest_event_at: datetime | None = None
    records: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    _lock: Lock = field(default_factory=Lock)
    _commits: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _ends: deque[tuple[float, Offsets]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _reached_at: float | None = None
    _since: float | None = None

    def set_state(self, state: str, message: str) -> None:
        """running, waiting, restarting, stopped; with the reason."""
        with self._lock:
            self.state, self.message = state, message
            self.restarts += state == "restarting"

    def stands_at(self, *, checkpoint_id: str, end_offsets: Mapping[int, int], generation: int | None = None) -> None:
        """What was in already before this life, so that a driver with nothing to do is not taken for one behind."""
        with self._lock:
            self.checkpoint_id, self.generation = checkpoint_id, generation
            self.end_offsets = dict(end_offsets)
            self._settle()

    def committed(
        self,
        *,
        checkpoint_id: str,
        batch_id: int,
        end_offsets: Mapping[int, int],
        records: Mapping[str, int],
        newest_event_at: datetime | None = None,
        generation: int | None = None,
    ) -> None:
        """A batch is in; `records` by outcome."""
        with self._lock:
            self.state, self.message = "running", ""
            self.checkpoint_id, self.batch_id, self.generation = checkpoint_id, batch_id, generation
            self.end_offsets = dict(end_offsets)
            if newest_event_at is not None:
                self.newest_event_at = max(newest_event_at, self.newest_event_at or newest_event_at)
            for outcome, count in records.items():
                self.records[outcome] = self.records.get(outcome, 0) + count
            self._commits.append((self.clock.monotonic(), sum(records.values())))
            self._settle()

    def kafka_is_at(self, ends: Mapping[int, int]) -> None:
        """A sample of the topic's end."""
        with self._lock:
            now = self.clock.monotonic()
            self.kafka_end_offsets = dict(ends)
            self._since = self._since or now
            self._ends.append((now, dict(ends)))
            self._settle()

    def _settle(self) -> None:
        while self._ends and offsets.covers(self.end_offsets, self._ends[0][1]):
            self._reached_at, _ = self._ends.popleft()

    @property
    def lag(self) -> int:
        """Records in Kafka that are not in yet."""
        return offsets.behind(self.end_offsets, self.kafka_end_offsets)

    @property
    def seconds_behind(self) -> float | None:
        """Age of the newest state of Kafka that is wholly in; 0 when nothing is missing, none before the first look."""
        if not self.kafka_end_offsets:
            return None
        if self.lag == 0:
            return 0.0
        since = self._reached_at if self._reached_at is not None else self._since
        return None if since is None else self.clock.monotonic() - since

    @property
    def rows_per_second(self) -> float:
        """Records committed a second, over the last half minute."""
        with self._lock:
            now = self.clock.monotonic()
            return sum(count for at, count in self._commits if now - at <= RATE_SECONDS) / RATE_SECONDS

    def complaint(self) -> str | None:
        """What is wrong; none if it runs, and commits while there is something to commit."""
        if self.state != "running":
            return f"{self.name} is {self.state}: {self.message}"
        behind = self.seconds_behind
        if behind is not None and behind > self.trigger_seconds + STALL_SECONDS:
            last = self._commits[-1][0] if self._commits else None
            if last is None or self.clock.monotonic() - last > self.trigger_seconds + STALL_SECONDS:
                return f"{self.name} has committed nothing for a while and is {self.lag} records behind"
        return None

    def row(self) -> dict[str, Any]:
        """Columns of `ops.stream_progress`."""
        return {
            "query": self.name,
            "generation": self.generation,
            "state": self.state,
            "checkpoint_id": self.checkpoint_id,
            "batch_id": self.batch_id,
            "end_offsets": offsets.to_json(self.end_offsets),
            "kafka_end_offsets": offsets.to_json(self.kafka_end_offsets),
            "lag": self.lag,
            "rows_per_second": round(self.rows_per_second, 3),
            "newest_event_at": self.newest_event_at,
            "seconds_behind": self.seconds_behind,
            "message": self.message or self.complaint(),
        }
