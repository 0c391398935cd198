"""The source: complete frames from EventStreams, over as many connections as it takes.

`poll` is one step of a state machine that never blocks longer than it is told: waiting, connecting, open. The
surprising thing: nothing here knows how far the stream is; each connection asks `position` where to begin, and the
unfinished frame at a connection's end is thrown away because that position lies before it.
"""

import logging
import random
import tomllib
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import requests

from ingestion.backoff import HEALTHY_SECONDS, LONGEST_SECONDS, Backoff, Cause
from ingestion.connection import Connection, Ended, Opened
from ingestion.cursor import ResumePoint
from ingestion.framing import Framer, OversizeFrame
from ingestion.metrics import Tally
from wikiweir.clock import Clock
from wikiweir.settings import PROJECT, Settings
from wikiweir.topics import HEADROOM_BYTES

log = logging.getLogger(__name__)

LIVE_DOMAIN = "wikimedia.org"


class ConfigurationError(Exception):
    """What the operator set cannot work; starting again does not help."""


def user_agent(settings: Settings) -> str:
    """`client/version (contact) library/version`, as Wikimedia's policy wants it."""
    host = urlsplit(settings.source_url).hostname or ""
    is_live = host == LIVE_DOMAIN or host.endswith("." + LIVE_DOMAIN)
    if is_live and not settings.contact:
        raise ConfigurationError(
            f"expected WIKIWEIR_CONTACT for {host}, found none; Wikimedia's User-Agent policy wants a URL or an e-mail "
            "address of the operator: WIKIWEIR_CONTACT=https://example.org/my-wikiweir"
        )
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    contact = settings.contact or "not live"
    return f"wikiweir/{project['version']} ({contact}) python-requests/{requests.__version__}"


class Source:
    """Connects, reads, frames, reconnects."""

    def __init__(
        self,
        settings: Settings,
        position: Callable[[], ResumePoint],
        *,
        clock: Clock,
        chance: random.Random,
        tally: Tally,
        healthy_seconds: float = HEALTHY_SECONDS,
    ) -> None:
        self._url = f"{settings.source_url.rstrip('/')}/v2/stream/{quote(settings.streams, safe=',')}"
        self._user_agent = user_agent(settings)
        self._read_seconds = settings.read_timeout_seconds
        self._max_frame_bytes = settings.max_event_bytes + 2 * HEADROOM_BYTES
        self._position = position
        self._clock = clock
        self._tally = tally
        self._healthy_seconds = healthy_seconds
        self._backoff = Backoff(chance)
        self._retry_at = clock.monotonic()
        self._connection: Connection | None = None
        self._framer = Framer(self._max_frame_bytes)
        self._first_frame_at: float | None = None

    def poll(self, seconds: float) -> list[bytes | OversizeFrame]:
        """Runs of complete frames, as far as there are any within `seconds`. `ConfigurationError`: give up."""
        if self._connection is None:
            wait = self._retry_at - self._clock.monotonic()
            if wait > 0:
                self._clock.sleep(min(wait, seconds))
                return []
            self._connection = self._connect()
        item = self._connection.take(seconds)
        if isinstance(item, bytes):
            self._tally.received_bytes += len(item)
            runs = self._framer.feed(item)
            if runs and self._first_frame_at is None:
                self._first_frame_at = self._clock.monotonic()
            return runs
        if isinstance(item, Opened):
            self._tally.is_connected = True
            self._tally.connections += 1
            self._tally.source_state = "connected"
        elif isinstance(item, Ended):
            if item.refusal:
                raise ConfigurationError(item.refusal)
            self._end(item)
        return []

    def fail(self, cause: Cause, detail: str) -> None:
        """Drop the open connection: its content says that it is over."""
        if self._connection is not None:
            self._connection.stop()
            self._end(Ended(cause, detail))

    def set_retry(self, milliseconds: int | None) -> None:
        """What the server asks for in a `retry:` field, if it did."""
        if milliseconds is not None:
            self._backoff.server_retry_seconds = min(milliseconds / 1000, LONGEST_SECONDS)

    def close(self) -> None:
        """Stop reading."""
        if self._connection is not None:
            self._connection.stop()
            self._connection = None
        self._tally.is_connected = False
        self._tally.source_state = "closed"

    def _connect(self) -> Connection:
        point = self._position()
        headers = {
            "User-Agent": self._user_agent,
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-cache",
        }
        url = self._url
        if point.last_event_id is None:
            url += f"?since={point.since_ms}"
        else:
            headers["Last-Event-ID"] = point.last_event_id
        log.info("connecting to %s, resuming at %s", url, point.last_event_id or "since")
        self._tally.source_state = "connecting"
        self._framer = Framer(self._max_frame_bytes)
        self._first_frame_at = None
        return Connection(url, headers, read_seconds=self._read_seconds, clock=self._clock)

    def _end(self, ended: Ended) -> None:
        now = self._clock.monotonic()
        is_healthy = self._first_frame_at is not None and now - self._first_frame_at >= self._healthy_seconds
        cause = Cause.PLANNED_CUT if ended.cause is Cause.EOF and is_healthy else ended.cause
        delay = self._backoff.delay(cause, healthy=is_healthy, retry_after=ended.retry_after)
        self._retry_at = now + delay
        self._connection = None
        self._tally.is_connected = False
        self._tally.reconnects[cause] = self._tally.reconnects.get(cause, 0) + 1
        self._tally.source_state = f"waiting {delay:.1f} s after {cause}"
        log.log(
            logging.INFO if cause is Cause.PLANNED_CUT else logging.WARNING,
            "connection ended: %s (%s); next in %.1f s",
            cause,
            ended.detail,
            delay,
        )
