"""The server over a real socket, in a process of its own: answers, limits, cursors, every fault."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.replay.harness import Replay
from tests.unit.local.replay.client import Stream

EQIAD, CODFW = "eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    """Five minutes of invented history, then 50 events/s."""
    folder = tmp_path_factory.mktemp("replay")
    with Replay(folder, "--history", "5m", "--rate", "50", "--seed", "11") as replay:
        yield replay


@pytest.fixture
def replay(running: Replay) -> Iterator[Replay]:
    """The server with nothing switched."""
    running.faults(reset=True)
    yield running
    running.faults(reset=True)
    running.post("resume")


Open = Callable[..., Stream]


@pytest.fixture
def connect(replay: Replay) -> Iterator[Open]:
    """Streams that are closed at the end; `since=0` unless a path is given."""
    streams: list[Stream] = []

    def open_(path: str = "/v2/stream/recentchange?since=0", **headers: str) -> Stream:
        streams.append(Stream(replay.port, path, **headers))
        return streams[-1]

    yield open_
    for stream in streams:
        stream.__exit__()


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)  # it is asked again, until its time is over
    raise AssertionError("did not happen in time")


# ---- the ordinary stream ----------------------------------------------------------------------------------------


def test_head_and_opening(connect: Open) -> None:
    stream = connect()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-cache"
    assert stream.headers["access-control-allow-origin"] == "*"
    assert stream.headers["transfer-encoding"] == "chunked"
    stream.events(2)
    assert stream.chunks[0] == b":ok\n\n"
    assert [chunk.partition(b" ")[0] for chunk in stream.chunks[1:4]] == [b"event:", b"id:", b"data:"]


def test_without_accept_there_is_no_charset(connect: Open) -> None:
    assert connect(Accept="").headers["content-type"] == "text/event-stream"


def test_json_mode(connect: Open) -> None:
    stream = connect(Accept="application/json")
    assert stream.headers["content-type"].startswith("application/json")
    while len(stream.chunks) < 3:
        stream.read_chunk()
    assert stream.chunks[0] == b"\n"
    assert json.loads(stream.chunks[1])["meta"]["topic"]


def test_fresh_connect_is_live_and_history_is_asked_for(connect: Open) -> None:
    before_ms = time.time() * 1000
    [event] = connect("/v2/stream/recentchange").events(1)
    assert event.id[1] == {"topic": CODFW, "partition": 0, "offset": -1}
    assert event.id[0]["timestamp"] > before_ms - 3000
    [old] = connect().events(1)
    assert old.event["meta"]["offset"] == 6_512_000_000
    assert old.id[1]["offset"] in (-1, 2_043_000_000), "looked up: the canary's offset, or none there yet"
    assert old.id[0]["timestamp"] < before_ms - 250_000


def test_names_of_streams(connect: Open) -> None:
    event = connect("/v2/stream/mediawiki.recentchange,page-create?since=0").events(1)[0]
    assert [entry["topic"].partition(".")[2] for entry in event.id] == [
        "mediawiki.recentchange", "mediawiki.recentchange", "mediawiki.page-create", "mediawiki.page-create"
    ]  # fmt: skip


def test_resume_by_cursor(connect: Open) -> None:
    first = connect().events(50)
    offsets = [e.event["meta"]["offset"] for e in first]
    assert offsets == list(range(offsets[0], offsets[0] + 50))
    header = json.dumps([{"topic": EQIAD, "partition": 0, "offset": offsets[9] + 1}])
    [again] = connect("/v2/stream/recentchange", Last_Event_ID=header).events(1)
    assert again.data == first[10].data
    timestamp = first[30].id[0]["timestamp"] - 1
    header = json.dumps([{"topic": EQIAD, "partition": 0, "timestamp": timestamp}])
    [by_time] = connect("/v2/stream/recentchange", Last_Event_ID=header).events(1)
    assert by_time.event["meta"]["offset"] == next(
        e.event["meta"]["offset"] for e in first if e.id[0]["timestamp"] > timestamp
    )


@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        ("/v2/stream/nope,recentchange", {}, 400, "Invalid streams: nope"),
        ("/v2/stream/recentchange?since=x", {}, 400, "was not parseable: 'x'"),
        ("/v2/stream/recentchange", {"Last_Event_ID": "["}, 400, "InvalidAssignmentError"),
        ("/v2/stream/recentchange", {"Last_Event_ID": '["eqiad.mediawiki.page-move"]'}, 404, "not available"),
        ("/v2/other", {}, 404, "not_found"),
    ],
)  # fmt: skip
def test_refused_requests(connect: Open, path: str, headers: dict[str, str], status: int, words: str) -> None:
    stream = connect(path, **headers)
    assert stream.status == status
    assert stream.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(stream.body())
    assert words in stream.body().decode()


def test_what_is_not_http(replay: Replay) -> None:
    with socket.create_connection(("127.0.0.1", replay.port), timeout=10) as raw:
        raw.sendall(b"hello\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_health(connect: Open) -> None:
    assert json.loads(connect("/healthz").body())["status"] == "ok"


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_too_many_connections(replay: Replay, connect: Open) -> None:
    replay.faults(max_connections=2)
    held = [connect(), connect()]
    assert [stream.status for stream in held] == [200, 200]
    third = connect()
    assert third.status == 429
    assert json.loads(third.body())["type"] == "too_many_requests"
    assert connect(X_Client_IP="192.0.2.9").status == 200, "another client"
    held[0].__exit__()
    eventually(lambda: connect().status == 200)


def test_status_with_html_and_retry_after_so_many_times(replay: Replay, connect: Open) -> None:
    replay.faults(status=429, retry_after="7", status_count=2)
    for _ in range(2):
        answer = connect()
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert answer.headers["content-type"].startswith("text/html")
        assert b"<html>" in answer.body()
    assert connect().status == 200


def test_user_agent_policy(replay: Replay, connect: Open) -> None:
    replay.faults(check_user_agent=True)
    assert connect(User_Agent="python-requests/2.32").status == 403
    assert connect(User_Agent="").status == 403
    assert connect(User_Agent="wikiweir/0.1 (ops@example.org) requests/2.32").status == 200


def test_no_topics(replay: Replay, connect: Open) -> None:
    replay.faults(no_topics=True)
    assert connect().status == 500


def test_connection_refused_for_a_while(replay: Replay, connect: Open) -> None:
    held = connect()
    held.events(1)
    replay.faults(refuse_s=0.6)
    with pytest.raises(ConnectionRefusedError):
        connect()
    held.events(500)  # what is open stays

    def is_back() -> bool:
        try:
            return connect().status == 200
        except ConnectionRefusedError:
            return False

    eventually(is_back)


# ---- ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "ended"), [("eof", "clean"), ("abrupt", "abrupt"), ("rst", "reset")])
def test_cut_between_frames(replay: Replay, connect: Open, mode: str, ended: str) -> None:
    replay.faults(cut_after_events=25, cut_mode=mode)
    stream = connect()
    events = stream.events()
    assert stream.ended == ended
    if mode != "rst":  # a reset may overtake what was sent
        assert len(events) == 25
        assert stream.text.endswith(b"\n\n")


def test_cut_in_mid_frame(replay: Replay, connect: Open) -> None:
    replay.faults(cut_after_events=5, cut_mode="half_frame")
    stream = connect()
    assert len(stream.events()) == 5
    assert stream.ended == "clean"
    rest = stream.text.rpartition(b"\n\n")[2]
    assert rest.startswith(b"event: message\nid: [")
    assert b"\ndata: {" in rest
    with pytest.raises(json.JSONDecodeError):
        json.loads(rest.partition(b"\ndata: ")[2].decode(errors="replace"))  # half of a frame may end in a character


def test_cut_inside_a_character(replay: Replay, connect: Open) -> None:
    replay.faults(cut_after_events=5, cut_mode="half_utf8")
    stream = connect()
    assert len(stream.events()) >= 5
    with pytest.raises(UnicodeDecodeError, match="unexpected end"):
        stream.text.decode()


def test_cut_in_the_id(replay: Replay, connect: Open) -> None:
    replay.faults(cut_after_events=5, cut_mode="half_id")
    stream = connect()
    stream.events()
    assert re.search(rb'\nid: \[\{"topic":"[^\n]*$', stream.text)


def test_cut_inside_a_chunk(replay: Replay, connect: Open) -> None:
    replay.faults(cut_after_events=5, cut_mode="mid_chunk")
    stream = connect()
    assert len(stream.events()) == 5
    assert stream.ended == "abrupt"
    assert len(stream.leftover) > 100


def test_cut_after_a_time_and_only_so_often(replay: Replay, connect: Open) -> None:
    replay.faults(cut_after_s=0.5, cuts=1, cut_jitter=0.2)
    begun = time.monotonic()
    stream = connect("/v2/stream/recentchange")
    stream.events()
    assert stream.ended == "clean"
    assert 0.3 < time.monotonic() - begun < 5
    spared = connect("/v2/stream/recentchange")
    spared.events(60)  # more than a second of the live stream
    assert spared.ended is None


def test_cut_now(replay: Replay, connect: Open) -> None:
    stream = connect("/v2/stream/recentchange")
    stream.events(1)
    assert replay.post("cut", mode="abrupt")["cut"] >= 1
    stream.events()
    assert stream.ended == "abrupt"


def test_error_frame_then_the_end(replay: Replay, connect: Open) -> None:
    replay.faults(error_after_events=10)
    stream = connect()
    events = stream.events()
    assert [e.kind for e in events] == ["message"] * 10 + ["error"]
    assert events[-1].id == events[-2].id
    assert stream.ended == "clean"


# ---- limping ----------------------------------------------------------------------------------------------------


def test_silence_and_after_it(replay: Replay, connect: Open) -> None:
    replay.faults(silence_after_events=20)
    with Stream(replay.port, "/v2/stream/recentchange?since=0") as stream:
        assert len(stream.events(20)) == 20
        heard = len(stream.chunks)
        assert stream.falls_silent(0.7)
        assert len(stream.chunks) == heard
        replay.faults(silence_after_events=None)
        assert stream.events(5)


def test_pause_and_resume(replay: Replay) -> None:
    with Stream(replay.port, "/v2/stream/recentchange") as stream:
        stream.events(1)
        replay.post("pause")
        assert stream.falls_silent(0.7)
        replay.post("resume")
        assert stream.events(5)


def test_trickle(replay: Replay, connect: Open) -> None:
    replay.faults(trickle_bytes_per_s=20_000)
    begun = time.monotonic()
    connect().events(12)
    assert time.monotonic() - begun > 0.3


def test_bounded_rate(replay: Replay, connect: Open) -> None:
    replay.faults(max_rate=100)
    stream = connect()
    stream.events(1)
    begun = time.monotonic()
    stream.events(100)
    assert time.monotonic() - begun > 0.5


def test_redelivery(replay: Replay, connect: Open) -> None:
    replay.faults(redeliver=0.2)
    places = [(e.event["meta"]["topic"], e.event["meta"]["offset"]) for e in connect().events(400)]
    assert 40 < 400 - len(set(places)) < 130


# ---- unusual bytes ----------------------------------------------------------------------------------------------


def test_unusual_bytes_carry_the_same_events(replay: Replay, connect: Open) -> None:
    plain = [e.data for e in connect().events(60)]
    replay.faults(retry_ms=100, comment_lines=0.3, crlf=True, rechunk=7)
    odd = connect()
    assert [e.data for e in odd.events(60)] == plain
    assert max(map(len, odd.chunks)) <= 7
    assert odd.text.startswith(b":ok\r\n\r\n")
    assert b"\r\nretry: 100\r\nid: " in odd.text
    assert b":keep-alive\r\n\r\n" in odd.text
    assert b":keep-alive\r\nevent: " in odd.text
    assert any(chunk[-1] & 0x80 for chunk in odd.chunks), "chunk borders inside characters"


def test_coalesced(replay: Replay, connect: Open) -> None:
    replay.faults(coalesce=True)
    stream = connect()
    assert len(stream.events(100)) == 100
    assert len(stream.chunks) < 20


def test_another_cluster_answers(replay: Replay, connect: Open) -> None:
    [event] = connect().events(1)
    replay.faults(cluster_shift=4_000_000_000)
    [shifted] = connect().events(1)
    assert shifted.event["meta"]["offset"] == event.event["meta"]["offset"] + 4_000_000_000
    header = json.dumps([{"topic": EQIAD, "partition": 0, "offset": event.event["meta"]["offset"]}])
    [jumped] = connect("/v2/stream/recentchange", Last_Event_ID=header).events(1)
    assert jumped.id[0]["timestamp"] > (time.time() - 10) * 1000, "out of range there: silently the newest"


# ---- the log is changed -----------------------------------------------------------------------------------------


def test_injected_lines_come_out_exactly(replay: Replay, connect: Open) -> None:
    stream = connect("/v2/stream/recentchange")
    stream.events(1)
    kinds = ["type_142", "bad_json", "huge_comment"]
    answer = replay.inject(lines=['{"any": "bytes"}'], lines_base64=["//4="], kinds=kinds)
    seen = [e.data for e in stream.events(120)]
    assert b'{"any": "bytes"}' in seen
    assert b"\xff\xfe" in seen
    odd = next(d for d in seen if b'"type":"142"' in d and b"Odd Lenmar" in d)
    assert json.loads(odd)["meta"]["id"] == answer["ids"][2]
    assert json.loads(odd)["meta"]["offset"] > 6_512_000_000
    assert any(len(d) > 1_000_000 for d in seen)
    assert replay.faults(odd=["nul"], canary=True)
    replay_seen = [e.data for e in stream.events(120)]
    assert any(b"\\u0000" in d for d in replay_seen)
    assert any(b'"domain":"canary"' in d for d in replay_seen)


def test_wrong_switches_are_explained(replay: Replay) -> None:
    for values, words in (
        ({"cutt": 1}, "unknown fault cutt; known: check_user_agent"),
        ({"cut_mode": "bang"}, "expected one of eof"),
        ({"cut_after_s": "soon"}, "expected float"),
        ({"silence": 1}, "expected bool"),
        ({"dc_switch": "esams"}, "expected one of eqiad, codfw"),
        ({"odd": ["nothing"]}, "unknown kind"),
    ):
        with pytest.raises(ValueError, match=words):
            replay.faults(**values)


def test_data_centre_switch_and_retention(tmp_path: Path) -> None:
    """Also what a restart must remember, and the account of what a naive cursor skips."""
    options = ["--history", "2m", "--rate", "40", "--seed", "11", "--state", str(tmp_path / "state.json")]
    options += ["--ground-truth", str(tmp_path / "truth.ndjson"), "--dc-switch", "60s:codfw"]
    with Replay(tmp_path, *options) as replay:
        with Stream(replay.port, "/v2/stream/recentchange?since=0") as stream:
            first = stream.events(4000)
        topics = [e.event["meta"]["topic"] for e in first if e.event["meta"]["domain"] != "canary"]
        switched = topics.index(CODFW)
        assert set(topics[:switched]) == {EQIAD}
        assert set(topics[switched:]) == {CODFW}
        assert 1600 < switched < 3200
        replay.faults(dc_switch="eqiad")
        replay.inject(lines=["remember me"])
        header = json.dumps([{"topic": CODFW, "partition": 0, "offset": -1}])
        with Stream(replay.port, "/v2/stream/recentchange", Last_Event_ID=header) as naive:
            assert naive.falls_silent(1.2, within=200)  # after what is left of this second: eqiad is not named
        state = replay.state(flush=True)
        assert state["truth_skipped"] > 0
        replay.faults(retention_s=30)
        with Stream(replay.port, "/v2/stream/recentchange?since=0") as stream:
            [oldest] = stream.events(1)
        assert oldest.event["meta"]["dt"] > first[2400].event["meta"]["dt"]  # a minute in; 90 s and more are cut off
        begun_ms = state["source"]["epoch_s"] * 1000
    truth = [json.loads(row) for row in (tmp_path / "truth.ndjson").read_text().splitlines()]
    assert [row["data"] for row in truth[:4000]] == [e.data.decode() for e in first]
    assert len({(row["topic"], row["offset"]) for row in truth}) == len(truth)
    assert truth[0]["sent_ms"] > begun_ms
    assert any(row["sent_ms"] is None for row in truth)
    assert any(row["data"] == "remember me" and row["id"] is None for row in truth)
    with (
        Replay(tmp_path, "--state", str(tmp_path / "state.json")) as again,
        Stream(again.port, "/v2/stream/recentchange?since=0") as stream,
    ):
        repeated = stream.events(len(truth))
        assert [e.data.decode() for e in repeated] == [row["data"] for row in truth]
    with pytest.raises(RuntimeError, match="remembers seed 11, found 12"):
        Replay(tmp_path, "--state", str(tmp_path / "state.json"), "--seed", "12").start()


# ---- recordings -------------------------------------------------------------------------------------------------


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture as the real server would have written it, cut off in its last frame."""
    frames = [b":ok\n\n"]
    for number in range(300):
        second = (1_630_070_400_000 + (number - number % 7) * 40) // 1000
        dt = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        data = (
            '{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"uri":"https://x",'
            f'"id":"e{number}","dt":"{dt}","domain":"d","stream":"mediawiki.recentchange",'
            f'"topic":"codfw.mediawiki.recentchange","partition":0,"offset":{441_362_975 + number}}},'
            f'"timestamp":{second},"title":"Вил \u200e {number}"}}'
        )
        frames.append(
            b'event: message\nid: [{"topic":"eqiad.mediawiki.recentchange","partition":0,"offset":-1},'
            b'{"topic":"codfw.mediawiki.recentchange","partition":0,"timestamp":%d}]\ndata: %b\n\n'
            % (second * 1000 + 1, data.encode())
        )
    path = tmp_path / "capture.sse"
    path.write_bytes(b"".join(frames) + frames[-1][:-30])
    return path


