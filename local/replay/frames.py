"""The exact bytes of the stream: frames from records, and frames as HTTP chunks.

Each of a frame's lines is written by itself, so chunk borders fall between lines. The surprising thing: the id
says the Kafka timestamp of the record just sent *plus one*, and repeats for every other topic what it last said.
"""

import json
import random
from collections.abc import Iterable, Iterator

from local.replay.assignment import Assigned
from local.replay.log import Record

OPENING = b":ok\n\n"
OPENING_JSON = b"\n"


class FrameWriter:
    """Writes one connection's frames and remembers what its id says of each topic."""

    def __init__(
        self,
        assigned: list[Assigned],
        *,
        shift: int = 0,
        as_json: bool = False,
        retry_ms: int | None = None,
        crlf: bool = False,
    ) -> None:
        self.shift = shift
        self.as_json = as_json
        self.retry_ms = retry_ms
        self.crlf = crlf
        self._entries = {(a.topic, a.partition): b'"offset":%d}' % a.shown_offset for a in assigned}
        self._around: tuple[str, bytes, bytes] = ("", b"", b"")

    def opening(self) -> bytes:
        """What comes before the first event."""
        return self._ends(OPENING_JSON if self.as_json else OPENING)

    def lines(self, record: Record) -> list[bytes]:
        """The writes that make this record's frame, in order."""
        data = record.line(self.shift)
        if self.as_json:
            return [self._ends(b"%b\n" % data)]
        around = self._around if self._around[0] == record.topic else self._sides(record.topic)
        stamp = b'"timestamp":%d}' % (record.kafka_ms + 1)
        self._entries[record.topic, 0] = stamp
        if b"\n" in data or b"\r" in data:
            parts = data.replace(b"\r", b"\n").split(b"\n")
            body = [b"data: %b\n" % part for i, part in enumerate(parts) if part or i == 0]
            body[-1] += b"\n"
        else:
            body = [b"data: %b\n\n" % data]
        retry = [] if self.retry_ms is None else [b"retry: %d\n" % self.retry_ms]
        out = [b"event: message\n", *retry, b"id: [%b%b%b]\n" % (around[1], stamp, around[2]), *body]
        return [self._ends(line) for line in out] if self.crlf else out

    def comment(self, *, alone: bool) -> bytes:
        """A comment as a block of its own, or as the first line of the frame that follows."""
        return self._ends(b":keep-alive\n\n" if alone else b":keep-alive\n")

    def error(self, message: str) -> list[bytes]:
        """The frame of an error in mid-stream; the server closes after it."""
        data = json.dumps({"message": message, "origin": "KafkaSSE", "name": "KafkaSSEError"}).encode()
        entries = b",".join(_place(topic, partition) + value for (topic, partition), value in self._entries.items())
        out = [b"event: error\n", b"id: [%b]\n" % entries, b"data: %b\n\n" % data]
        return [self._ends(line) for line in out]

    def _ends(self, data: bytes) -> bytes:
        return data.replace(b"\n", b"\r\n") if self.crlf else data

    def _sides(self, topic: str) -> tuple[str, bytes, bytes]:
        """What the id says before and after this topic's value; good until another topic speaks."""
        if (topic, 0) not in self._entries:
            self._entries[topic, 0] = b""
        places = list(self._entries)
        at = places.index((topic, 0))
        before = b"".join(_place(*place) + self._entries[place] + b"," for place in places[:at])
        after = b"".join(b"," + _place(*place) + self._entries[place] for place in places[at + 1 :])
        self._around = (topic, before + _place(topic, 0), after)
        return self._around


def _place(topic: str, partition: int) -> bytes:
    return b'{"topic":"%b","partition":%d,' % (topic.encode(), partition)


def chunk(data: bytes) -> bytes:
    """`data` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def rechunk(data: bytes, largest: int, rng: random.Random) -> Iterator[bytes]:
    """`data` cut into pieces of 1 to `largest` bytes, without regard for lines or UTF-8."""
    at = 0
    while at < len(data):
        size = rng.randint(1, largest)
        yield data[at : at + size]
        at += size


def chunks(lines: Iterable[bytes]) -> bytes:
    """Each line as a chunk of its own, joined for one write to the socket."""
    return b"".join([b"%x\r\n%b\r\n" % (len(line), line) for line in lines])


def half_utf8(frame: bytes) -> int | None:
    """An index inside the last multi-byte character of `frame`; none when it is all ASCII."""
    for index in range(len(frame) - 1, 0, -1):
        if frame[index] & 0xC0 == 0x80:
            return index
    return None
