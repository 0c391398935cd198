"""An endless log of invented events of which only the number of records before each second is kept.

A day of history costs two megabytes, and any position can be made again: after a restart with the same recipe the
same events have the same offsets. The surprising thing: a second is closed to injected records and to a
data-centre switch once it has begun.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from typing import Any

from local.replay.log import DATA_CENTRES, OFFSET_BASES, Line, Record
from local.replay.seconds import Entry, Recipe, Seconds

TOPICS = tuple(f"{centre}.mediawiki.recentchange" for centre in DATA_CENTRES)
_BASES = tuple(OFFSET_BASES[centre] for centre in DATA_CENTRES)
_BLOCKS_KEPT = 64


class SyntheticLog:
    """The log of one recipe, as far as its head has come."""

    is_finite = False
    is_exhausted = False
    topics = TOPICS

    def __init__(self, recipe: Recipe, *, now_ms: int, changes: dict[str, Any] | None = None) -> None:
        """`changes`: what `changes()` said in an earlier run of the same recipe."""
        self.recipe = recipe
        self._seconds = Seconds(recipe)
        self._before = tuple(array("q", [0]) for _ in TOPICS)
        """Per topic the records before each closed second; the last one counts the seconds closed so far."""
        self._total = array("q", [0])
        self._extra: dict[int, list[Entry]] = {}
        self._switches: list[tuple[int, int]] = [(recipe.epoch_s, 0)]
        for second, which in (changes or {}).get("switches", []):
            self._switches.append((second, which))
        for second, entries in (changes or {}).get("extra", {}).items():
            self._extra[int(second)] = [
                Entry(which, 0, kafka_ms, bytes.fromhex(head), None if tail is None else bytes.fromhex(tail))
                for which, kafka_ms, head, tail in entries
            ]
        self._blocks: OrderedDict[int, list[Entry]] = OrderedDict()
        self._floor_seq = 0
        self._head_ms = recipe.epoch_s * 1000
        self._end_seq = 0
        self.advance(now_ms)

    def _active(self, second: int) -> int:
        return self._switches[bisect_right(self._switches, second, key=lambda switch: switch[0]) - 1][1]

    def _block(self, second: int) -> list[Entry]:
        """Every record of a second in order of availability; made again when it is asked for again."""
        held = self._blocks.get(second)
        if held is not None:
            self._blocks.move_to_end(second)
            return held
        entries = [*self._extra.get(second, ()), *self._seconds.make(second, self._active(second))]
        self._blocks[second] = entries
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return entries

    @property
    def end_seq(self) -> int:
        return self._end_seq

    def start(self, now_ms: int) -> None:
        """Nothing: an endless log does not wait for clients."""

    def advance(self, now_ms: int) -> None:
        if now_ms <= self._head_ms:
            return
        self._head_ms = now_ms
        last = now_ms // 1000
        second = self.recipe.epoch_s + len(self._total) - 1
        while second <= last:
            self._close(second)
            second += 1
        block = self._block(last)
        due = now_ms - last * 1000
        available = next((i for i, entry in enumerate(block) if entry.slot > due), len(block))
        self._end_seq = self._total[-2] + available

    def _close(self, second: int) -> None:
        counts = self._seconds.count(second, self._active(second))
        for entry in self._extra.get(second, ()):
            counts[entry.topic] += 1
        for before, count in zip(self._before, counts, strict=True):
            before.append(before[-1] + count)
        self._total.append(self._total[-1] + sum(counts))

    def read(self, seq: int, limit: int) -> list[Record]:
        seq = max(seq, self._floor_seq)
        out: list[Record] = []
        closed = len(self._total) - 1
        number = bisect_right(self._total, seq) - 1
        while number < closed and len(out) < limit and seq < self._end_seq:
            block = self._block(self.recipe.epoch_s + number)
            first = self._total[number]
            offsets = [base + before[number] for base, before in zip(_BASES, self._before, strict=True)]
            begin = seq - first
            end = min(self._end_seq - first, begin + limit - len(out))
            for entry in block[:begin]:
                offsets[entry.topic] += 1
            for at, (topic, _, kafka_ms, head, tail) in enumerate(block[begin:end], seq):
                out.append(Record(at, TOPICS[topic], offsets[topic], kafka_ms, head, tail))
                offsets[topic] += 1
            seq = first + min(end, len(block))
            number += 1
        return out

    def first_offset(self, topic: str) -> int:
        return self._offset_from(topic, self._floor_seq)

    def end_offset(self, topic: str) -> int:
        return self._offset_from(topic, self._end_seq)

    def _offset_from(self, topic: str, seq: int) -> int:
        """Offset of the topic's first record at or after `seq`."""
        if topic not in TOPICS:
            return 0
        which = TOPICS.index(topic)
        number = min(bisect_right(self._total, seq) - 1, len(self._total) - 1)
        offset = _BASES[which] + self._before[which][number]
        if number < len(self._total) - 1:
            block = self._block(self.recipe.epoch_s + number)
            offset += sum(entry.topic == which for entry in block[: seq - self._total[number]])
        return offset

    def offset_at(self, topic: str, ms: int) -> int | None:
        if topic not in TOPICS:
            return None
        which = TOPICS.index(topic)
        number = max(ms // 1000 - self.recipe.epoch_s, bisect_right(self._total, self._floor_seq) - 1, 0)
        before = self._before[which]
        while number < len(self._total) - 1:
            if before[number + 1] > before[number]:
                offset = _BASES[which] + before[number]
                for at, entry in enumerate(self._block(self.recipe.epoch_s + number), self._total[number]):
                    if at >= self._end_seq:
                        return None
                    if entry.topic == which:
                        if entry.kafka_ms >= ms and at >= self._floor_seq:
                            return offset
                        offset += 1
            number += 1
        return None

    def seq_of(self, topic: str, offset: int) -> int:
        if topic not in TOPICS:
            return self._end_seq
        which = TOPICS.index(topic)
        wanted = offset - _BASES[which]
        before = self._before[which]
        if wanted >= before[-1]:
            return self._end_seq
        number = bisect_right(before, wanted) - 1
        at, passed = self._total[number], before[number]
        for entry in self._block(self.recipe.epoch_s + number):
            if entry.topic == which:
                if passed == wanted:
                    break
                passed += 1
            at += 1
        return at

    def append(self, line: Line) -> None:
        """The line stands at the beginning of the next second."""
        which = TOPICS.index(line.topic) if line.topic in TOPICS else self._active(self._next_second)
        entry = Entry(which, 0, line.kafka_ms, line.head, line.tail)
        self._extra.setdefault(self._next_second, []).append(entry)

    def switch(self, data_centre: str) -> None:
        self.switch_at(self._next_second, data_centre)

    def switch_at(self, second: int, data_centre: str) -> None:
        """From `second` on, which must not have begun, events go to that data centre."""
        if second < self._next_second and len(self._total) > 1:
            raise ValueError(f"second {second} has begun; a switch is possible from {self._next_second} on")
        self._switches = sorted([*self._switches, (second, DATA_CENTRES.index(data_centre))])

    def retain_from(self, ms: int) -> None:
        number = min(max(ms // 1000 - self.recipe.epoch_s, 0), len(self._total) - 1)
        self._floor_seq = max(self._floor_seq, min(self._total[number], self._end_seq))

    @property
    def _next_second(self) -> int:
        return self.recipe.epoch_s + len(self._total) - 1

    def changes(self) -> dict[str, object]:
        """Switches and injected records as JSON values."""
        return {
            "switches": [list(switch) for switch in self._switches[1:]],
            "extra": {
                str(second): [
                    [entry.topic, entry.kafka_ms, entry.head.hex(), None if entry.tail is None else entry.tail.hex()]
                    for entry in entries
                ]
                for second, entries in self._extra.items()
            },
        }