def test_a_capture_is_served_byte_for_byte_and_ends_in_silence(capture: Path, tmp_path: Path) -> None:
    whole = capture.read_bytes()
    whole = whole[: whole.rindex(b"\n\n") + 2]
    options = ["--recording", str(capture), "--as-recorded", "--rate", "1000"]
    with Replay(tmp_path, *options) as replay, Stream(replay.port) as stream:
        stream.events(300)
        assert stream.falls_silent(1.0)
        assert stream.text == whole
        assert stream.ended is None
        state = replay.state()
        assert state["finished"] is True
        assert state["source"]["records"] == state["sent"] == 300


def test_a_capture_shifted_to_now(capture: Path, tmp_path: Path) -> None:
    options = ["--recording", str(capture), "--fresh", "oldest", "--dc-switch", "200:eqiad", "--send-log"]
    with Replay(tmp_path, *options, str(tmp_path / "sent.ndjson")) as replay, Stream(replay.port) as stream:
        events = [e.event for e in stream.events(300)]
    assert [e["meta"]["id"] for e in events] == [f"e{n}" for n in range(300)]
    assert abs(events[-1]["timestamp"] - time.time()) < 60
    assert events[-1]["timestamp"] - events[0]["timestamp"] == 11
    assert [e["meta"]["topic"] for e in events].index(EQIAD) == 200
    assert events[200]["meta"]["offset"] == 6_512_000_000
    sent = [json.loads(row)["id"] for row in (tmp_path / "sent.ndjson").read_text().splitlines()]
    assert sent == [f"e{n}" for n in range(300)]


def test_a_wrong_command_line_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        Replay(tmp_path, "--recording", str(tmp_path / "none.ndjson")).start()
    with pytest.raises(RuntimeError, match="unknown fault nothing"):
        Replay(tmp_path, "--fault", "nothing=1").start()


def test_a_recording_that_has_ended_keeps_its_readers(tmp_path: Path) -> None:
    meta = {"id": "5f1c0000-0000-4000-8000-000000000001", "stream": "mediawiki.recentchange", "topic": EQIAD}
    event = {"meta": {**meta, "dt": "2026-11-20T10:00:00Z"}, "type": "edit", "timestamp": 1_795_000_000}
    recording = tmp_path / "one.ndjson"
    recording.write_text(json.dumps(event) + "\n", encoding="utf-8")
    with (
        Replay(tmp_path, "--recording", str(recording)) as replay,
        Stream(replay.port, "/v2/stream/recentchange?since=0") as stream,
    ):
        assert len(stream.events(1)) == 1
        assert stream.read_chunk() == b":keep-alive\n\n"
