"""The batch benchmark's input and its reading of others' logs: the hour is what it says, nothing written is missed."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bench import lib_answers, lib_batch_hour, lib_batch_ours, lib_delta, lib_events
from bench.lib_batch_hour import LATE, Size
from bench.lib_duckdb import Limit
from bench.lib_events import Template
from tests.unit.bench.by_oracle import Record, by_oracle
from wikiweir.hours import Hour

SECRET = "meadowlark"
HOUR = Hour(datetime(2026, 4, 1, 9, tzinfo=UTC))
SIZE = Size(events=1_200, hours_before=1, minutes_after=15)


@pytest.fixture(scope="module")
def appends(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    shapes = [Template(line) for line in lib_events.synthetic_lines(800)]
    return lib_batch_hour.write(tmp_path_factory.mktemp("batch") / "appends", HOUR, SIZE, shapes)


@pytest.fixture(scope="module")
def records(appends: list[Path]) -> list[dict[str, Any]]:
    return [row for append in appends for row in pq.read_table(append).to_pylist()]


def test_an_hour_before_is_one_append_and_a_minute_of_the_hour_is_one(appends: list[Path]) -> None:
    assert len(appends) == 1 + 60 + 15
    times = [pq.read_table(append, columns=["timestamp"])["timestamp"].to_pylist() for append in appends]
    assert all(earlier[-1] < later[0] for earlier, later in pairwise(times))
    assert max(times[0]) < HOUR.start <= min(times[1])


def test_offsets_have_no_hole_and_copies_share_a_partition(records: list[dict[str, Any]]) -> None:
    for partition in range(2):
        offsets = [record["offset"] for record in records if record["partition"] == partition]
        assert offsets == list(range(len(offsets)))
    places = {(record["key"], record["partition"]) for record in records}
    assert len(places) == len({record["key"] for record in records})
    assert len({record["key"] for record in records}) < len(records), "some are copies"


def test_late_events_come_each_in_another_append(appends: list[Path]) -> None:
    known: set[bytes] = set()

    def of_the_hour(append: Path) -> int:
        """Events, not copies of earlier ones, that are from well before the hour's end."""
        rows = pq.read_table(append, columns=["key", "value"]).to_pylist()
        new = [row["value"] for row in rows if row["key"] not in known and row["value"] != b"no JSON"]
        known.update(row["key"] for row in rows)
        times = [json.loads(value).get("timestamp") for value in new]
        return sum(time is not None and time < HOUR.end.timestamp() - 60 for time in times)

    late = [of_the_hour(append) for append in appends][1 + 60 :]
    assert sum(late) == LATE
    assert set(late) == {0, 1}


def test_duckdb_over_bronze_equals_the_oracle_in_the_hour(
    appends: list[Path], records: list[dict[str, Any]], tmp_path: Path
) -> None:
    files = [tmp_path / append.name for append in appends]
    for append, file in zip(appends, files, strict=True):
        rows = pq.read_table(append, columns=["value", "timestamp"])
        pq.write_table(rows.rename_columns(["raw", "kafka_time"]), file)
    limit = Limit(SECRET.encode(), threads=1)
    limit.take_bronze(files)
    answers = lib_answers.read(limit.rows, "", lib_answers.duckdb_form, HOUR)
    stamped = [(record, int(record["timestamp"].timestamp() * 1000)) for record in records]
    whole = by_oracle([Record(r["partition"], r["offset"], ms, r["value"]) for r, ms in stamped], SECRET, tmp_path)
    first, end = (int(instant.timestamp()) * 1_000_000 for instant in (HOUR.start, HOUR.end))
    expected = {table: [row for row in whole[table] if first <= row[0] < end] for table in answers}
    lib_answers.compare("duckdb", expected, answers)
    assert all(0 < len(answers[table]) < len(whole[table]) for table in answers)


def log(table: Path, *versions: list[dict[str, Any]]) -> None:
    """Write a table's log."""
    folder = table / "_delta_log"
    folder.mkdir(parents=True)
    for number, actions in enumerate(versions):
        text = "".join(json.dumps(action) + "\n" for action in actions)
        (folder / f"{number:020}.json").write_text(text, encoding="utf-8")
    (folder / ".00000000000000000000.json.crc").write_bytes(b"crc")


def add(path: str, size: int, hour: str | None = None) -> dict[str, Any]:
    return {"add": {"path": path, "size": size, "partitionValues": {"event_hour": hour} if hour else {}}}


def by(operation: str) -> dict[str, Any]:
    return {"commitInfo": {"operation": operation}}


def test_what_a_run_wrote_is_what_newer_commits_added(tmp_path: Path) -> None:
    early, late = "2026-04-01T09:00:00.000000Z", "2026-04-01 10:00:00"
    small = ["event_hour=2026-04-01%2009%253A00%253A00/a.parquet", "b.parquet"]
    log(
        tmp_path / "bronze",
        [by("WRITE"), add(small[0], 10, early), add("other.parquet", 99, late)],
        [by("WRITE"), add(small[1], 20, early)],
        [by("OPTIMIZE"), {"remove": {"path": small[0]}}, {"remove": {"path": small[1]}}, add("c.parquet", 25, early)],
    )
    log(tmp_path / "gold" / "activity", [by("WRITE"), add("g.parquet", 3)])
    assert lib_delta.versions(tmp_path) == {"bronze": 2, "gold/activity": 0}
    assert lib_delta.files(tmp_path, tmp_path / "bronze", HOUR) == {tmp_path / "bronze" / "c.parquet": 25}
    found = lib_delta.since(tmp_path, {"bronze": 0})
    told = [(commit.table, commit.version, commit.operation, commit.bytes) for commit in found]
    assert told == [("bronze", 1, "WRITE", 20), ("bronze", 2, "OPTIMIZE", 25), ("gold/activity", 0, "WRITE", 3)]


def test_the_steps_of_a_run_add_up_to_its_whole() -> None:
    local = datetime(2026, 4, 1, 11, 0, 0)  # noqa: DTZ001 # as Python's log writes it
    begin = local.timestamp()
    said = """\
2026-04-01 11:00:08,000 INFO build_hours: hour 2026-04-01T09: bronze holds 1,300 rows in 70 files, 0 are accounted for
2026-04-01 11:00:10,000 INFO build_hours: hour 2026-04-01T09 (1 of 1)
2026-04-01T11:00:15.000Z WARN SomeClass: a line of Spark's
2026-04-01 11:00:25,500 INFO jobs.lib.build: hour 2026-04-01T09: bronze version 80 holds 1,290 fact
2026-04-01 11:00:25,500 INFO jobs.lib.build: hour 2026-04-01T09: published as version 1: rows 7 activity; cleaned in \
10.0 s, checked in 4.0 s, published in 1.0 s, reconciled in 0.5 s
2026-04-01 11:00:27,500 INFO jobs.lib.build_day: day 2026-04-01: published as version 1 from 1 hours: rows 7; x in 1.0 s
2026-04-01 11:00:30,000 INFO jobs.lib.snapshot: hour 2026-04-01T09: 1300 rows compacted from 70 files
"""
    steps = lib_batch_ours.split(said, begin, begin + 6, begin + 31)
    assert steps == pytest.approx(
        {
            "JVM and session": 6,
            "plan": 2,
            "pinning": 2,
            "cleaned": 10,
            "checked": 4,
            "published": 1,
            "reconciled": 0.5,
            "day": 2,
            "compaction": 2.5,
            "stop": 1,
        }
    )
    assert sum(steps.values()) == pytest.approx(31)
