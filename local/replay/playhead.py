"""The log's idea of now: the time of day, or faster, or slower.

The surprising thing: with a history behind it, a faster clock begins at the oldest record and never passes the
time of day; without one it runs ahead of it.
"""

from wikiweir.clock import Clock


class Playhead:
    """Maps the time of day to the log's time."""

    def __init__(self, clock: Clock, *, speed: float = 1.0, begin_ms: int | None = None) -> None:
        """`begin_ms`: log time at the first start when `speed` is not 1; none: the time of day."""
        self._clock = clock
        self._speed = speed
        self._begin_ms = begin_ms
        self._started_ms: int | None = None

    def start(self) -> None:
        """The first client is there: a clock that does not run at the true rate begins to move."""
        if self._started_ms is None:
            self._started_ms = self._clock.now_ms()

    def now_ms(self) -> int:
        """Log time, epoch ms."""
        now = self._clock.now_ms()
        if self._speed == 1.0:
            return now
        if self._started_ms is None:
            return now if self._begin_ms is None else self._begin_ms
        elapsed = int((now - self._started_ms) * self._speed)
        if self._begin_ms is None:
            return self._started_ms + elapsed
        return min(self._begin_ms + elapsed, now)
