"""Complete SSE frames out of a byte stream, and events out of frames through sseclient-py.

The surprising thing: sseclient-py dispatches a truncated event at the end of its input, with the full event's id, and
dies on a byte that is not UTF-8. So it only ever sees runs of *complete* frames (what is left at the end of a
connection is dropped with the `Framer`), and decodes them as Latin-1: one byte one character, hence never an error, and
`data.encode("latin-1")` gives back the exact bytes of the data line.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import sseclient

DELIMITER = b"\n\n"
RETRY = re.compile(rb"^retry: ?([0-9]{1,9})$", re.MULTILINE)
PREFIX_BYTES = 64 * 1024
"""How much of a record that cannot become an event is kept."""


class Event(Protocol):
    """What sseclient-py yields; text fields hold bytes as Latin-1 characters."""

    id: str | None
    event: str
    data: str


@dataclass(frozen=True, slots=True)
class OversizeFrame:
    """A frame beyond the buffer's bound: its first bytes, its length, and the sha256 (hex) of all of it."""

    prefix: bytes
    length: int
    sha256: str


class _Digest:
    """Follows a frame that is too large to keep."""

    def __init__(self, begun: bytes) -> None:
        self._prefix = begun[:PREFIX_BYTES]
        self._length = 0
        self._sha256 = hashlib.sha256()
        self.take(begun)

    def take(self, more: bytes) -> None:
        self._length += len(more)
        self._sha256.update(more)

    def close(self) -> OversizeFrame:
        return OversizeFrame(self._prefix, self._length, self._sha256.hexdigest())


class Framer:
    """Cuts one connection's bytes, fed in any portions, into runs of complete frames.

    Line ends CRLF, CR and mixtures become LF first (the SSE standard allows all of them, sseclient-py no mixture; a
    JSON data line holds neither). At most `max_bytes` of an unfinished frame are buffered.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._ends_in_cr = False
        self._oversize: _Digest | None = None

    def feed(self, block: bytes) -> list[bytes | OversizeFrame]:
        """Everything that `block` completes, in order: runs of one or more whole frames, and oversize frames."""
        seen = max(0, len(self._buffer) - 1)
        self._buffer += self._unify_line_ends(block)
        complete: list[bytes | OversizeFrame] = []
        if self._oversize is not None:
            end = self._buffer.find(DELIMITER, seen)
            if end < 0:
                self._skip()
                return complete
            self._oversize.take(bytes(self._buffer[: end + len(DELIMITER)]))
            del self._buffer[: end + len(DELIMITER)]
            complete.append(self._oversize.close())
            self._oversize = None
            seen = 0
        end = self._buffer.rfind(DELIMITER, seen)
        if end >= 0:
            complete.append(bytes(self._buffer[: end + len(DELIMITER)]))
            del self._buffer[: end + len(DELIMITER)]
        if len(self._buffer) > self._max_bytes:
            self._skip()
        return complete

    def _skip(self) -> None:
        """Digest the buffer but its last byte, which may be the first half of the delimiter."""
        skipped = bytes(self._buffer[:-1])
        if self._oversize is None:
            self._oversize = _Digest(skipped)
        else:
            self._oversize.take(skipped)
        del self._buffer[:-1]

    def _unify_line_ends(self, block: bytes) -> bytes:
        if self._ends_in_cr:
            block = b"\r" + block
            self._ends_in_cr = False
        if b"\r" not in block:
            return block
        if block.endswith(b"\r"):  # perhaps the first half of CRLF
            self._ends_in_cr = True
            block = block[:-1]
        return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse(run: bytes) -> Iterator[Event]:
    """The events of a run of complete frames; comments and frames without data yield nothing."""
    return cast(Iterator[Event], sseclient.SSEClient(iter((run,)), char_enc="latin-1").events())


def retry_milliseconds(run: bytes) -> int | None:
    """The last `retry:` field of a run; sseclient-py shows none that stands in a frame without data."""
    if b"retry:" not in run:
        return None
    found = RETRY.findall(run)
    return int(found[-1]) if found else None
