"""Any number of real-shaped events from a few thousand recorded ones: same bytes, new id, times and page.

Recorded events are looked for in `../shared/data` (or `WIKIWEIR_BENCH_DATA`); without them the replay server's
synthetic generator stands in. The surprising thing: a repeated event gets a page of its own (a subpage), because the
same few thousand pages over and over would make the rollups far smaller than a real hour's.
"""

import gzip
import json
import os
import random
import re
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.replay.invent import Mixture
from local.replay.seconds import Recipe
from local.replay.synthetic import SyntheticLog
from wikiweir.settings import PROJECT

MIXED = ("amommendes", "dataplumbhub", "kirajano", "muratcolak78", "sat99496", "visaalpathak")
"""Recordings of the whole stream; the others are of one wiki, which would flatter whoever groups by wiki."""

LIVE_RATE = 36.7
"""Events a second of the live stream (EVENTSTREAMS.md, section 5)."""

EDIT_TO_INTAKE_MS = 2_000
INTAKE_TO_KAFKA_MS = 300
SEED = 20_260_401
FIRST_SYNTHETIC_SECOND = 1_775_001_600
"""2026-04-01T00:00:00Z."""
LOOK_BACK = 20_000
"""How many events back a duplicate may lie."""


@dataclass(frozen=True, slots=True)
class Event:
    """One record as the source sends it."""

    id: str
    data: bytes
    kafka_ms: int
    topic: str
    is_duplicate: bool = False

    @property
    def frame(self) -> bytes:
        """The SSE frame that Wikimedia sends, byte for byte."""
        idle = "codfw" if self.topic.startswith("eqiad") else "eqiad"
        position = (
            f'[{{"topic":"{self.topic}","partition":0,"timestamp":{self.kafka_ms + 1}}},'
            f'{{"topic":"{idle}.mediawiki.recentchange","partition":0,"offset":-1}}]'
        )
        return b"event: message\nid: %b\ndata: %b\n\n" % (position.encode(), self.data)


class Template:
    """A recorded line, cut where something is put in."""

    def __init__(self, line: bytes) -> None:
        event = json.loads(line)
        meta = event["meta"]
        self.topic: str = meta.get("topic", "eqiad.mediawiki.recentchange")
        wanted = {
            "id": rb'"id"\s*:\s*"(%b)"' % re.escape(meta["id"].encode()),
            "dt": rb'"dt"\s*:\s*"(%b)"' % re.escape(meta["dt"].encode()),
            "timestamp": rb'"timestamp"\s*:\s*(\d{10})\b',
            "page": rb'"title"\s*:\s*"(?:[^"\\]|\\.)*()"',
        }
        found = {name: re.search(pattern, line) for name, pattern in wanted.items()}
        cuts = sorted((match.start(1), match.end(1), name) for name, match in found.items() if match)
        self.literals: list[bytes] = []
        self.names: list[str] = []
        at = 0
        for start, end, name in cuts:
            self.literals.append(line[at:start])
            self.names.append(name)
            at = end
        self.literals.append(line[at:])

    def fill(self, values: dict[str, bytes]) -> bytes:
        """The line with the values in their places."""
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            parts += (values[name], literal)
        return b"".join(parts)


def recordings() -> list[Path]:
    """The recorded files that are there."""
    folder = Path(os.environ.get("WIKIWEIR_BENCH_DATA", PROJECT.parent / "shared" / "data"))
    return [path for name in MIXED if (path := folder / f"recentchange-{name}.ndjson.gz").exists()]


def _lines() -> Iterator[bytes]:
    for path in recordings():
        with gzip.open(path) as file:
            yield from (line.rstrip(b"\r\n") for line in file)


def templates() -> tuple[list[Template], str]:
    """Templates in a seeded shuffle, and a sentence saying where they come from."""
    lines = list(_lines())
    if lines:
        source = f"{len(lines):,} recorded recentchange events of {len(recordings())} captures, 2019-2026"
    else:
        lines = list(synthetic_lines(5_000))
        source = f"{len(lines):,} events of the replay server's synthetic generator (no recordings found)"
    random.Random(SEED).shuffle(lines)
    return [Template(line) for line in lines], source


def synthetic_lines(count: int) -> Iterator[bytes]:
    """Invented events, where there are no recorded ones."""
    first_s, seconds = FIRST_SYNTHETIC_SECOND, int(count / LIVE_RATE * 2)
    recipe = Recipe(seed=SEED, epoch_s=first_s, rate=LIVE_RATE, mixture=Mixture(odd=0.0), canaries=False)
    log = SyntheticLog(recipe, now_ms=first_s * 1000)
    log.advance((first_s + seconds) * 1000)
    seq = 0
    while seq < count:
        records = log.read(seq, min(1000, count - seq))
        yield from (record.line() for record in records)
        seq = records[-1].seq + 1


def events(
    count: int,
    *,
    first_ms: int,
    per_second: float = LIVE_RATE,
    duplicates: float = 0.0,
    partitions: int = 1,
    shapes: list[Template] | None = None,
) -> Iterator[Event]:
    """`count` events, evenly spaced from `first_ms`; a share of `duplicates` repeats one of the last 20,000.

    Event i always belongs to Kafka partition i modulo `partitions` (by crc32 of its id), so that a reader which takes
    as much from each partition takes exact batches.
    """
    shapes = shapes or templates()[0]
    chance = random.Random(SEED + 1)
    recent: deque[Event] = deque(maxlen=LOOK_BACK - LOOK_BACK % partitions)
    for index in range(count):
        if duplicates and len(recent) > 10 * partitions and chance.random() < duplicates:
            back = partitions * chance.randrange(1, len(recent) // partitions + 1)
            first = recent[-back]
            kafka_ms = first_ms + int(index * 1000 / per_second) + INTAKE_TO_KAFKA_MS
            event = Event(first.id, first.data, kafka_ms, first.topic, is_duplicate=True)
        else:
            event = _event(index, first_ms + int(index * 1000 / per_second), shapes, chance, partitions)
        recent.append(event)
        yield event


def _event(index: int, dt_ms: int, shapes: list[Template], chance: random.Random, partitions: int) -> Event:
    shape = shapes[index % len(shapes)]
    again = index // len(shapes)
    while True:
        event_id = str(uuid.UUID(bytes=chance.randbytes(16), version=4))
        if partitions == 1 or zlib.crc32(event_id.encode()) % partitions == index % partitions:
            break
    instant = datetime.fromtimestamp(dt_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = shape.fill(
        {
            "id": event_id.encode(),
            "dt": instant.encode(),
            "timestamp": str((dt_ms - EDIT_TO_INTAKE_MS) // 1000).encode(),
            "page": f"/{again}".encode() if again else b"",
        }
    )
    return Event(event_id, data, dt_ms + INTAKE_TO_KAFKA_MS, shape.topic)
