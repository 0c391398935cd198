"""One HTTP connection to the source, read by a thread of its own, from its opening to the reason of its end.

The surprising thing: the thread only moves bytes. It stops reading while `MAX_BUFFERED_BYTES` lie untaken, so that the
socket fills up and the server waits (back-pressure), and it is never joined: a blocked `recv` is woken by shutting the
socket down.
"""

import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import requests
import urllib3

from ingestion.backoff import Cause, parse_retry_after
from wikiweir.clock import Clock

BLOCK_BYTES = 256 * 1024
MAX_BUFFERED_BYTES = 1024**2
CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Opened:
    """The server answers with an event stream."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over. `refusal`: trying again cannot help, and why."""

    cause: Cause
    detail: str
    retry_after: float | None = None
    refusal: str | None = None


class Connection:
    """Starts to connect at once. `take` yields `Opened`, then bytes in large blocks, then one `Ended`."""

    def __init__(self, url: str, headers: dict[str, str], *, read_seconds: float, clock: Clock) -> None:
        self._url = url
        self._headers = headers
        self._read_seconds = read_seconds
        self._clock = clock
        self._queue: SimpleQueue[Opened | Ended | bytes] = SimpleQueue()
        self._later: Opened | Ended | None = None
        self._put_bytes = 0
        self._taken_bytes = 0
        self._room = threading.Event()
        self._is_stopped = False
        self._response: requests.Response | None = None
        threading.Thread(target=self._run, name="source", daemon=True).start()

    def take(self, seconds: float) -> Opened | Ended | bytes | None:
        """The next thing, waiting at most `seconds`; bytes come joined, all that are there."""
        if self._later is not None:
            later, self._later = self._later, None
            return later
        blocks = []
        try:
            item = self._queue.get(timeout=seconds)
            while isinstance(item, bytes):
                blocks.append(item)
                item = self._queue.get_nowait()
        except Empty:
            item = None
        if not blocks:
            return item
        self._later = item
        joined = b"".join(blocks)
        self._taken_bytes += len(joined)
        self._room.set()
        return joined

    def stop(self) -> None:
        """Let go of the socket; the thread ends by itself."""
        self._is_stopped = True
        self._room.set()
        response = self._response
        if response is not None:
            try:
                response.raw.shutdown()
            except (OSError, ValueError):  # already closed by either side
                return

    def _run(self) -> None:
        session = requests.Session()
        if urllib3.util.parse_url(self._url).host in ("127.0.0.1", "localhost", "[::1]"):
            session.trust_env = False  # a proxy of the environment cannot reach our loopback
        with session:
            try:
                response = session.get(
                    self._url, headers=self._headers, stream=True, timeout=(CONNECT_SECONDS, self._read_seconds)
                )
            except requests.RequestException as error:
                self._queue.put(Ended(Cause.CONNECT, _short(error)))
                return
            self._response = response
            with response:
                self._queue.put(self._judge(response) or self._read(response))

    def _judge(self, response: requests.Response) -> Ended | None:
        """Why this answer is no event stream; none if it is one."""
        status = response.status_code
        kind = response.headers.get("Content-Type", "")
        if status == requests.codes.ok and kind.startswith("text/event-stream"):
            return None
        retry_after = parse_retry_after(response.headers.get("Retry-After"), self._clock.now())
        detail = f"HTTP {status} {response.reason or ''} {kind}: {_body(response)}"
        if status == requests.codes.too_many_requests:
            return Ended(Cause.HTTP_429, detail, retry_after)
        if status >= 500 or status in (requests.codes.request_timeout, requests.codes.too_early):
            return Ended(Cause.HTTP_5XX, detail, retry_after)
        if status >= 400:
            refusal = (
                f"expected an event stream, {self._url} answered {detail}; asking again cannot help: check "
                "WIKIWEIR_SOURCE_URL, WIKIWEIR_STREAMS, WIKIWEIR_SINCE and WIKIWEIR_CONTACT"
            )
            return Ended(Cause.HTTP_4XX, detail, refusal=refusal)
        return Ended(Cause.NOT_A_STREAM, detail, retry_after)

    def _read(self, response: requests.Response) -> Ended:
        self._queue.put(Opened())
        raw = response.raw
        try:
            if raw.chunked:
                for block in raw.read_chunked(BLOCK_BYTES, decode_content=False):
                    self._hand_on(block)
            else:
                while block := raw.read1(BLOCK_BYTES, decode_content=False):
                    self._hand_on(block)
        except urllib3.exceptions.ReadTimeoutError:
            return Ended(Cause.READ_TIMEOUT, f"no byte for {self._read_seconds:g} s")
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            is_reset = any(isinstance(part, OSError) for part in (error, *error.args))
            return Ended(Cause.RESET if is_reset else Cause.EOF, _short(error))
        return Ended(Cause.EOF, "the server ended the body")

    def _hand_on(self, block: bytes) -> None:
        self._put_bytes += len(block)
        self._queue.put(block)
        while self._put_bytes - self._taken_bytes > MAX_BUFFERED_BYTES and not self._is_stopped:
            self._room.clear()
            if self._put_bytes - self._taken_bytes > MAX_BUFFERED_BYTES:
                self._room.wait(1.0)


def _body(response: requests.Response) -> str:
    """The beginning of an error's body, on one line."""
    try:
        body: bytes = response.raw.read(2048) or b""
    except (urllib3.exceptions.HTTPError, OSError):
        return "(no body)"
    return " ".join(body.decode("utf-8", "replace").split())[:300]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
