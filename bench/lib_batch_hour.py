"""The input of the batch benchmark: an hour as Kafka would hand it to the lake query, a Parquet file an append.

The hours before it lie in one append each, as a batch run leaves them; the hour itself in one a minute, as the lake
query writes it; and some of its events come late, in the appends of the hour after it. The surprising thing: canaries
and records that must be rejected are in it, because judging them is part of the work.
"""

import heapq
import json
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench import lib_events
from bench.lib_preload import DUPLICATES, PARTITIONS, headers
from wikiweir.hours import Hour
from wikiweir.records import CANARY_DOMAIN

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LATE = 10
"""Events of the hour that come in the hour after it, each in another append."""
ODD_NUMBERS_FROM = 1_000_000_000
ODD_EVERY_MS = 10 * MINUTE_MS
"""A canary and three records that must be rejected come so often: Wikimedia's own canaries do."""

SCHEMA = pa.schema(
    {
        "key": pa.binary(),
        "value": pa.binary(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestampType": pa.int32(),
        "headers": pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()})),
    }
)
"""What Spark's Kafka source gives with `includeHeaders`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much bronze holds. `events`: of each hour; the hour after it is only begun."""

    events: int = 130_000
    hours_before: int = 3
    minutes_after: int = 15
    append_minutes: int = 1


FULL = Size()
QUICK = Size(events=3_000, hours_before=1, minutes_after=20, append_minutes=10)


@dataclass(frozen=True, slots=True)
class Record:
    """What arrives in Kafka, and when."""

    kafka_ms: int
    number: int
    source_topic: str
    key: bytes
    value: bytes


def arrivals(hour: Hour, size: Size, shapes: list[lib_events.Template]) -> Iterator[Record]:
    """Everything in the order in which Kafka gets it."""
    hour_ms = _ms(hour.start)
    first_ms = hour_ms - size.hours_before * HOUR_MS
    end_ms = hour_ms + HOUR_MS + size.minutes_after * MINUTE_MS
    per_second = size.events * 1000 / HOUR_MS
    count = int((end_ms - first_ms) / 1000 * per_second)
    waiting = [(record.kafka_ms, record.number, record) for record in _odd(first_ms, end_ms)]
    heapq.heapify(waiting)
    made = lib_events.events(
        count, first_ms=first_ms, per_second=per_second, duplicates=DUPLICATES, partitions=PARTITIONS, shapes=shapes
    )
    begins, late_ms = size.hours_before * size.events, size.minutes_after * MINUTE_MS // LATE
    for number, event in enumerate(made):
        how_manieth, rest = divmod(number - begins, size.events // LATE)
        is_late = 0 <= how_manieth < LATE and rest == size.events // LATE // 2
        kafka_ms = hour_ms + HOUR_MS + how_manieth * late_ms if is_late else event.kafka_ms
        record = Record(kafka_ms, number, event.topic, event.id.encode(), event.data)
        heapq.heappush(waiting, (kafka_ms, number, record))
        while waiting[0][0] < event.kafka_ms:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


def _odd(first_ms: int, end_ms: int) -> Iterator[Record]:
    for number, at_ms in enumerate(range(first_ms + ODD_EVERY_MS // 2, end_ms, ODD_EVERY_MS)):
        dt = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
        ids = [str(uuid.UUID(int=4 * number + which, version=4)) for which in range(2)]
        documents = [
            {"meta": {"id": ids[0], "dt": dt, "domain": CANARY_DOMAIN}, "type": "edit"},
            {"meta": {"id": ids[1], "dt": dt}, "type": "edit", "title": "long " * 200},
            {"meta": {"dt": dt}, "type": "edit"},
        ]
        for which, value in enumerate([*(json.dumps(document).encode() for document in documents), b"no JSON"]):
            key = ids[which].encode() if which < len(ids) else b""
            yield Record(at_ms, ODD_NUMBERS_FROM + 4 * number + which, "eqiad.mediawiki.recentchange", key, value)


def write(folder: Path, hour: Hour, size: Size, shapes: list[lib_events.Template]) -> list[Path]:
    """The appends as files, in order."""
    offsets: Counter[int] = Counter()

    def append_of(record: Record) -> int:
        since_ms = record.kafka_ms - _ms(hour.start)
        return since_ms // (size.append_minutes * MINUTE_MS if since_ms >= 0 else HOUR_MS)

    folder.mkdir()
    paths = []
    for number, (_, records) in enumerate(groupby(arrivals(hour, size, shapes), append_of)):
        paths.append(folder / f"{number:04}.parquet")
        pq.write_table(_table(list(records), offsets), paths[-1], compression="zstd")
    return paths


def _table(records: list[Record], offsets: Counter[int]) -> pa.Table:
    partitions = [zlib.crc32(record.key) % PARTITIONS for record in records]
    places = []
    for partition in partitions:
        places.append(offsets[partition])
        offsets[partition] += 1
    marks = [headers(record.source_topic, record.number, record.kafka_ms) for record in records]
    columns = {
        "key": [record.key for record in records],
        "value": [record.value for record in records],
        "topic": ["bench.events"] * len(records),
        "partition": partitions,
        "offset": places,
        "timestamp": [record.kafka_ms * 1000 for record in records],
        "timestampType": [0] * len(records),
        "headers": [[{"key": key, "value": value} for key, value in pairs] for pairs in marks],
    }
    return pa.table(columns, schema=SCHEMA)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1000
