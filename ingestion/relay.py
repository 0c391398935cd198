"""Events to records, acknowledgements to watermarks, watermarks to the cursor.

The surprising thing: acknowledgements need no callback. Deliveries wait in one queue in the order of their sequence;
while its head is done it is taken off, and what has been taken off *is* the acknowledged prefix.
"""

import hashlib
import logging
import zlib
from collections import deque

from ingestion.cursor import ResumePoint, make_cursor, own_marks, resume_point
from ingestion.envelope import Place, Reason, UnroutableError, decode, moved, places
from ingestion.framing import PREFIX_BYTES, Event, OversizeFrame
from ingestion.gaps import GapWatch
from ingestion.metrics import Tally
from ingestion.sink import Delivery, Sink
from ingestion.watermark import Topic, Watermarks
from wikiweir.clock import Clock
from wikiweir.records import (
    CANARY_DOMAIN,
    REASON_HEADER,
    RELAY_HEADER,
    SOURCE_HEADER,
    Cursor,
    RelayStamp,
    SourcePosition,
)
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

MAX_IN_FLIGHT_BYTES = 64 * 1024**2
CURSOR_SECONDS = 1.0
NOWHERE: Topic = ("", -1)


class DeliveryError(Exception):
    """Kafka refused a record or did not acknowledge it in time; the process must stop, not skip it."""


