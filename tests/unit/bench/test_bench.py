"""The benchmarks' own judgement: events are what they say, DuckDB agrees with the oracle, a wrong answer is refused."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import lib_answers, lib_blob, lib_events, lib_result
from bench.lib_duckdb import Limit
from bench.lib_events import Event, Template
from tests.unit.bench.by_oracle import Record, by_oracle

SECRET = "meadowlark"
FIRST_MS = 1_775_001_600_000


@pytest.fixture(scope="module")
def shapes() -> list[Template]:
    return [Template(line) for line in lib_events.synthetic_lines(800)]


def made(shapes: list[Template], count: int) -> Iterator[Event]:
    return lib_events.events(count, first_ms=FIRST_MS, per_second=20, duplicates=0.05, partitions=2, shapes=shapes)


def test_a_template_changes_id_times_and_page_and_no_other_byte() -> None:
    line = b'{"meta":{"id":"a-1","dt":"2025-05-03T07:46:19Z"},"title":"Caf\xc3\xa9 \\"x\\"", "timestamp":1746258379}'
    filled = Template(line).fill({"id": b"b-2", "dt": b"D", "timestamp": b"9", "page": b"/7"})
    assert filled == b'{"meta":{"id":"b-2","dt":"D"},"title":"Caf\xc3\xa9 \\"x\\"/7", "timestamp":9}'


def test_events_alternate_between_partitions_and_repeat_within_theirs(shapes: list[Template]) -> None:
    events = list(made(shapes, 2_000))
    assert all(zlib.crc32(event.id.encode()) % 2 == index % 2 for index, event in enumerate(events))
    repeated = [event for event in events if event.is_duplicate]
    assert 40 < len(repeated) < 200
    assert len({event.id for event in events}) == len(events) - len(repeated)
    assert len({event.data for event in events}) == len({event.id for event in events})
    assert json.loads(events[-1].data)["meta"]["id"] == events[-1].id


def test_the_blob_is_the_body_in_chunks() -> None:
    body = bytes(range(256)) * 3
    encoded, decoded = lib_blob.chunked(body, 100), b""
    while encoded:
        length, _, rest = encoded.partition(b"\r\n")
        decoded, encoded = decoded + rest[: int(length, 16)], rest[int(length, 16) + 2 :]
    assert decoded == body


def test_duckdb_equals_the_oracle(shapes: list[Template], tmp_path: Path) -> None:
    events, limit = list(made(shapes, 2_000)), Limit(SECRET.encode(), threads=1)
    for half in range(2):  # in two batches, so that ids are also known from before
        lines = [
            b'{"kafka_ms":%d,"event":%b}\n' % (e.kafka_ms, e.data) for e in events[half * 1_000 : (half + 1) * 1_000]
        ]
        (tmp_path / f"{half}.ndjson").write_bytes(b"".join(lines))
        limit.take(tmp_path / f"{half}.ndjson")
    answers = lib_answers.read(limit.rows, "", lib_answers.duckdb_form)
    records = [Record(n % 2, n // 2, event.kafka_ms, event.data) for n, event in enumerate(events)]
    lib_answers.compare("duckdb", by_oracle(records, SECRET, tmp_path), answers)
    assert all(answers.values())


@pytest.mark.parametrize("found", [[], [(1, 2), (1, 2)], [(1, 3)], [(1, 2), (3, 4)]])
def test_a_missing_doubled_or_different_row_is_refused(found: list[tuple[int, int]]) -> None:
    lib_answers.compare("ours", {"activity": [(1, 2)]}, {"activity": [(1, 2)]})
    with pytest.raises(lib_result.UnequalAnswersError, match=r"ours\.activity: expected 1 rows"):
        lib_answers.compare("ours", {"activity": [(1, 2)]}, {"activity": found})


def test_a_result_without_equal_answers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIKIWEIR_HOME", str(tmp_path))
    with pytest.raises(lib_result.UnequalAnswersError):
        lib_result.write("ingest", {"answers_equal": False}, [], is_quick=True)
    assert lib_result.write("ingest", {"answers_equal": True}, [], is_quick=True).exists()


def test_quantiles_are_nearest_ranks() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [lib_result.quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert lib_result.quantile([7.0], 0.99) == 7.0
