"""A client that sees everything: status, headers, HTTP chunks, and how the stream ended."""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 20.0
FRAME = re.compile(rb"(?::.*\n)*event: (\w+)\n(?:retry: (\d+)\n)?id: (.*)\ndata: (.*)\n\n")


@dataclass(frozen=True, slots=True)
class Event:
    """A complete frame."""

    kind: str
    id: list[dict[str, Any]]
    data: bytes

    @property
    def event(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.data)
        return document


class Stream:
    """One request, read as far as asked."""

    def __init__(self, port: int, path: str = "/v2/stream/recentchange", **headers: str) -> None:
        self.ended: str | None = None
        """clean (last chunk seen), abrupt (FIN without it) or reset."""
        self.chunks: list[bytes] = []
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        given = {"Accept": "text/event-stream", "User-Agent": "test/1"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in given.items() if v), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        self._buffer = b""
        self._body = b""
        while b"\r\n\r\n" not in self._buffer and self._more():
            pass
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def _more(self) -> bool:
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionResetError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = self.ended or "abrupt"
            return False
        self._buffer += data
        return True

    def body(self) -> bytes:
        """The whole body of an answer with a length."""
        while len(self._buffer) < int(self.headers["content-length"]) and self._more():
            pass
        return self._buffer

    def read_chunk(self) -> bytes | None:
        """The next HTTP chunk; none at the end."""
        while True:
            size, line_end, rest = self._buffer.partition(b"\r\n")
            if line_end:
                length = int(size, 16)
                if length == 0:
                    self.ended = "clean"
                    return None
                if len(rest) >= length + 2:
                    self._buffer = rest[length + 2 :]
                    self.chunks.append(rest[:length])
                    return rest[:length]
            if not self._more():
                return None

    @property
    def leftover(self) -> bytes:
        """What came after the last complete chunk."""
        return self._buffer

    @property
    def text(self) -> bytes:
        """The body so far, chunks joined."""
        return b"".join(self.chunks)

    def events(self, count: int | None = None) -> list[Event]:
        """The next `count` complete frames, or all until the end."""
        out: list[Event] = []
        for event in self._frames():
            out.append(event)
            if count is not None and len(out) >= count:
                break
        return out

    def falls_silent(self, seconds: float, within: int = 10_000) -> bool:
        """Read until nothing comes for so long; false where the stream ends, or goes on for so many events."""
        patience = self._socket.gettimeout()
        self._socket.settimeout(seconds)
        try:
            self.events(within)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(patience)
        return False

    def _frames(self) -> Iterator[Event]:
        while True:
            end = self._body.find(b"\n\n")
            if end < 0:
                chunk = self.read_chunk()
                if chunk is None:
                    return
                # over the whole, because a CR LF may be cut in two by a chunk border
                self._body = (self._body + chunk).replace(b"\r\n", b"\n")
                continue
            frame, self._body = self._body[: end + 2], self._body[end + 2 :]
            match = FRAME.fullmatch(frame)
            if match:
                yield Event(match[1].decode(), json.loads(match[3]), match[4])
