"""When to connect again: a pure decision from why the last connection ended.

The surprising thing: being cut is normal (the source ends every connection after 15 minutes), so the end of a
connection that was healthy is answered at once; only what follows without a healthy period in between waits.
"""

import random
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
RATE_LIMITED_SECONDS = 60.0
"""Bound of the first wait after a 429 that names no time; doubles up to ten times this."""
LONGEST_RETRY_AFTER_SECONDS = 3600.0
HEALTHY_SECONDS = 10.0
"""A connection that brought events for this long was a good one."""


class Cause(StrEnum):
    """Why a connection ended, or never began."""

    PLANNED_CUT = "planned_cut"
    """The body ended after a healthy period."""
    EOF = "eof"
    RESET = "reset"
    READ_TIMEOUT = "read_timeout"
    CONNECT = "connect"
    """Refused, unreachable, no such host, or no answer in time."""
    ERROR_FRAME = "error_frame"
    NOT_A_STREAM = "not_a_stream"
    """200 with another content type than an event stream's."""
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    HTTP_4XX = "http_4xx"
    """A request that is wrong and stays wrong: the process stops."""


class Backoff:
    """Exponential back-off with full jitter, 1 to 60 s; the server's own wishes are honoured."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failures = 0
        self.server_retry_seconds = 0.0
        """The last SSE `retry:`; a lower bound of every wait."""

    def delay(self, cause: Cause, *, healthy: bool, retry_after: float | None = None) -> float:
        """Seconds to wait before the next connection. `healthy`: the one that ended had been."""
        if healthy:
            self._failures = 0
        if cause is Cause.PLANNED_CUT:
            return self.server_retry_seconds
        step = 2 ** min(self._failures, 10)
        self._failures += 1
        if cause is Cause.HTTP_429 and retry_after is None:
            ceiling = min(10 * RATE_LIMITED_SECONDS, RATE_LIMITED_SECONDS * step)
            wait = self._chance.uniform(ceiling / 2, ceiling)
        else:
            wait = self._chance.uniform(0, min(LONGEST_SECONDS, FIRST_SECONDS * step))
        if retry_after is not None:  # not before it, and not all clients at once after it
            wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER_SECONDS) + self._chance.uniform(0, FIRST_SECONDS))
        return max(wait, self.server_retry_seconds)


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header (seconds or an HTTP date) asks for; none when it says nothing usable."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
        return max(0.0, (moment - now).total_seconds())
    except (TypeError, ValueError):
        return None
