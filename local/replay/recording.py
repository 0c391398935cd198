"""Recordings as a log's lines: NDJSON or SSE captures, plain or gzip, merged by time and moved to today.

Within a file the recorded order stays (it is the Kafka order, and not the order of time); files are merged by
the running maximum of their timestamps. The surprising thing: times are replaced inside the recorded bytes,
everything else comes out as it went in; `as_recorded` leaves the times too.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

from local.replay.lines import Layout, layout, parse_dt, shift_times, split_for_position, split_position, text
from local.replay.log import Line

DEFAULT_TOPIC = "eqiad.mediawiki.recentchange"


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """A line as it stands in a file, and its place in the merge."""

    data: bytes
    kafka_ms: int
    topic: str
    sort_ms: int
    found: Layout | None


def read_lines(path: Path) -> Iterator[tuple[bytes, str | None]]:
    """Data lines of a file, with the SSE id where it is a capture; a frame cut off at the end is dropped."""
    content = _content(path)
    if path.name.removesuffix(".gz").endswith(".sse") or content.startswith((b":ok", b"event: ")):
        yield from _frames(content)
        return
    for line in content.split(b"\n"):
        stripped = line.rstrip(b"\r")
        if stripped.strip():
            yield stripped, None


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, zlib.error):  # a capture that was itself cut off: what is there counts
        return zlib.decompressobj(wbits=31).decompress(raw)


def _frames(content: bytes) -> Iterator[tuple[bytes, str | None]]:
    blocks = content.replace(b"\r\n", b"\n").split(b"\n\n")
    last = blocks.pop().rstrip(b"\n")  # empty after a closing blank line; else a frame without its end
    if layout(last.rpartition(b"\ndata: ")[2]) is None:  # only the blank line is missing where the JSON is whole
        last = b""
    for block in [*blocks, last]:
        data: list[bytes] = []
        event_id = None
        for line in block.split(b"\n"):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"id:"):
                event_id = line[3:].strip().decode()
        if data:
            yield b"\n".join(data), event_id


def read_file(path: Path) -> Iterator[RecordedLine]:
    """Lines of one recording with their Kafka time: `meta.dt`, else the SSE id's, `timestamp`, the line before."""
    newest = previous = 0
    for data, event_id in read_lines(path):
        found = layout(data)
        kafka_ms = topic = None
        if found is not None:
            kafka_ms = parse_dt(text(data, found.meta_values.get(b"dt")))
            topic = text(data, found.meta_values.get(b"topic"))
            stream = text(data, found.meta_values.get(b"stream"))
            if topic is None and stream is not None:
                topic = f"eqiad.{stream}"
            if kafka_ms is None and found.timestamp is not None and data[slice(*found.timestamp)].isdigit():
                kafka_ms = int(data[slice(*found.timestamp)]) * 1000
        if kafka_ms is None:
            kafka_ms = _newest_of(event_id) or previous
        previous = kafka_ms
        newest = max(newest, kafka_ms)
        yield RecordedLine(data, kafka_ms, topic or DEFAULT_TOPIC, newest, found)


def _newest_of(event_id: str | None) -> int | None:
    try:
        entries = json.loads(event_id) if event_id else []
        return max((e["timestamp"] - 1 for e in entries if "timestamp" in e), default=None)
    except (ValueError, TypeError, KeyError):
        return None


def load(paths: Iterable[Path], *, newest_at_ms: int | None = None, oldest_at_ms: int | None = None) -> list[Line]:
    """All recordings as one log, moved by whole seconds so that the newest (or oldest) record falls on a time.

    Neither time given: as recorded.
    """
    files = [list(read_file(path)) for path in paths]
    merged = list(merge(*files, key=lambda line: line.sort_ms))
    delta_seconds = 0
    if merged and newest_at_ms is not None:
        delta_seconds = (newest_at_ms - max(line.kafka_ms for line in merged)) // 1000
    elif merged and oldest_at_ms is not None:
        delta_seconds = (oldest_at_ms - min(line.kafka_ms for line in merged)) // 1000
    return [_line(recorded, delta_seconds) for recorded in merged]


def _line(recorded: RecordedLine, delta_seconds: int) -> Line:
    found, kafka_ms = recorded.found, recorded.kafka_ms + delta_seconds * 1000
    if found is None:
        return Line(recorded.topic, kafka_ms, recorded.data, None)
    data = shift_times(recorded.data, delta_seconds, found)
    if len(data) != len(recorded.data):  # a time grew by a digit: everything after it has moved
        found = layout(data)
    position = split_position(data, found)
    if position is not None:
        head, tail, topic, partition, offset = position
        if topic == recorded.topic and partition == 0:
            return Line(topic, kafka_ms, head, tail, offset, exact=data)
    halves = split_for_position(data, found)
    if halves is not None:
        return Line(recorded.topic, kafka_ms, *halves)
    return Line(recorded.topic, kafka_ms, data, None)
