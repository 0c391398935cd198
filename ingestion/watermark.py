"""Per source topic: the time below which everything is acknowledged by Kafka.

Why not simply the last or the greatest acknowledged timestamp: topic timestamps are not monotone in offset order (steps
back of up to 15 s measured), and single events lie years off: a file import dated 2016, a clock that is ahead. So a
topic's mark is the running maximum of the *minimum over its last 16 acknowledged events*. An event dated in the past
lowers that minimum, but not its running maximum; up to 15 events in a row dated in the future do not raise the minimum.
What is out of order by more than 16 events lies within the overlap of a resume.

Only the prefix of what was submitted may be fed in (`Relay` sees to that), so a mark never runs ahead of data that is
not acknowledged.
"""

from collections import deque
from collections.abc import Mapping

WINDOW = 16

Topic = tuple[str, int]
"""A source topic and its partition."""


class Watermarks:
    """Low watermarks in the source's Kafka milliseconds; they never go back."""

    def __init__(self, marks: Mapping[Topic, int] | None = None) -> None:
        self._windows: dict[Topic, deque[int]] = {}
        self._marks: dict[Topic, int] = dict(marks or {})

    @property
    def marks(self) -> dict[Topic, int]:
        """A copy: topics with a mark of their own."""
        return self._marks.copy()

    def advance(self, topic: Topic, timestamp_ms: int) -> None:
        """The next event of the acknowledged prefix was at `timestamp_ms` of `topic`."""
        window = self._windows.get(topic)
        if window is None:
            window = self._windows[topic] = deque(maxlen=WINDOW)
        window.append(timestamp_ms)
        if len(window) == WINDOW:
            low = min(window)
            if low > self._marks.get(topic, -1):
                self._marks[topic] = low
