"""The server's account shows what was skipped, not only what was sent."""

import base64
import json
from pathlib import Path
from typing import Any

from local.replay.log import Line, MemoryLog
from local.replay.truth import GroundTruth, meta_id

TOPIC = "eqiad.mediawiki.recentchange"


def log(count: int) -> MemoryLog:
    return MemoryLog([Line(TOPIC, i, b'{"meta":{"id":"e%d"' % i, b"}}") for i in range(count)])


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in path.read_text().splitlines()]


def test_account_of_sent_skipped_and_repeated(tmp_path: Path) -> None:
    held = log(6)
    truth = GroundTruth(held, file=tmp_path / "truth", send_file=tmp_path / "sent")
    truth.begin(1)
    truth.sent(held.read(1, 2), 100, 0)
    truth.sent(held.read(2, 1), 150, 0)  # a re-sent one
    truth.begin(0)  # a second client that starts earlier changes nothing
    truth.sent(held.read(4, 1), 200, 0)  # e3 was skipped
    truth.flush()
    rows = read(tmp_path / "truth")
    assert [(row["id"], row["sent_ms"]) for row in rows] == [("e1", 100), ("e2", 100), ("e3", None), ("e4", 200)]
    assert [(row["id"], row["sent_ms"]) for row in read(tmp_path / "sent")] == [("e1", 100), ("e2", 100), ("e4", 200)]
    assert (truth.records, truth.skipped) == (4, 1)
    truth.catch_up()
    truth.close()
    assert read(tmp_path / "truth")[-1]["id"] == "e5"
    row = rows[0]
    assert (row["topic"], row["partition"], row["offset"], row["kafka_ms"]) == (TOPIC, 0, 6_512_000_001, 1)
    assert row["data"] == held.read(1, 1)[0].line().decode()


def test_nothing_is_accounted_before_a_client_came(tmp_path: Path) -> None:
    truth = GroundTruth(log(3), file=tmp_path / "truth", send_file=None)
    truth.catch_up()
    truth.close()
    assert read(tmp_path / "truth") == []


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    held = MemoryLog([Line(TOPIC, 1, b"\xff\xfe", None), Line(TOPIC, 1, b'{"meta":{"id":7}}', None)])
    truth = GroundTruth(held, file=tmp_path / "truth", send_file=None)
    truth.sent(held.read(0, 2), 5, 0)
    truth.close()
    first, second = read(tmp_path / "truth")
    assert base64.b64decode(first["data_base64"]) == b"\xff\xfe"
    assert first["id"] is second["id"] is None


def test_retention_cut_behind_the_account(tmp_path: Path) -> None:
    held = log(6)
    truth = GroundTruth(held, file=tmp_path / "truth", send_file=None)
    truth.sent(held.read(0, 1), 1, 0)
    held.retain_from(4)
    truth.sent(held.read(4, 1), 2, 0)
    truth.close()
    assert [row["id"] for row in read(tmp_path / "truth")] == ["e0", "e4"]


def test_meta_id() -> None:
    held = MemoryLog([Line(TOPIC, 1, b'{"comment":"\\"id\\":\\"no\\"","meta":{"id":"yes"', b"}}")])
    assert meta_id(held.read(0, 1)[0]) == "yes"
