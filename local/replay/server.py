"""Routes, limits, connections: `/v2/stream/…` is EventStreams, `/_admin/…` is ours, `/healthz` says it lives.

The surprising thing: it listens on the loopback address only, and that is no setting; it invents data.
"""

import asyncio
import contextlib
import logging
import random
import re
from collections import Counter
from typing import Any

from local.replay import admin
from local.replay.assignment import BadRequestError, assign, parse_since, problem
from local.replay.connection import Connection, reset
from local.replay.faults import Faults
from local.replay.frames import FrameWriter
from local.replay.http import LARGEST_HEAD_BYTES, Request, answer, json_answer, read_request, stream_head
from local.replay.log import EventLog
from local.replay.playhead import Playhead
from local.replay.streams import STREAMS, topics_of
from local.replay.truth import GroundTruth
from wikiweir.clock import Clock

ADDRESS = "127.0.0.1"
WRITE_BUFFER_BYTES = 512 * 1024
TICK_SECONDS = 0.25
_LIBRARY_AGENTS = re.compile(
    r"(python-requests|python-urllib|python-httpx|aiohttp|curl|wget|go-http-client|java|okhttp)/?", re.I
)

log_ = logging.getLogger("local.replay")


class ReplayServer:
    """Serves one log until it is closed."""

    def __init__(
        self,
        log: EventLog,
        truth: GroundTruth,
        clock: Clock,
        *,
        playhead: Playhead,
        faults: Faults,
        seed: int = 0,
        fresh_from_oldest: bool = False,
        about: dict[str, Any] | None = None,
    ) -> None:
        """`about`: what the state page says of the source. `seed`: of the faults."""
        self.log = log
        self.truth = truth
        self.clock = clock
        self.playhead = playhead
        self.faults = faults
        self.seed = seed
        self.about = about or {}
        self.rng = random.Random(f"{seed}:admin")
        self.connections: dict[int, Connection] = {}
        self.counts: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.is_paused = False
        self.port = 0
        self.refused_until: float | None = None
        self.changed = asyncio.Event()
        """Set when something a restart must remember has changed."""
        self._fresh_from_oldest = fresh_from_oldest
        self._refusals = 0
        self._cuts = 0
        self._per_client: Counter[str] = Counter()
        self._sent_before = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> int:
        """Listens on the port, or on a free one for 0; returns which."""
        self._server = await asyncio.start_server(
            self._accept, ADDRESS, port, limit=LARGEST_HEAD_BYTES, reuse_address=True, backlog=64
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def serve(self, stop: asyncio.Event) -> None:
        """Keeps the account and the clock going until `stop` is set."""
        while not stop.is_set():
            self.log.advance(self.playhead.now_ms())
            self.truth.flush()
            if self.refused_until is not None and self.clock.monotonic() >= self.refused_until:
                await self._listen_again()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)

    async def close(self) -> None:
        """Stops listening, ends every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.truth.close()

    def set_faults(self, faults: Faults) -> None:
        """Switches faults; what is counted (cuts, refusals, events) is counted anew."""
        self.faults = faults
        self._refusals = self._cuts = 0

    def refuse(self, seconds: float) -> None:
        """New connections are refused (nobody listens) for so long; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.refused_until = self.clock.monotonic() + seconds

    async def _listen_again(self) -> None:
        self.refused_until = None
        await self.start(self.port)

    @property
    def sent(self) -> int:
        """Frames sent on all connections so far."""
        return self._sent_before + sum(c.sent for c in self.connections.values())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            request = await read_request(reader)
            if request is not None:
                await self._route(request, reader, writer)
        except (ValueError, asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
            writer.write(answer(400, f"{error}\n".encode(), "text/plain; charset=utf-8"))
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the server is closing
        finally:
            with contextlib.suppress(ConnectionError, OSError):
                writer.close()

    async def _route(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.path == "/healthz":
            writer.write(json_answer(200, {"status": "ok", "events": self.log.end_seq}))
        elif request.path.startswith("/_admin/"):
            writer.write(await admin.handle(self, request))
            await writer.drain()
        elif request.path.startswith("/v2/stream/") and request.method == "GET":
            await self._stream(request, reader, writer)
        else:
            body = {
                "status": 404,
                "type": "not_found",
                "title": "Not Found",
                "method": request.method,
                "uri": request.target,
            }
            writer.write(json_answer(404, body))

    async def _stream(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["stream_requests"] += 1
        refusal = self._refusal(request)
        if refusal is not None:
            writer.write(refusal)
            return
        client = request.headers.get("x-client-ip") or str((writer.get_extra_info("peername") or ("?",))[0])
        try:
            connection = self._open(request, writer, client)
        except BadRequestError as error:
            self.counts[f"answers_{error.status}"] += 1
            writer.write(json_answer(error.status, error.body, newline="origin" in error.body))
            return
        number = self.counts["connections"]
        self.connections[number] = connection
        self._per_client[client] += 1
        log_.info("connection %d opened: %s %s", number, request.target, request.headers.get("last-event-id", "fresh"))
        streaming = asyncio.ensure_future(connection.run())
        leaving = asyncio.ensure_future(_until_eof(reader))
        try:
            await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if streaming.done() and not streaming.cancelled():
                error_ = streaming.exception()
                if error_ is not None and not isinstance(error_, ConnectionError):
                    raise error_
        finally:
            streaming.cancel()
            leaving.cancel()
            await asyncio.gather(streaming, leaving, return_exceptions=True)
            self._sent_before += connection.sent
            self._per_client[client] -= 1
            del self.connections[number]
            self.ended[connection.ended or "client left"] += 1
            log_.info(
                "connection %d over after %d events: %s", number, connection.sent, connection.ended or "client left"
            )
        if connection.ended == "rst":
            reset(writer)
        elif connection.ended is not None:
            await writer.drain()

    def _refusal(self, request: Request) -> bytes | None:
        """What is answered instead of a stream, if a switch says so."""
        faults = self.faults
        if faults.status is not None and (faults.status_count is None or self._refusals < faults.status_count):
            self._refusals += 1
            self.counts[f"answers_{faults.status}"] += 1
            extra = [("retry-after", faults.retry_after)] if faults.retry_after is not None else []
            html = f"<!DOCTYPE html>\n<html><head><title>Error {faults.status}</title></head><body><p>Our servers are under maintenance.</p></body></html>\n"  # noqa: E501
            return answer(faults.status, html.encode(), "text/html; charset=utf-8", extra)
        agent = request.headers.get("user-agent", "").strip()
        if faults.check_user_agent and (not agent or _LIBRARY_AGENTS.match(agent)):
            self.counts["answers_403"] += 1
            text = "Please set a user-agent and respect our robot policy https://w.wiki/4wJS. See also T400119.\n"
            return answer(403, text.encode(), "text/plain; charset=utf-8")
        return None

    def _open(self, request: Request, writer: asyncio.StreamWriter, client: str) -> Connection:
        faults = self.faults
        if faults.max_connections is not None and self._per_client[client] >= faults.max_connections:
            detail = "Your HTTP client is likely opening too many concurrent connections."
            title = "Too Many Concurrent Connections From Your Client IP"
            raise problem(429, "too_many_requests", title, detail, request.target)
        names = request.path.removeprefix("/v2/stream/").split(",")
        unknown = [name for name in names if name not in STREAMS]
        if unknown:
            raise problem(400, "not_found", "Stream Not Found", f"Invalid streams: {','.join(unknown)}", request.target)
        since_ms = parse_since(request.query.get("since"), request.target)
        topics = topics_of(names)
        if faults.no_topics:
            message = (
                "No topics available for consumption. This likely means that the configured allowedTopics "
                "do not currently exist."
            )
            about = {"origin": "KafkaSSE", "name": "ConfigurationError", "allowedTopics": topics, "statusCode": 500}
            raise BadRequestError(500, {"message": message, **about})
        self.playhead.start()
        self.log.advance(self.playhead.now_ms())
        assigned = assign(
            self.log,
            topics,
            last_event_id=request.headers.get("last-event-id"),
            since_ms=since_ms,
            shift=faults.cluster_shift,
            fresh_from_oldest=self._fresh_from_oldest,
        )
        self.log.start(self.playhead.now_ms())
        accept = request.headers.get("accept")
        as_json = accept is not None and accept.startswith("application/json")
        kind = "application/json" if as_json else "text/event-stream"
        transport = writer.transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        writer.write(stream_head(kind if accept is None else f"{kind}; charset=utf-8"))
        self.counts["connections"] += 1
        frames = FrameWriter(
            assigned, shift=faults.cluster_shift, as_json=as_json, retry_ms=faults.retry_ms, crlf=faults.crlf
        )
        connection = Connection(
            writer, self.log, assigned, frames, lambda: self.faults, self._may_cut, self.truth, self.clock,
            self.playhead.now_ms, random.Random(f"{self.seed}:{self.counts['connections']}"),
        )  # fmt: skip
        connection.is_paused = self.is_paused
        return connection

    def _may_cut(self) -> bool:
        if self.faults.cuts is not None and self._cuts >= self.faults.cuts:
            return False
        self._cuts += 1
        return True


async def _until_eof(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65_536):
            pass
