"""The log behind the stream: records by topic and offset, in one order over all topics.

Every topic numbers its own records without a hole (`offset`); `seq` numbers them over all topics in the order
they became available, which is the order a connection sees. The surprising thing: a Kafka timestamp may lie
before its predecessor's, so "first offset at or after T" follows the rule of Kafka's `offsetsForTimes`.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

DATA_CENTRES = ("eqiad", "codfw")
OFFSET_BASES = {"eqiad": 6_512_000_000, "codfw": 2_043_000_000}
"""First offsets where none is recorded; the two Kafka clusters' real ones are as far apart."""


class Record(NamedTuple):
    """One record. The served line is `head` + position + `tail`; without a tail it is `head` as it stands."""

    seq: int
    topic: str
    offset: int
    kafka_ms: int
    head: bytes
    tail: bytes | None

    def line(self, shift: int = 0) -> bytes:
        """The data line as served by a cluster whose offsets are `shift` higher."""
        if self.tail is None:
            return self.head
        return b'%b,"topic":"%b","partition":0,"offset":%d%b' % (
            self.head,
            self.topic.encode(),
            self.offset + shift,
            self.tail,
        )


class Line(NamedTuple):
    """A record before the log has numbered it. `offset` is the one it was recorded with."""

    topic: str
    kafka_ms: int
    head: bytes
    tail: bytes | None
    offset: int | None = None
    exact: bytes | None = None
    """The line as recorded, for when the log cannot give it the offset it was recorded with."""


class EventLog(Protocol):
    """What the server needs of a log. Nothing here blocks; `advance` is called with the time of day."""

    is_finite: bool

    @property
    def topics(self) -> Sequence[str]:
        """Topics that hold something."""
        ...

    def advance(self, now_ms: int) -> None:
        """Makes available what is due."""
        ...

    def start(self, now_ms: int) -> None:
        """A client is there: a paced recording begins to play."""
        ...

    @property
    def end_seq(self) -> int:
        """One past the newest available record."""
        ...

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing more will come by itself."""
        ...

    def read(self, seq: int, limit: int) -> list[Record]:
        """Available records from `seq` on, at most about `limit`."""
        ...

    def first_offset(self, topic: str) -> int: ...

    def end_offset(self, topic: str) -> int: ...

    def offset_at(self, topic: str, ms: int) -> int | None:
        """First retained offset whose timestamp is `ms` or later."""
        ...

    def seq_of(self, topic: str, offset: int) -> int:
        """Where a connection must start reading to see this offset (the end, if it is not written yet)."""
        ...

    def append(self, line: Line) -> None:
        """Puts a line at the head of the log."""
        ...

    def switch(self, data_centre: str) -> None:
        """From now on events are written to the other data centre's topics."""
        ...

    def retain_from(self, ms: int) -> None:
        """Drops what is older."""
        ...


def in_data_centre(topic: str, data_centre: str | None) -> str:
    """The topic's name in another data centre; unchanged for none or a topic without such a prefix."""
    prefix, dot, name = topic.partition(".")
    return f"{data_centre}.{name}" if data_centre and dot and prefix in DATA_CENTRES else topic


