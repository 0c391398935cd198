"""One client's stream: reads the log from its assignment on, writes frames, and goes wrong on request.

The surprising thing: back-pressure is all there is of flow control. When the client stops reading, `drain`
waits, and so does this connection's place in the log.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable

from local.replay.assignment import Assigned
from local.replay.faults import Faults
from local.replay.frames import FrameWriter, chunk, chunks, half_utf8, rechunk
from local.replay.log import EventLog, Record
from local.replay.truth import GroundTruth
from wikiweir.clock import Clock

BATCH = 200
"""Records a write: the most that can be in the socket's buffer beyond what the client took is a few of these."""
IDLE_SECONDS = 0.02
KEEP_ALIVE_SECONDS = 10.0
"""How often a comment is sent after the end of a recording. (The real source, which has no end, sends none.) A client
cannot tell an end from a dead socket: it would reconnect for ever and be sent the last minutes each time."""
LAST_CHUNK = b"0\r\n\r\n"
_REMEMBERED = 50


class Connection:
    """A stream in progress."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        log: EventLog,
        assigned: list[Assigned],
        frames: FrameWriter,
        faults: Callable[[], Faults],
        may_cut: Callable[[], bool],
        truth: GroundTruth,
        clock: Clock,
        now_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        """`faults` and `now_ms` (the log's time) are asked again and again; `may_cut` before each cut."""
        self._writer = writer
        self._log = log
        self._from = {a.topic: a.start_offset for a in assigned if a.partition == 0}
        self._frames = frames
        self._faults = faults
        self._may_cut = may_cut
        self._truth = truth
        self._clock = clock
        self._now_ms = now_ms
        self._rng = rng
        self._recent: list[Record] = []
        self._factor = rng.uniform(-1, 1)
        self._seen = faults()
        self._since = clock.monotonic()
        self._written_at = self._since
        self._since_sent = 0
        self._spared = False
        self._credit_at = self._since
        self._credit = 0.0
        self.seq = min((log.seq_of(topic, offset) for topic, offset in self._from.items()), default=log.end_seq)
        self.sent = 0
        """Frames sent, re-sent ones included."""
        self.sent_bytes = 0
        self.is_paused = False
        self.ended: str | None = None
        """How the server ended it; none while it runs, or when the client left."""
        self.cut_now: str | None = None
        """Set from outside: end in this mode at the next opportunity."""

    async def run(self) -> None:
        """Streams until a fault ends it; the caller cancels when the client leaves."""
        self._truth.begin(self.seq)
        await self._write(chunk(self._frames.opening()))
        while self.ended is None:
            faults = self._faults()
            if faults is not self._seen:  # what was switched while the stream ran counts from then on
                self._seen, self._since, self._since_sent, self._spared = (
                    faults,
                    self._clock.monotonic(),
                    self.sent,
                    False,
                )
            mode = self._due_cut(faults)
            if mode is not None and self._end(mode):
                return
            silent = faults.silence_after_events
            if self.is_paused or faults.silence or (silent is not None and self._progress() >= silent):
                await asyncio.sleep(IDLE_SECONDS)
                continue
            records, position = self._next(faults, 1 if mode is not None else BATCH)
            if records:
                await self._send(records, faults)
                self._written_at = self._clock.monotonic()
            elif position == self.seq:
                await self._wait()
            self.seq = position

    async def _wait(self) -> None:
        idle = self._clock.monotonic() - self._written_at
        if idle >= KEEP_ALIVE_SECONDS and self._log.is_finite and self._log.is_exhausted and not self._frames.as_json:
            await self._write(chunk(self._frames.comment(alone=True)))
            self._written_at = self._clock.monotonic()
        await asyncio.sleep(IDLE_SECONDS)

    def _progress(self) -> int:
        return self.sent - self._since_sent

    def _due_cut(self, faults: Faults) -> str | None:
        if self.cut_now is not None:
            return self.cut_now
        if faults.error_after_events is not None and self._progress() >= faults.error_after_events:
            return "error"
        factor = 1 + self._factor * faults.cut_jitter
        elapsed = self._clock.monotonic() - self._since
        late = faults.cut_after_s is not None and elapsed >= faults.cut_after_s * factor
        full = faults.cut_after_events is not None and self._progress() >= faults.cut_after_events * factor
        if not (late or full) or self._spared:
            return None
        return faults.cut_mode

    def _next(self, faults: Faults, limit: int) -> tuple[list[Record], int]:
        """Records to send now, and the place in the log after them."""
        for bound in (faults.cut_after_events, faults.error_after_events, faults.silence_after_events):
            if bound is not None:
                limit = min(limit, max(bound - self._progress(), 1))
        if faults.max_rate is not None:
            now = self._clock.monotonic()
            self._credit = min(self._credit + (now - self._credit_at) * faults.max_rate, max(faults.max_rate, 1.0))
            self._credit_at = now
            limit = min(limit, int(self._credit))
            if limit <= 0:
                return [], self.seq
        self._log.advance(self._now_ms())
        read = self._log.read(self.seq, limit)[:limit]
        if not read:
            return [], self.seq
        wanted = [r for r in read if r.offset >= self._from.get(r.topic, r.offset + 1)]
        self._credit -= len(wanted)
        return wanted, read[-1].seq + 1

    async def _send(self, records: list[Record], faults: Faults) -> None:
        lines: list[bytes] = []
        for record in records:
            if faults.comment_lines and self._rng.random() < faults.comment_lines:
                lines.append(self._frames.comment(alone=self._rng.random() < 0.5))
            lines += self._frames.lines(record)
            if faults.redeliver:
                self._recent = [*self._recent[1 - _REMEMBERED :], record]
                if self._rng.random() < faults.redeliver:
                    lines += self._frames.lines(self._rng.choice(self._recent))
                    self.sent += 1
        if faults.rechunk:
            data = b"".join(map(chunk, rechunk(b"".join(lines), faults.rechunk, self._rng)))
        elif faults.coalesce:
            data = chunk(b"".join(lines))
        else:
            data = chunks(lines)
        sent_ms = self._clock.now_ms()
        if faults.trickle_bytes_per_s:
            await self._trickle(data)
        else:
            await self._write(data)
        self.sent += len(records)
        self._truth.sent(records, sent_ms, self._frames.shift)

    async def _trickle(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            rate = self._faults().trickle_bytes_per_s
            size = len(data) if rate is None else max(int(rate / 10), 1)
            await self._write(data[at : at + size])
            at += size
            if at < len(data):
                await asyncio.sleep(0.1 if rate is None or rate >= 10 else 1 / rate)

    def _end(self, mode: str) -> bool:
        """Ends the stream in that way; false when it has to wait for a record to break."""
        broken = b""
        if mode in ("half_frame", "half_utf8", "half_id", "mid_chunk"):
            self._log.advance(self._now_ms())
            record = next(
                (r for r in self._log.read(self.seq, BATCH) if r.offset >= self._from.get(r.topic, r.offset + 1)), None
            )
            if record is None:
                return False
            broken = self._broken(self._frames.lines(record), mode)
            if not broken:
                return False
        if mode != "error" and self.cut_now is None and not self._may_cut():
            self._spared = True
            return False
        if mode == "error":
            self._writer.write(chunks(self._frames.error("Local: Broker transport failure")) + LAST_CHUNK)
        elif mode == "mid_chunk":
            self._writer.write(b"%x\r\n" % (2 * len(broken)) + broken)
        elif mode not in ("abrupt", "rst"):
            self._writer.write((chunk(broken) if broken else b"") + LAST_CHUNK)
        if mode == "rst":
            reset(self._writer)
        self.ended = mode
        return True

    @staticmethod
    def _broken(lines: list[bytes], mode: str) -> bytes:
        frame = b"".join(lines)
        if mode == "half_utf8":
            at = half_utf8(frame)
            return frame[:at] if at else b""
        if mode == "half_id":
            at = frame.find(b"id: ")
            return frame[: at + 40] if at >= 0 else frame[: len(frame) // 4]
        return frame[: len(frame) - len(lines[-1]) // 2]

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self.sent_bytes += len(data)
        await self._writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes the socket so that the peer sees a TCP reset."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
