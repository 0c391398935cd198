"""Recordings come out as they went in, or moved in time and otherwise untouched."""

import gzip
import json
from pathlib import Path

import pytest

from local.replay.assignment import assign
from local.replay.frames import FrameWriter
from local.replay.log import Line, MemoryLog
from local.replay.recording import load, read_lines
from local.replay.streams import topics_of

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"
CAPTURES = (
    "raw-sse-recentchange-kirajano-1", "raw-sse-recentchange-kirajano-2", "raw-sse-recentchange-kirajano-3",
    "raw-sse-page-create-kirajano", "raw-sse-revision-create-kirajano",
)  # fmt: skip
TOPIC = "codfw.mediawiki.recentchange"


def line(second: int, name: str, *, offset: int | None = None, spaced: bool = False) -> bytes:
    meta: dict[str, object] = {"id": name, "dt": f"2021-08-27T13:20:{second:02d}Z", "stream": "mediawiki.recentchange"}
    if offset is not None:
        meta |= {"topic": TOPIC, "partition": 0, "offset": offset}
    event = {"meta": meta, "title": "Вил\u2028", "timestamp": 1_630_070_400 + second}
    return json.dumps(event, ensure_ascii=False, separators=(", ", ": ") if spaced else (",", ":")).encode()


def served(lines: list[Line]) -> list[bytes]:
    return [record.line() for record in MemoryLog(lines).read(0, 10**6)]


def frame(data: bytes) -> bytes:
    return b"event: message\nid: [{}]\ndata: " + data + b"\n\n"


def test_files_merge_by_time_and_keep_their_own_order(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([line(5, "a1"), line(3, "a2"), line(9, "a3")]))
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(line(4, "b1") + b"\n\n" + line(7, "b2") + b"\n"))
    merged = served(load([tmp_path / "a.ndjson", tmp_path / "b.ndjson.gz"]))
    assert [json.loads(data)["meta"]["id"] for data in merged] == ["b1", "a1", "a2", "b2", "a3"]


def test_shift_puts_the_newest_on_now(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([line(5, "a"), line(9, "b"), line(8, "c", spaced=True)]))
    now_ms = 1_795_480_000_700
    lines = load([tmp_path / "a.ndjson"], newest_at_ms=now_ms)
    assert max(entry.kafka_ms for entry in lines) == 1_795_480_000_000, "whole seconds"
    documents = [json.loads(data) for data in served(lines)]
    assert [d["timestamp"] for d in documents] == [1_795_479_996, 1_795_480_000, 1_795_479_999]
    assert documents[1]["meta"]["dt"] == "2026-11-24T00:26:40Z"
    assert load([tmp_path / "a.ndjson"], oldest_at_ms=now_ms)[0].kafka_ms == 1_795_480_000_000


def test_missing_position_is_added_and_a_recorded_one_kept(tmp_path: Path) -> None:
    without, compact, spaced = line(1, "a"), line(2, "b", offset=50), line(3, "c", offset=51, spaced=True)
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([without, compact, spaced]))
    first, *rest = served(load([tmp_path / "a.ndjson"]))
    assert rest == [compact, spaced]
    meta = json.loads(first)["meta"]
    assert (meta["topic"], meta["partition"], meta["offset"]) == ("eqiad.mediawiki.recentchange", 0, 6_512_000_000)
    assert first.replace(b',"topic":"eqiad.mediawiki.recentchange","partition":0,"offset":6512000000', b"") == without


@pytest.mark.parametrize(
    "tail",
    [
        b"event: message\nid: [{",
        b"event",
        b"event: message\nid: [{}]\ndata: " + line(3, "cut", offset=52)[:-9],
        b":",
        b"\n",
    ],
)
def test_a_truncated_tail_is_dropped(tmp_path: Path, tail: bytes) -> None:
    whole = [line(1, "a", offset=50), line(2, "b", offset=51)]
    (tmp_path / "c.sse").write_bytes(b":ok\n\n" + b"".join(map(frame, whole)) + tail)
    assert served(load([tmp_path / "c.sse"])) == whole


def test_a_capture_with_crlf_comments_and_a_torn_archive(tmp_path: Path) -> None:
    whole = line(1, "a", offset=50)
    body = b":ok\n\n:keep\n\n" + frame(whole) + frame(whole)
    (tmp_path / "c.sse").write_bytes(body.replace(b"\n", b"\r\n"))
    assert [data for data, _ in read_lines(tmp_path / "c.sse")] == [whole, whole]
    torn = gzip.compress(body * 50)
    (tmp_path / "t.sse.gz").write_bytes(torn[:-12])
    assert {data for data, _ in read_lines(tmp_path / "t.sse.gz")} == {whole}


def test_odd_lines_are_kept_and_ordered_after_their_predecessor(tmp_path: Path) -> None:
    odd = [b"not json", b'{"no":"meta"}', b'{"meta":{}}', b'{"timestamp":1630070405}', b"\xff"]
    (tmp_path / "a.ndjson").write_bytes(b"\n".join([line(2, "a"), *odd]))
    lines = load([tmp_path / "a.ndjson"])
    assert served(lines)[1:] == odd
    assert [entry.kafka_ms % 60_000 for entry in lines] == [22_000 - 20_000] * 4 + [5000, 5000]


@pytest.mark.parametrize("name", CAPTURES)
def test_captured_frames_byte_for_byte(name: str) -> None:
    """The frame writer, given the same assignment, writes what Wikimedia's server wrote."""
    path = SHARED / f"{name}.sse.gz"
    if not path.exists():
        pytest.skip("needs the captures of ../shared/data")
    lines = load([path])
    log = MemoryLog(lines, rate=1.0)
    stream = lines[0].topic.partition(".")[2].removeprefix("mediawiki.")
    assigned = assign(log, topics_of([stream]), last_event_id=None, since_ms=None)
    writer = FrameWriter(assigned)
    log.start(0)
    log.advance(10**10)
    body = writer.opening() + b"".join(b"".join(writer.lines(r)) for r in log.read(0, 10**6))
    captured = gzip.decompress(path.read_bytes())
    complete = captured[: len(body)] if captured.endswith(b"}\n") else captured[: captured.rindex(b"\n\n") + 2]
    assert len(lines) > 40
    assert body.rstrip(b"\n") == complete.rstrip(b"\n")


def test_every_recording_line_is_served_as_recorded() -> None:
    files = sorted(p for p in SHARED.glob("recentchange-*.ndjson.gz") if "flat" not in p.name)
    if not files:
        pytest.skip("needs the recordings of ../shared/data")
    files += [SHARED / f"{name}.sse.gz" for name in CAPTURES[:3]]
    recorded = [data for path in files for data, _ in read_lines(path)]
    lines = load(files)
    out = served(lines)
    assert len(out) == len(recorded) > 11_000
    with_position = [data for data in recorded if b'"offset"' in data]
    kept = set(with_position)
    assert sorted(data for data in out if data in kept) == sorted(with_position)
    moved = load(files, newest_at_ms=1_795_480_000_000)
    assert [entry.topic for entry in moved] == [entry.topic for entry in lines]
    deltas = {b.kafka_ms - a.kafka_ms for a, b in zip(lines, moved, strict=True)}
    assert len(deltas) == 1