class _Topic:
    """Arrays of one topic: offsets ascend, `latest_ms` is the running maximum of the Kafka timestamps."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.offsets: list[int] = []
        self.seqs: list[int] = []
        self.latest_ms: list[int] = []

    @property
    def end(self) -> int:
        return self.offsets[-1] + 1 if self.offsets else self.base


class MemoryLog:
    """A finite log held in memory: recordings, and what is injected into them.

    Lines are numbered when they become available, so that injected lines and a data-centre switch fall in between.
    """

    is_finite = True

    def __init__(
        self,
        lines: Iterable[Line],
        *,
        rate: float | None = None,
        speed: float | None = None,
        switches: dict[int, str] | None = None,
    ) -> None:
        """`rate`: so many lines a second from the first client on; `speed`: spaced by their timestamps, divided
        by it (a gap counts at most two seconds); neither: everything is there from the start.
        `switches`: data centre to switch to when so many records have come.
        """
        self._pending = deque(lines)
        self._bases: dict[str, int] = {}
        for line in self._pending:
            if line.offset is not None:
                self._bases.setdefault(line.topic, line.offset)
        self._rate = rate
        self._speed = speed
        self._started_ms: int | None = None
        self._released = 0
        self._due_ms = 0.0
        self._newest_ms: int | None = None
        self._records: list[Record] = []
        self._topics: dict[str, _Topic] = {}
        self._floor_seq = 0
        self._data_centre: str | None = None
        self._switches = dict(switches or {})
        if rate is None and speed is None:
            while self._pending:
                self._release(self._pending.popleft())

    @property
    def topics(self) -> Sequence[str]:
        written = {name for name, held in self._topics.items() if held.seqs}
        return sorted(written | {line.topic for line in self._pending})

    @property
    def end_seq(self) -> int:
        return len(self._records)

    @property
    def is_exhausted(self) -> bool:
        return not self._pending

    def start(self, now_ms: int) -> None:
        if self._started_ms is None:
            self._started_ms = now_ms

    def advance(self, now_ms: int) -> None:
        if self._started_ms is None or not self._pending:
            return
        elapsed = now_ms - self._started_ms
        while self._pending:
            line = self._pending[0]
            if self._rate is not None:
                due = self._released * 1000 / self._rate
            else:
                gap = 0 if self._newest_ms is None else line.kafka_ms - self._newest_ms
                due = self._due_ms + min(max(gap, 0), 2000) / (self._speed or 1.0)
            if due > elapsed:
                return
            self._due_ms = due
            self._newest_ms = max(self._newest_ms or 0, line.kafka_ms)
            self._released += 1
            self._release(self._pending.popleft())

    def read(self, seq: int, limit: int) -> list[Record]:
        begin = max(seq, self._floor_seq)
        return self._records[begin : begin + limit]

    def first_offset(self, topic: str) -> int:
        held = self._topic(topic)
        index = bisect_left(held.seqs, self._floor_seq)
        return held.offsets[index] if index < len(held.offsets) else held.end

    def end_offset(self, topic: str) -> int:
        return self._topic(topic).end

    def offset_at(self, topic: str, ms: int) -> int | None:
        held = self._topic(topic)
        index = max(bisect_left(held.latest_ms, ms), bisect_left(held.seqs, self._floor_seq))
        while index < len(held.offsets) and self._records[held.seqs[index]].kafka_ms < ms:
            index += 1  # only after a retention cut: the record that carried the running maximum may be gone
        return held.offsets[index] if index < len(held.offsets) else None

    def seq_of(self, topic: str, offset: int) -> int:
        held = self._topic(topic)
        index = bisect_left(held.offsets, offset)
        return held.seqs[index] if index < len(held.seqs) else len(self._records)

    def append(self, line: Line) -> None:
        self._release(line)

    def switch(self, data_centre: str) -> None:
        self._data_centre = data_centre

    def retain_from(self, ms: int) -> None:
        while self._floor_seq < len(self._records) and self._records[self._floor_seq].kafka_ms < ms:
            self._floor_seq += 1

    def _topic(self, name: str) -> _Topic:
        held = self._topics.get(name)
        if held is None:
            base = OFFSET_BASES.get(name.partition(".")[0], 0)
            held = self._topics[name] = _Topic(self._bases.get(name, base))
        return held

    def _release(self, line: Line) -> None:
        self._data_centre = self._switches.pop(len(self._records), self._data_centre)
        topic = in_data_centre(line.topic, self._data_centre)
        held = self._topic(topic)
        head, tail = line.head, line.tail
        moved = topic != line.topic
        if not moved and line.offset is not None and line.offset >= held.end:
            offset = line.offset
        else:
            offset = held.end
            if line.exact is not None and not moved:
                head, tail = line.exact, None
        seq = len(self._records)
        self._records.append(Record(seq, topic, offset, line.kafka_ms, head, tail))
        held.offsets.append(offset)
        held.seqs.append(seq)
        held.latest_ms.append(max(line.kafka_ms, held.latest_ms[-1] if held.latest_ms else line.kafka_ms))
