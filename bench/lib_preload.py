"""The input of the stream benchmark: the same records once in a Kafka topic and once as NDJSON, a file a batch.

Record i lies in partition i mod 2 (ids are chosen so that this is also their crc32), so a reader that takes N records a
trigger takes exactly the N of one file. The surprising thing: the records' Kafka timestamps are what the producer would
have stamped on the live stream, not the time of loading, so that every event is young on arrival and `recent_changes`
gets its full share of the work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaProducer

from bench import lib_events
from bench.lib_events import Event
from local.kafka import create_topics
from wikiweir.clock import SystemClock
from wikiweir.records import RELAY_HEADER, SOURCE_HEADER, RelayStamp, SourcePosition
from wikiweir.settings import Settings

PARTITIONS = 2
DUPLICATES = 0.01
PER_SECOND = 2 * lib_events.LIVE_RATE
"""Twice the live rate: 400,000 events are an hour and a half, within the three hours of `recent_changes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A topic, its batches as files, and what they are."""

    topic: str
    size: int
    files: list[Path]
    shaped_by: str
    bytes_per_event: int
    duplicates: int


def preload(settings: Settings, folder: Path, size: int, batches: int) -> Load:
    """Write `batches` times `size` records into the topic of `settings` (created here) and into files."""
    shapes, shaped_by = lib_events.templates()
    total = size * batches
    first_ms = SystemClock().now_ms() - int(total / PER_SECOND * 1000) - 60_000
    create_topics(settings)
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, linger_ms=50, batch_size=256 * 1024, compression_type="lz4"
    )
    made = lib_events.events(
        total, first_ms=first_ms, per_second=PER_SECOND, duplicates=DUPLICATES, partitions=PARTITIONS, shapes=shapes
    )
    files, duplicates, size_bytes = [], 0, 0
    try:
        for batch in range(batches):
            path = folder / f"{settings.events_topic}-{batch:03}.ndjson"
            with path.open("wb") as file:
                for index, event in enumerate(_take(made, size)):
                    number = batch * size + index
                    _send(producer, settings.events_topic, number, event)
                    file.write(b'{"kafka_ms":%d,"event":%b}\n' % (event.kafka_ms, event.data))
                    duplicates += event.is_duplicate
                    size_bytes += len(event.data)
            files.append(path)
            producer.flush()
    finally:
        producer.close()
    return Load(
        topic=settings.events_topic,
        size=size,
        files=files,
        shaped_by=shaped_by,
        bytes_per_event=round(size_bytes / total),
        duplicates=duplicates,
    )


def _take(made: Iterator[Event], count: int) -> Iterator[Event]:
    for _ in range(count):
        yield next(made)


def headers(topic: str, number: int, kafka_ms: int) -> list[tuple[str, bytes]]:
    """What the producer sets on its `number`-th record of a source topic."""
    position = SourcePosition(topic, 0, number, kafka_ms)
    return [(SOURCE_HEADER, position.encode()), (RELAY_HEADER, RelayStamp("bench", number, kafka_ms).encode())]


def _send(producer: KafkaProducer, topic: str, number: int, event: Event) -> None:
    marks = headers(event.topic, number, event.kafka_ms)
    key = event.id.encode()
    partition = number % PARTITIONS
    producer.send(topic, event.data, key, marks, partition=partition, timestamp_ms=event.kafka_ms)
