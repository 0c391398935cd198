"""Whether the source still had what a new connection asked for.

EventStreams answers a question about a time before its history silently with what it has. A topic's mark is the time of
an event that exists, and the connection asked for a time before it: so the first event must not lie behind the mark.
The surprising thing: without any mark (first start in the past) the first event says nothing, as it may be the rare
canary of the idle data centre; then the earliest of the first hundred counts.
"""

from ingestion.cursor import ResumePoint
from ingestion.watermark import Topic

TOLERANCE_MS = 5_000
"""Order within a topic is kept to tens of milliseconds (since July 2025)."""
FIRST_EVENTS = 100


class GapWatch:
    """Looks at the first events of one connection."""

    def __init__(self, point: ResumePoint | None = None, now_ms: int = 0) -> None:
        self._reached: dict[Topic, int] = {}
        self._since_ms: int | None = None
        self._earliest_ms = now_ms
        self._left = FIRST_EVENTS
        if point is None:
            return
        self._reached = {topic: max(mark, point.topics[topic]) for topic, mark in point.reached.items()}
        is_all_there_is = point.since_ms == 0
        if not self._reached and not is_all_there_is and point.since_ms < now_ms - TOLERANCE_MS:
            self._since_ms = point.since_ms

    @property
    def is_watching(self) -> bool:
        """Whether any question is open."""
        return bool(self._reached) or self._since_ms is not None

    def missing_ms(self, topic: Topic, at_ms: int) -> int:
        """An event of `topic` was at `at_ms`; how many milliseconds are found missing by it (mostly none)."""
        reached = self._reached.pop(topic, None)
        if self._since_ms is not None:
            self._earliest_ms = min(self._earliest_ms, at_ms)
            self._left -= 1
            if self._left > 0:
                return 0
            reached, at_ms, self._since_ms = self._since_ms, self._earliest_ms, None
        if reached is None or at_ms - reached <= TOLERANCE_MS:
            return 0
        return at_ms - reached
