"""When an hour has been read to its end: the producer's cursor is past it, and Kafka holds what came before.

The surprising thing is the order: the cursor is read first and Kafka's end after it, so that everything the cursor
stands for lies below that end, however long the reading took.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from jobs.lib import offsets
from jobs.lib.offsets import Offsets
from wikiweir.hours import LENGTH, Hour
from wikiweir.records import Cursor


@dataclass(frozen=True, slots=True)
class HourEnd:
    """The newest hour that was over for the producer, and the offsets that both queries must reach for it."""

    hour: Hour
    cursor_at: datetime
    end_offsets: Offsets

    def row(self) -> dict[str, Any]:
        """Columns of `ops.hour_ends`, but for the JSON wrapping."""
        return {
            "hour": self.hour.start,
            "cursor_at": self.cursor_at,
            "end_offsets": offsets.to_json(self.end_offsets),
        }


def position(cursor: Cursor) -> datetime:
    """How far the producer has read: the greatest mark of its source topics (an idle data centre's stands still)."""
    return datetime.fromtimestamp(max(cursor.watermarks.values(), default=cursor.base_ms) / 1000, UTC)


def hour_end(cursor: Cursor, ends: Mapping[int, int], grace: timedelta) -> HourEnd:
    """`ends` were asked for after `cursor`; an hour is over once the cursor is `grace` past its end."""
    at = position(cursor)
    return HourEnd(Hour(Hour.of(at - grace).start - LENGTH), at, dict(ends))


class CursorTopic:
    """The producer's cursors in Kafka, followed. Not for several threads at once."""

    def __init__(self, bootstrap: str, topic: str, key: str) -> None:
        self._key = key.encode()
        self._partition = TopicPartition(topic, 0)
        self._newest: Cursor | None = None
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap.split(","),
            client_id="wikiweir-cursors",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=10_000,
            reconnect_backoff_max_ms=2_000,
        )
        self._consumer.assign([self._partition])
        self._consumer.seek_to_beginning(self._partition)

    def newest(self) -> Cursor | None:
        """The cursor that was kept last; none before the first."""
        end = self._consumer.end_offsets([self._partition], timeout_ms=10_000)[self._partition]
        while self._consumer.position(self._partition, timeout_ms=10_000) < end:
            for records in self._consumer.poll(timeout_ms=1000).values():
                for record in records:
                    if record.key == self._key and record.value:
                        self._newest = Cursor.decode(record.value)
        return self._newest
