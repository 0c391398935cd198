"""What the producer's tests share: a sink in memory, a clock set by hand, frames, a server that follows a script."""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ingestion.framing import Event, parse
from ingestion.metrics import Tally
from ingestion.relay import Relay
from wikiweir.clock import SystemClock
from wikiweir.records import Cursor
from wikiweir.settings import Settings

EQIAD = ("eqiad.mediawiki.recentchange", 0)
CODFW = ("codfw.mediawiki.recentchange", 0)
T0 = 1_790_000_000_000
"""Kafka milliseconds of the first invented event."""


class HandClock:
    """Time passes when told to, and by `sleep`."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.fromtimestamp(T0 / 1000, UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def now_ms(self) -> int:
        return int(self._now.timestamp() * 1000)

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)


@dataclass(slots=True)
class Sent:
    """A record in the memory sink, and its fate."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]
    timestamp_ms: int
    is_done: bool = False
    exception: BaseException | None = None


@dataclass(slots=True)
class MemorySink:
    """Keeps what is sent; acknowledges at once, or when told (`is_eager=False`)."""

    is_eager: bool = True
    sent: list[Sent] = field(default_factory=list)
    clock: HandClock = field(default_factory=HandClock)

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes,
        headers: list[tuple[str, bytes]],
        timestamp_ms: int,
    ) -> Sent:
        record = Sent(topic, partition, key, value, dict(headers), timestamp_ms, is_done=self.is_eager)
        self.sent.append(record)
        return record

    def wait(self, delivery: Any, seconds: float) -> None:
        if not delivery.is_done:
            self.clock.sleep(seconds)

    def close(self, seconds: float) -> None:
        pass

    def of(self, topic: str) -> list[Sent]:
        return [record for record in self.sent if record.topic == topic]


def event_id(*entries: tuple[tuple[str, int], int]) -> str:
    """An SSE id; a time of -1 is the idle entry `offset: -1`."""
    return json.dumps(
        [
            {"topic": t, "partition": p, **({"offset": -1} if ms < 0 else {"timestamp": ms + 1})}
            for (t, p), ms in entries
        ],
        separators=(",", ":"),
    )


def data(number: int, *, topic: tuple[str, int] = EQIAD, at_ms: int | None = None, **fields: Any) -> bytes:
    """The data line of an invented event."""
    at = datetime.fromtimestamp((T0 + number if at_ms is None else at_ms) / 1000, UTC)
    meta = {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "dt": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "domain": "nowhere.example.org",
        "topic": topic[0],
        "partition": topic[1],
        "offset": 6_500_000_000 + number,
    }
    document = {"$schema": "/mediawiki/recentchange/1.0.0", "meta": meta, "type": "edit", **fields}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def frame(line: bytes, identity: str | None, event: str = "message") -> bytes:
    """An SSE frame as the source sends it."""
    middle = b"" if identity is None else f"id: {identity}\n".encode()
    return f"event: {event}\n".encode() + middle + b"data: " + line + b"\n\n"


def frames(numbers: range, *, topic: tuple[str, int] = EQIAD, idle: tuple[str, int] = CODFW) -> bytes:
    """Frames of invented events, one a millisecond."""
    return b"".join(frame(data(n, topic=topic), event_id((topic, T0 + n), (idle, -1))) for n in numbers)


def an_event(line: bytes, identity: str | None = None) -> Event:
    """The event of a frame around `line`."""
    (event,) = parse(frame(line, identity))
    return event


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **{"kafka_partitions": 4, "streams": "recentchange", **changes})  # type: ignore[call-arg]


def relay(sink: MemorySink, cursor: Cursor | None = None, **changes: Any) -> tuple[Relay, Tally, HandClock]:
    """A relay over memory, its tally, its clock."""
    clock, tally = sink.clock, Tally()
    is_progress_acknowledged = changes.pop("is_progress_acknowledged", True)
    made = Relay(
        sink,
        settings(**changes),
        cursor or Cursor(T0, {}),
        run="run",
        clock=clock,
        tally=tally,
        is_progress_acknowledged=is_progress_acknowledged,
    )
    return made, tally, clock


class ScriptedServer:
    """Answers the n-th connection by the n-th step (all later ones by the last); keeps the heads of requests."""

    def __init__(self, *script: Callable[[socket.socket], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests: list[str] = []
        self.times: list[float] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def header(self, number: int, name: str) -> str | None:
        """A header of the n-th request."""
        for line in self.requests[number].split("\r\n"):
            if line.lower().startswith(name.lower() + ":"):
                return line.split(":", 1)[1].strip()
        return None

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(65536)
                if not received:
                    return
                head += received
            step = self._script[min(len(self.requests), len(self._script) - 1)]
            self.times.append(SystemClock().monotonic())
            self.requests.append(head.decode())
            try:
                step(connection)
            except OSError:  # the client left first
                return


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


def stream(
    *bodies: bytes, end: bytes = b"0\r\n\r\n", hold: threading.Event | None = None
) -> Callable[[socket.socket], None]:
    """Send the bodies as chunks, wait for `hold` (at most 20 s), then `end`."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD + b"".join(chunk(body) for body in bodies))
        if hold is not None:
            hold.wait(20)
        connection.sendall(end)

    return answer


def page(status: str, *headers: str, body: bytes = b"<html><body>no</body></html>") -> Callable[[socket.socket], None]:
    """An HTML page instead of a stream."""

    def answer(connection: socket.socket) -> None:
        lines = [f"HTTP/1.1 {status}", "Content-Type: text/html", f"Content-Length: {len(body)}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)

    return answer