class Relay:
    """Takes events, never blocks in doing so, and knows what is safe in Kafka.

    `submit` returns at once: False means that too much is in flight and nothing was taken (stop reading the source).
    `poll` returns at once; it follows the acknowledgements and writes the cursor when a second has passed. `wait`
    blocks at most as long as it is told, until there is something to poll. `flush` blocks at most as long as it is
    told, until all is acknowledged and the cursor says so. `poll` and `flush` raise `DeliveryError`.
    """

    def __init__(
        self,
        sink: Sink,
        settings: Settings,
        cursor: Cursor,
        *,
        run: str,
        clock: Clock,
        tally: Tally,
        is_progress_acknowledged: bool = True,
    ) -> None:
        self._sink = sink
        self._events_topic = settings.events_topic
        self._partitions = settings.kafka_partitions
        self._dead_letters_topic = settings.dead_letters_topic
        self._cursors_topic = settings.cursors_topic
        self._key = settings.streams.encode()
        self._max_event_bytes = settings.max_event_bytes
        self._max_in_flight = settings.max_in_flight
        self._run = run
        self._clock = clock
        self._tally = tally
        self._is_progress_acknowledged = is_progress_acknowledged
        self._base_ms = cursor.base_ms
        self._known: set[Topic] = set(cursor.watermarks)
        self._watermarks = Watermarks(own_marks(cursor))
        self._pending: deque[tuple[Delivery, Topic, int, int]] = deque()
        self._pending_bytes = 0
        self._sequence = 0
        self._last_id: str | None = None
        self._gaps = GapWatch()
        self._written: Cursor | None = None
        self._writing: Delivery | None = None
        self._written_at = float("-inf")

    @property
    def taken(self) -> int:
        """Events and dead letters of this run so far: the next one's sequence."""
        return self._sequence

    @property
    def cursor(self) -> Cursor:
        """What is safe now."""
        return make_cursor(self._base_ms, self._known, self._watermarks.marks)

    def begin_connection(self, overlap_ms: int) -> ResumePoint:
        """Where a new connection starts; what it brings first is checked against it."""
        point = resume_point(self.cursor, overlap_ms)
        self._last_id = None
        self._gaps = GapWatch(point, self._clock.now_ms())
        return point

    def submit(self, event: Event, received_ms: int) -> bool:
        """Send one event on; False: not taken, too much is in flight."""
        if len(self._pending) >= self._max_in_flight or self._pending_bytes >= MAX_IN_FLIGHT_BYTES:
            return False
        data = event.data.encode("latin-1")
        event_id, before = event.id, self._last_id
        self._last_id = event_id
        entries = places(event_id)
        try:
            if len(data) > self._max_event_bytes:
                raise UnroutableError(Reason.TOO_LARGE)
            envelope = decode(data)
        except UnroutableError as unroutable:
            self._learn(entries)
            self._bury(
                unroutable.reason,
                data[:PREFIX_BYTES],
                len(data),
                hashlib.sha256(data).hexdigest(),
                moved(before, event_id),
                received_ms,
            )
            return True
        meta = envelope.meta
        topic = (meta.topic or "", meta.partition)
        timestamp = -1
        for entry in entries:
            place = (entry.topic, entry.partition)
            if place == topic:
                timestamp = entry.timestamp
            if place not in self._known:
                self._known.add(place)
        if timestamp < 0 and (entry_moved := moved(before, event_id)):
            topic, timestamp = (entry_moved.topic, entry_moved.partition), entry_moved.timestamp
        if timestamp >= 0 and self._gaps.is_watching:
            self._check_gap(topic, timestamp)
        key = meta.id.encode()
        headers = [
            (SOURCE_HEADER, SourcePosition(topic[0], topic[1], meta.offset, timestamp).encode()),
            (RELAY_HEADER, RelayStamp(self._run, self._sequence, received_ms).encode()),
        ]
        partition = zlib.crc32(key.lower()) % self._partitions
        self._enlist(
            self._sink.send(self._events_topic, partition, key, data, headers, received_ms),
            topic,
            timestamp,
            len(data),
        )
        tally = self._tally
        tally.count_event(topic[0], envelope.type)
        tally.last_dt = meta.dt
        tally.last_received_ms = received_ms
        if meta.domain == CANARY_DOMAIN:
            tally.canaries += 1
            tally.last_canary_at = self._clock.monotonic()
        return True

    def submit_oversize(self, frame: OversizeFrame, received_ms: int) -> bool:
        """Send on what is left of a frame that was too large to be buffered; False: not taken."""
        if len(self._pending) >= self._max_in_flight:
            return False
        self._bury(Reason.TOO_LARGE, frame.prefix, frame.length, frame.sha256, None, received_ms)
        return True

    def _bury(
        self, reason: Reason, prefix: bytes, length: int, sha256: str, place: Place | None, received_ms: int
    ) -> None:
        topic = (place.topic, place.partition) if place else NOWHERE
        timestamp = place.timestamp if place else -1
        log.warning("dead letter: %s, %d bytes, sha256 %s, source %s", reason, length, sha256, topic)
        headers = [
            (SOURCE_HEADER, SourcePosition(topic[0], topic[1], -1, timestamp).encode()),
            (RELAY_HEADER, RelayStamp(self._run, self._sequence, received_ms).encode()),
            (REASON_HEADER, reason.value.encode()),
            ("sha256", sha256.encode()),
            ("bytes", str(length).encode()),
        ]
        delivery = self._sink.send(self._dead_letters_topic, 0, None, prefix, headers, received_ms)
        self._enlist(delivery, topic, timestamp, len(prefix))
        self._tally.dead_letters[reason] = self._tally.dead_letters.get(reason, 0) + 1

    def _enlist(self, delivery: Delivery, topic: Topic, timestamp: int, size: int) -> None:
        self._sequence += 1
        self._pending.append((delivery, topic, timestamp, size))
        self._pending_bytes += size
        if not self._is_progress_acknowledged and timestamp >= 0:
            self._watermarks.advance(topic, timestamp - 1)

    def _learn(self, entries: list[Place]) -> None:
        self._known.update((entry.topic, entry.partition) for entry in entries)

    def _check_gap(self, topic: Topic, timestamp: int) -> None:
        missing_ms = self._gaps.missing_ms(topic, timestamp - 1)
        if missing_ms:
            self._tally.gaps += 1
            self._tally.gap_ms += missing_ms
            log.error(
                "gap: the source's history is shorter than the interruption: %s continues at %d ms, %.0f s later than "
                "what was reached; that part cannot be fetched from this source any more",
                topic,
                timestamp - 1,
                missing_ms / 1000,
            )

    def poll(self) -> None:
        """Follow the acknowledgements; write the cursor when it is due."""
        pending = self._pending
        acknowledged = 0
        while pending and pending[0][0].is_done:
            delivery, topic, timestamp, size = pending.popleft()
            if delivery.exception is not None:
                raise DeliveryError(f"Kafka did not take a record: {delivery.exception!r}") from delivery.exception
            acknowledged += 1
            self._pending_bytes -= size
            if timestamp >= 0 and self._is_progress_acknowledged:
                self._watermarks.advance(topic, timestamp - 1)
        now = self._clock.monotonic()
        tally = self._tally
        if acknowledged:
            tally.acknowledged += acknowledged
            tally.last_acknowledged_at = now
        tally.in_flight = len(pending)
        tally.in_flight_bytes = self._pending_bytes
        if now - self._written_at >= CURSOR_SECONDS:
            self.write_cursor()

    def write_cursor(self) -> None:
        """Send the cursor if it says something new; it never says more than what is acknowledged."""
        self._check_cursor()
        cursor = self.cursor
        self._written_at = self._clock.monotonic()
        if cursor == self._written:
            return
        self._written = cursor
        self._writing = self._sink.send(self._cursors_topic, 0, self._key, cursor.encode(), [], self._clock.now_ms())
        self._tally.cursor = cursor.watermarks

    def wait(self, seconds: float) -> None:
        """Block until the oldest delivery is done, at most `seconds`."""
        if self._pending:
            self._sink.wait(self._pending[0][0], seconds)

    def flush(self, seconds: float) -> bool:
        """Everything acknowledged and the cursor written, within `seconds`; whether that came true."""
        deadline = self._clock.monotonic() + seconds
        while self._pending:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            self.wait(left)
            self.poll()
        self.write_cursor()
        if self._writing is not None:
            self._sink.wait(self._writing, max(0.0, deadline - self._clock.monotonic()))
            self._check_cursor()
        return self._writing is None or self._writing.is_done

    def _check_cursor(self) -> None:
        if self._writing is not None and self._writing.is_done and self._writing.exception is not None:
            raise DeliveryError(f"Kafka did not take the cursor: {self._writing.exception!r}")
