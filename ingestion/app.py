"""The producer as one function of its settings: source -> frames -> relay -> Kafka, until told to stop.

The surprising thing: what a test switches off (overlap, acknowledgement before progress) is an argument here; no
environment variable can do it.
"""

import logging
import random
import sys
import threading
import uuid
from datetime import timedelta

from ingestion.backoff import HEALTHY_SECONDS, Cause
from ingestion.cursor import load_cursor, parse_since
from ingestion.framing import OversizeFrame, parse, retry_milliseconds
from ingestion.health import STALE_SECONDS, Health, HealthServer
from ingestion.metrics import Tally
from ingestion.relay import DeliveryError, Relay
from ingestion.sink import KafkaSink
from ingestion.source import ConfigurationError, Source, user_agent
from wikiweir.clock import Clock, SystemClock
from wikiweir.records import Cursor
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
FLUSH_SECONDS = 7.0
CLOSE_SECONDS = 1.0
SWITCH_SECONDS = 0.02
"""How long a thread keeps the interpreter. Python's 5 ms make this loop and kafka-python's network thread change places
so often that an event costs 99 µs of CPU instead of 86 (measured in a catch-up on two busy cores)."""


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    clock: Clock | None = None,
    chance: random.Random | None = None,
    overlap: timedelta | None = None,
    is_progress_acknowledged: bool = True,
    healthy_seconds: float = HEALTHY_SECONDS,
    stale_seconds: float = STALE_SECONDS,
    stop_after: int | None = None,
) -> None:
    """Relay until `stop` is set (or `stop_after` records are taken), then flush and write the cursor, in under 10 s.

    Raises `ConfigurationError` (starting again cannot help), `SinkUnavailableError` and `DeliveryError` (it can: what
    was not acknowledged is fetched again).
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    clock = clock or SystemClock()
    chance = chance or random.SystemRandom()
    overlap_ms = (settings.keep.overlap if overlap is None else overlap) // timedelta(milliseconds=1)
    tally = Tally()
    user_agent(settings)  # refuse before anything is started
    scale = max(1.0, settings.read_timeout_seconds / 30)  # who allows a slow stream a longer silence means it
    health = HealthServer(
        Health(tally, clock, stale_seconds=stale_seconds * scale), tally, clock, settings.producer_port
    )
    try:
        tally.source_state = "waiting for Kafka"
        sink = KafkaSink(settings)
        try:
            cursor = load_cursor(settings.kafka_bootstrap, settings.cursors_topic, settings.streams)
            is_first_start = cursor is None
            if cursor is None:
                cursor = Cursor(_base_ms(settings, clock), {})
            relay = Relay(
                sink,
                settings,
                cursor,
                run=uuid.uuid4().hex[:12],
                clock=clock,
                tally=tally,
                is_progress_acknowledged=is_progress_acknowledged,
            )
            log.info("%s at %s", "first start" if is_first_start else "resuming", cursor)
            if is_first_start and not relay.flush(FLUSH_SECONDS):
                raise DeliveryError(f"Kafka did not take the first cursor within {FLUSH_SECONDS:g} s")
            source = Source(
                settings,
                lambda: relay.begin_connection(overlap_ms),
                clock=clock,
                chance=chance,
                tally=tally,
                healthy_seconds=healthy_seconds,
            )
            try:
                pump(source, relay, stop, clock, stop_after)
            finally:
                source.close()
            if not relay.flush(FLUSH_SECONDS):
                raise DeliveryError(
                    f"{tally.in_flight} records were not acknowledged within {FLUSH_SECONDS:g} s of the stop; "
                    "nothing is lost, the next start fetches them again"
                )
            log.info("stopped: %d records acknowledged, cursor %s", tally.acknowledged, relay.cursor)
        finally:
            sink.close(CLOSE_SECONDS)
    finally:
        health.close()


def pump(source: Source, relay: Relay, stop: threading.Event, clock: Clock, stop_after: int | None = None) -> None:
    """Bring frames to the relay until told to stop; while the relay takes no more, the source is not read."""
    while not stop.is_set() and (stop_after is None or relay.taken < stop_after):
        runs = source.poll(TICK_SECONDS)
        received_ms = clock.now_ms()
        for complete in runs:
            if isinstance(complete, OversizeFrame):
                while not relay.submit_oversize(complete, received_ms):
                    if not _make_room(relay, stop):
                        return
                continue
            source.set_retry(retry_milliseconds(complete))
            for event in parse(complete):
                if event.event == "error":
                    source.fail(Cause.ERROR_FRAME, event.data.encode("latin-1").decode("utf-8", "replace")[:300])
                    continue
                while not relay.submit(event, received_ms):
                    if not _make_room(relay, stop):
                        return
        relay.poll()


def _make_room(relay: Relay, stop: threading.Event) -> bool:
    """Wait a little for acknowledgements, the source unread meanwhile; False: told to stop."""
    relay.wait(TICK_SECONDS)
    relay.poll()
    return not stop.is_set()


def _base_ms(settings: Settings, clock: Clock) -> int:
    if settings.since is None:
        return clock.now_ms()
    try:
        return parse_since(settings.since)
    except ValueError as error:
        raise ConfigurationError(f"WIKIWEIR_SINCE: {error}") from error
