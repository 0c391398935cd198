"""What the producer tells about itself: plain numbers, and their Prometheus names in one place.

The surprising thing: nothing is counted in prometheus-client on the way of an event. One thread keeps a `Tally` of
plain numbers, the collector reads it when somebody asks; both are safe under the interpreter's lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingestion.watermark import Topic
from wikiweir.clock import Clock

PREFIX = "wikiweir_producer_"
MAX_TYPES = 50
"""`type` is an open set written by anyone, so the labels are bounded: what comes after these counts as `other`."""


@dataclass(slots=True)
class Tally:
    """Numbers since the start of the process; times are the clock's monotonic seconds. Written by one thread."""

    events: dict[tuple[str, str], int] = field(default_factory=dict)
    """By source topic and type."""
    dead_letters: dict[str, int] = field(default_factory=dict)
    reconnects: dict[str, int] = field(default_factory=dict)
    received_bytes: int = 0
    connections: int = 0
    canaries: int = 0
    last_canary_at: float | None = None
    last_dt: str | None = None
    last_received_ms: int = 0
    acknowledged: int = 0
    last_acknowledged_at: float | None = None
    in_flight: int = 0
    in_flight_bytes: int = 0
    gaps: int = 0
    gap_ms: int = 0
    cursor: dict[Topic, int] = field(default_factory=dict)
    source_state: str = "not started"
    is_connected: bool = False

    def count_event(self, topic: str, kind: str | None) -> None:
        """One more event of a source topic and type."""
        key = (topic, kind or "none")
        if key not in self.events:
            if len(self.events) >= MAX_TYPES:
                key = (topic, "other")
            self.events.setdefault(key, 0)
        self.events[key] += 1


def source_lag_seconds(tally: Tally) -> float | None:
    """Receive time of the last event minus its `meta.dt`."""
    try:
        moment = datetime.fromisoformat(tally.last_dt or "")
        return max(0.0, tally.last_received_ms / 1000 - moment.timestamp())
    except (ValueError, OverflowError):
        return None


class ProducerCollector(Collector):
    """Renders a `Tally` for Prometheus."""

    def __init__(self, tally: Tally, clock: Clock) -> None:
        self._tally = tally
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        events = CounterMetricFamily(PREFIX + "events", "Events handed to Kafka.", labels=["topic", "type"])
        for (topic, kind), count in tally.events.copy().items():
            events.add_metric([topic, kind], count)
        yield events
        yield _counter_by("dead_letters", "Records that cannot become an event.", "reason", tally.dead_letters.copy())
        yield _counter_by("reconnects", "Connections that ended, by cause.", "cause", tally.reconnects.copy())
        yield _counter("connections", "Connections that brought an event stream.", tally.connections)
        yield _counter("received_bytes", "Bytes of bodies read.", tally.received_bytes)
        yield _counter("canaries", "Wikimedia's artificial heartbeat events.", tally.canaries)
        yield _counter("acknowledged", "Records acknowledged by Kafka, in order.", tally.acknowledged)
        yield _counter("gaps", "Interruptions longer than the source's history.", tally.gaps)
        yield _counter("gap_seconds", "Time missing in those.", tally.gap_ms / 1000)
        yield _gauge("connected", "Whether an event stream is open.", float(tally.is_connected))
        yield _gauge("in_flight", "Records handed to Kafka and not yet acknowledged.", tally.in_flight)
        yield _gauge("in_flight_bytes", "Their bytes.", tally.in_flight_bytes)
        now = self._clock.monotonic()
        if tally.last_acknowledged_at is not None:
            yield _gauge("acknowledged_age_seconds", "Since the last one.", now - tally.last_acknowledged_at)
        if tally.last_canary_at is not None:
            yield _gauge("canary_age_seconds", "Since the last canary; an hour = broken.", now - tally.last_canary_at)
        lag = source_lag_seconds(tally)
        if lag is not None:
            yield _gauge("source_lag_seconds", "Receive time minus meta.dt of the last event.", lag)
        cursor = GaugeMetricFamily(PREFIX + "cursor_timestamp_seconds", "Low watermark.", labels=["topic", "partition"])
        for (topic, partition), ms in tally.cursor.copy().items():
            cursor.add_metric([topic, str(partition)], ms / 1000)
        yield cursor


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, help, value=value)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, help, value=value)


def _counter_by(name: str, help: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, help, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
