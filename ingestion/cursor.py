"""Where the next connection begins, and where that is kept: the compacted Kafka topic of cursors.

The surprising thing: EventStreams consumes exactly the topics that `Last-Event-ID` names. So every topic ever seen is
named, the idle data centre's too, and one without a mark of its own asks for the smallest mark of the others: what a
data-centre switch writes to it during a gap is then not skipped.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kafka import KafkaConsumer, TopicPartition

from ingestion.watermark import Topic
from wikiweir.records import Cursor


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """What a connection asks for: milliseconds per topic, or (no topic is known yet) one `since`."""

    since_ms: int
    topics: dict[Topic, int]
    reached: dict[Topic, int]
    """Marks of the topics that have one: the source still has such a time, or its history is too short."""

    @property
    def last_event_id(self) -> str | None:
        """The header's value."""
        if not self.topics:
            return None
        entries = [{"topic": t, "partition": p, "timestamp": ms} for (t, p), ms in sorted(self.topics.items())]
        return json.dumps(entries, separators=(",", ":"))


def own_marks(cursor: Cursor) -> dict[Topic, int]:
    """Topics that have been followed. One that was only named is kept at the base, which says no more than the base."""
    return {topic: ms for topic, ms in cursor.watermarks.items() if ms > cursor.base_ms}


def resume_point(cursor: Cursor, overlap_ms: int) -> ResumePoint:
    """`watermark - overlap` for every known topic; before any is known, the base."""
    reached = own_marks(cursor)
    smallest = min(reached.values(), default=None)
    topics = {}
    for topic in cursor.watermarks:
        mark = reached.get(topic, smallest)
        topics[topic] = cursor.base_ms if mark is None else max(0, mark - overlap_ms)
    return ResumePoint(cursor.base_ms, topics, reached)


def make_cursor(base_ms: int, known: Iterable[Topic], marks: dict[Topic, int]) -> Cursor:
    """The cursor to keep: known topics without a mark stand at the base."""
    return Cursor(base_ms, {topic: max(base_ms, marks.get(topic, base_ms)) for topic in {*known, *marks}})


def parse_since(since: str) -> int:
    """Epoch milliseconds of a setting: milliseconds, or ISO 8601 (UTC where it names no zone)."""
    if since.strip().isdigit():
        return int(since)
    try:
        moment = datetime.fromisoformat(since.strip())
    except ValueError:
        raise ValueError(
            f"since: expected epoch milliseconds or ISO 8601, found {since!r}; e.g. 2026-11-23T09:00:00Z"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def load_cursor(bootstrap: str, topic: str, key: str) -> Cursor | None:
    """The last cursor kept under `key`; reads the compacted topic to its end."""
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek_to_beginning(partition)
        value: bytes | None = None
        while consumer.position(partition) < end:
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    if record.key == key.encode():
                        value = record.value
    finally:
        consumer.close()
    return Cursor.decode(value) if value else None
