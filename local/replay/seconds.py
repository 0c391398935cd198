"""What each second of the synthetic stream holds: a pure function of (recipe, second).

The number of records of a second is cheap to tell without making them. The surprising thing: a duplicate is
made by making its original again, however long ago that was.
"""

import math
import random
import struct
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from local.replay.invent import WORDS, Inventor, Mixture
from local.replay.lines import format_dt
from local.replay.log import DATA_CENTRES

CANARY_EVERY_SECONDS = 900
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything the synthetic log follows from. The same recipe gives the same log."""

    seed: int
    epoch_s: int
    """First second of the log."""
    rate: float = 37.0
    """Mean events a second."""
    is_diurnal: bool = True
    """False: so many events in each second, without the day's rhythm, noise and bursts."""
    duplicates: float = 0.0
    """Records that repeat an earlier one (same `meta.id`, next offset), as a fraction of events."""
    mixture: Mixture = field(default_factory=Mixture)
    canaries: bool = True


class Entry(NamedTuple):
    topic: int
    slot: int
    kafka_ms: int
    head: bytes
    tail: bytes | None


class Seconds:
    """The seconds of one recipe. Topics are numbered like `DATA_CENTRES`."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._seed = recipe.seed
        self._inventor = Inventor(recipe.seed, recipe.mixture, stride=max(128, int(recipe.rate * 4)))
        noise = random.Random(f"{recipe.seed}:noise")
        self._noise = [math.exp(noise.gauss(-0.03, 0.25)) for _ in range(1024)]

    def count(self, second: int, active: int) -> list[int]:
        """Records of each topic; `active` is the topic that events go to."""
        events = self._events(second)
        counts = [0] * len(DATA_CENTRES)
        counts[active] = events + self._duplicates(second, events)
        for topic in self._canaries(second):
            counts[topic] += 1
        return counts

    def make(self, second: int, active: int) -> list[Entry]:
        """The records in order of availability."""
        events = self._events(second)
        words = self._words(second, events)
        text = format_dt(second * 1000)[:19].encode()
        entries: list[Entry] = []
        for index in range(events):
            w = words[index * WORDS : index * WORDS + WORDS]
            slot = index * 1000 // events
            entries.append(Entry(active, slot, *self._inventor.event(w, second, text, _stamp(slot, w[14]), index)))
        entries += [self._duplicate(second, n, active) for n in range(self._duplicates(second, events))]
        for topic in self._canaries(second):
            ms = second * 1000 + 999
            bits = random.Random(_hash(self._seed, second, 10 + topic))
            entries.append(Entry(topic, 999, ms, *canary(ms, bits)))
        return entries

    def _events(self, second: int) -> int:
        h = _hash(self._seed, second, 1)
        expected = self.recipe.rate
        if self.recipe.is_diurnal:
            expected *= self._noise[h & 1023]
            hour = second % 86_400 / 3600
            expected *= 1 + 0.22 * math.cos((hour - 15.5) * math.pi / 12)
            if _hash(self._seed, second // 120, 2) & 127 == 0:
                expected *= 1.7  # a bot run of two minutes
        return int(expected + (h >> 32 & 0xFFFF) / 65_536)

    def _duplicates(self, second: int, events: int) -> int:
        if self.recipe.duplicates <= 0 or events == 0:
            return 0
        return int(events * self.recipe.duplicates + (_hash(self._seed, second, 3) & 0xFFFF) / 65_536)

    def _canaries(self, second: int) -> list[int]:
        if not self.recipe.canaries:
            return []
        phase = (second + self._seed) % CANARY_EVERY_SECONDS
        return [topic for topic in range(len(DATA_CENTRES)) if phase == topic * 17]

    def _words(self, second: int, events: int) -> tuple[int, ...]:
        bits = random.Random(self._seed << 40 ^ second).randbytes(events * WORDS * 4)
        return struct.unpack(f"<{events * WORDS}I", bits)

    def _duplicate(self, second: int, number: int, active: int) -> Entry:
        """A copy of an event of this second, of the last minute, or (one in ten) of the last two hours.

        Its Kafka time is its own: a copy of an hour ago does not send a cursor back.
        """
        h = _hash(self._seed, second, 4)
        kind = h & 0xFF
        back = 0 if kind < 128 else 1 + (h >> 8) % (60 if kind < 230 else 7200)
        source = second - back
        if source < self.recipe.epoch_s or self._events(source) == 0:
            source = second
        events = self._events(source)
        index = (_hash(self._seed, second, 1000 + number) >> 8) % events
        w = self._words(source, events)[index * WORDS : index * WORDS + WORDS]
        text = format_dt(source * 1000)[:19].encode()
        _, head, tail = self._inventor.event(w, source, text, _stamp(index * 1000 // events, w[14]), index)
        return Entry(active, 999, second * 1000 + 999, head, tail)


def _stamp(slot: int, word: int) -> int:
    """The ms an event carries: one in eight lies up to 63 ms before its place, so that neighbours step back."""
    return max(slot - (word & 63), 0) if word & 0x1C0 == 0 else slot


def _hash(seed: int, second: int, purpose: int) -> int:
    h = (second * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03 + purpose) & _MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & _MASK
    return h ^ (h >> 31)


def canary(ms: int, rng: random.Random) -> tuple[bytes, bytes]:
    """Head and tail of one of Wikimedia's heartbeat events."""
    event_id, request_id = (str(UUID(int=rng.getrandbits(128), version=4)).encode() for _ in range(2))
    head = (
        b'{"$schema":"/mediawiki/recentchange/1.0.1","meta":{"dt":"%b","stream":"mediawiki.recentchange",'
        b'"domain":"canary","id":"%b","request_id":"%b"' % (format_dt(ms).encode(), event_id, request_id)
    )
    return head, b"}}"
