"""The source against a real socket that follows a script: every end of a connection, and how it comes back."""

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from ingestion.backoff import Cause
from ingestion.cursor import ResumePoint, resume_point
from ingestion.framing import parse
from ingestion.metrics import Tally
from ingestion.source import ConfigurationError, Source, user_agent
from tests.unit.ingestion.support import (
    CODFW,
    EQIAD,
    STREAM_HEAD,
    T0,
    HandClock,
    ScriptedServer,
    chunk,
    data,
    frames,
    page,
    settings,
    stream,
)
from wikiweir.clock import SystemClock
from wikiweir.records import Cursor

Step = Callable[[socket.socket], None]
FIRST, SECOND = frames(range(3)), frames(range(3, 6))
IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(6)]


class Waits(SystemClock):
    """Real time, but waits between connections are only written down."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds


class Reading:
    """A source on a scripted server, and what it has read."""

    def __init__(self, *script: Step, point: ResumePoint | None = None, healthy_seconds: float = 60, read: float = 20):
        self.server = ScriptedServer(*script)
        self.tally, self.clock = Tally(), Waits()
        self.ids: list[str] = []
        self.source = Source(
            settings(source_url=self.server.url, read_timeout_seconds=read),
            lambda: point or resume_point(Cursor(T0, {}), 120_000),
            clock=self.clock,
            chance=random.Random(1),
            tally=self.tally,
            healthy_seconds=healthy_seconds,
        )

    def until(self, is_done: Callable[[], bool], seconds: float = 10) -> None:
        deadline = SystemClock().monotonic() + seconds
        while not is_done():
            assert SystemClock().monotonic() < deadline, (self.ids, self.tally)
            for run in self.source.poll(0.05):
                assert isinstance(run, bytes)
                for event in parse(run):
                    if event.event == "error":
                        self.source.fail(Cause.ERROR_FRAME, event.data)
                    else:
                        self.ids.append(event.data.split('"id":"')[1][:36])


@pytest.fixture
def reading() -> Iterator[Callable[..., Reading]]:
    made: list[Reading] = []

    def make(*script: Step, **options: object) -> Reading:
        made.append(Reading(*script, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.source.close()
        one.server.close()


def reset(connection: socket.socket) -> None:
    connection.sendall(STREAM_HEAD + chunk(FIRST))
    threading.Event().wait(0.3)  # a reset overtakes what has not been read
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def unchunked(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + FIRST)


@pytest.mark.parametrize(
    ("first", "cause"),
    [
        (stream(FIRST), Cause.EOF),
        (stream(FIRST, end=b""), Cause.EOF),
        (stream(FIRST, end=b"ffff\r\nhalf"), Cause.EOF),
        (stream(FIRST, SECOND[:-1]), Cause.EOF),
        (stream(FIRST, SECOND[:200]), Cause.EOF),
        (stream(FIRST + b'data: {"title":"Z\xc3'), Cause.EOF),
        (unchunked, Cause.EOF),
        (reset, Cause.RESET),
    ],
    ids=["eof", "no-last-chunk", "in-a-chunk", "last-newline", "half-frame", "half-character", "unchunked", "reset"],
)
def test_every_end_is_followed_by_a_new_connection_and_nothing_truncated_is_seen(
    reading: Callable[..., Reading], first: Step, cause: Cause
) -> None:
    made = reading(first, stream(SECOND, hold=threading.Event()))
    made.until(lambda: made.ids[-1:] == IDS[-1:])
    assert list(dict.fromkeys(made.ids)) == IDS
    assert made.tally.reconnects == {cause: 1}


def test_three_chunks_a_frame_and_single_bytes_are_all_the_same(reading: Callable[..., Reading]) -> None:
    lines = FIRST.splitlines(keepends=True)
    singles = [SECOND[n : n + 1] for n in range(len(SECOND))]
    made = reading(stream(b":ok\n\n", *lines, *singles, hold=threading.Event()))
    made.until(lambda: len(made.ids) == 6)
    assert made.ids == IDS


def test_crlf(reading: Callable[..., Reading]) -> None:
    made = reading(stream(FIRST.replace(b"\n", b"\r\n"), hold=threading.Event()))
    made.until(lambda: len(made.ids) == 3)


def test_a_silent_socket_is_left_after_the_read_time_out(reading: Callable[..., Reading]) -> None:
    hold = threading.Event()
    made = reading(stream(FIRST, hold=hold), stream(SECOND, hold=hold), read=0.5)
    made.until(lambda: len(made.ids) == 6)
    assert made.tally.reconnects == {Cause.READ_TIMEOUT: 1}
    hold.set()


def test_after_a_healthy_period_a_cut_is_answered_at_once(reading: Callable[..., Reading]) -> None:
    made = reading(stream(FIRST), stream(SECOND, hold=threading.Event()), healthy_seconds=0)
    made.until(lambda: len(made.ids) == 6)
    assert made.tally.reconnects == {Cause.PLANNED_CUT: 1}
    assert made.clock.skipped == 0


def test_429_with_html_waits_as_long_as_it_says(reading: Callable[..., Reading]) -> None:
    made = reading(page("429 Too Many Requests", "Retry-After: 7"), stream(FIRST, hold=threading.Event()))
    made.until(lambda: len(made.ids) == 3)
    assert made.tally.reconnects == {Cause.HTTP_429: 1}
    assert 7 <= made.clock.skipped <= 8.2


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Service Unavailable", "408 Request Timeout"])
def test_5xx_comes_back_soon(reading: Callable[..., Reading], status: str) -> None:
    made = reading(page(status), page(status), stream(FIRST, hold=threading.Event()))
    made.until(lambda: len(made.ids) == 3)
    assert made.tally.reconnects == {Cause.HTTP_5XX: 2}
    assert made.clock.skipped <= 3.2


def test_html_with_200_is_no_stream(reading: Callable[..., Reading]) -> None:
    made = reading(page("200 OK"), stream(FIRST, hold=threading.Event()))
    made.until(lambda: len(made.ids) == 3)
    assert made.tally.reconnects == {Cause.NOT_A_STREAM: 1}


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found"])
def test_a_wrong_request_stops_with_what_to_do(reading: Callable[..., Reading], status: str) -> None:
    made = reading(page(status, body=b"Invalid streams: meadow"))
    with pytest.raises(ConfigurationError, match=r"Invalid streams: meadow.*WIKIWEIR_STREAMS"):
        made.until(lambda: False)


def test_an_error_frame_ends_the_connection(reading: Callable[..., Reading]) -> None:
    error = b'event: error\ndata: {"message":"broker gone"}\n\n'
    made = reading(stream(FIRST + error, hold=threading.Event()), stream(SECOND, hold=threading.Event()))
    made.until(lambda: len(made.ids) == 6)
    assert made.tally.reconnects == {Cause.ERROR_FRAME: 1}


def test_nobody_there() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    tally, clock = Tally(), Waits()
    point = resume_point(Cursor(T0, {}), 0)
    source = Source(settings(source_url=url), lambda: point, clock=clock, chance=random.Random(1), tally=tally)
    while tally.reconnects.get(Cause.CONNECT, 0) < 3:
        source.poll(0.05)
    assert "waiting" in tally.source_state


def test_what_the_server_is_asked(reading: Callable[..., Reading]) -> None:
    made = reading(stream(FIRST, hold=threading.Event()))
    made.until(lambda: len(made.ids) == 3)
    assert made.server.requests[0].startswith(f"GET /v2/stream/recentchange?since={T0} HTTP/1.1\r\n")
    assert made.server.header(0, "Accept") == "text/event-stream"
    assert made.server.header(0, "Accept-Encoding") == "identity"
    assert made.server.header(0, "Last-Event-ID") is None
    agent = made.server.header(0, "User-Agent")
    assert agent
    assert agent.startswith("wikiweir/")


def test_known_topics_are_asked_for_by_last_event_id(reading: Callable[..., Reading]) -> None:
    point = resume_point(Cursor(T0, {EQIAD: T0 + 500_000, CODFW: T0}), 120_000)
    made = reading(stream(FIRST, hold=threading.Event()), point=point)
    made.until(lambda: len(made.ids) == 3)
    assert made.server.header(0, "Last-Event-ID") == point.last_event_id
    assert "since" not in made.server.requests[0].split("\r\n")[0]


def test_an_unread_source_fills_the_socket_and_no_memory(reading: Callable[..., Reading]) -> None:
    sent = [0]

    def endless(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD)
        body = chunk(b"data: " + b"x" * 100_000 + b"\n\n")
        while True:
            connection.sendall(body)
            sent[0] += len(body)

    made = reading(endless)
    made.source.poll(1)
    made.source.poll(1)
    before = -1
    while sent[0] != before:
        before = sent[0]
        threading.Event().wait(0.5)
    assert sent[0] < 24 * 1024**2, "one megabyte of ours, the rest is the kernel's socket buffers"


def test_live_needs_a_contact() -> None:
    live = settings(source_url="https://stream.wikimedia.org")
    with pytest.raises(ConfigurationError, match="WIKIWEIR_CONTACT"):
        user_agent(live)
    agent = user_agent(live.model_copy(update={"contact": "https://example.org/weir"}))
    assert agent.startswith("wikiweir/")
    assert "(https://example.org/weir) python-requests/" in agent


def test_hand_clock_and_data_are_what_the_scripts_think() -> None:
    assert HandClock().now_ms() == T0
    assert data(0) in frames(range(1))
