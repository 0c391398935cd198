"""The oracle against 50 records counted by hand, and against the worked examples of the definitions.

The surprising thing: it is run as its users run it, a program with files; only the address rule is also fuzzed inside.
"""

import json
import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.oracle.oracle import Oracle, network
from tests.oracle.tables import Tables

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
DEFINITIONS = PROJECT / "wikiweir" / "definitions.toml"
RECORDS = HERE / "counted_by_hand.ndjson"
SECRET = b"the weir and the lark"
TIMES = ("window_start", "event_hour", "last_edit_at", "event_time", "received_at")
HAND_COUNTED = (
    *("activity", "user_activity", "page_activity", "edit_sizes", "outcomes"),
    *("activity_hourly", "user_activity_hourly", "page_activity_daily"),
    *("top_pages", "top_editors", "editor_counts"),
)
"""Hours add up minutes and days hours, for all rollups alike: one of each kind is enough."""
Row = dict[str, Any]


def sections() -> dict[str, list[dict[str, str]]]:
    """The hand-written tables as they stand there, a dictionary a row."""
    found: dict[str, list[dict[str, str]]] = {}
    name = ""
    header: list[str] = []
    for raw in (HERE / "counted_by_hand.txt").read_text(encoding="utf-8").splitlines():
        line = re.sub(r"(^|\s+)#.*", "", raw)
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("["):
            name, header = line.strip("[]"), []
            found[name] = []
        elif line and not header:
            header = cells
        elif line:
            cells += ["0"] * (len(header) - len(cells))
            found[name].append(dict(zip(header, cells, strict=True)))
    return found


def value_of(column: str, cell: str, keys: dict[str, str]) -> Any:
    """What a cell of the hand-written tables means."""
    if cell == "-":
        return None
    if column in TIMES:
        day, _, clock = cell.rpartition(" ")
        seconds, _, fraction = clock.partition(".")
        return f"{day or '2026-03-01'}T{seconds}.{fraction:0<6}Z"
    if column == "user_key":
        return str(UUID(keys[cell]))
    if column in ("is_revert", "is_unpatrolled"):
        return {"true": True, "false": False}[cell]
    if column in ("wiki", "type", "title", "user_name", "user_class", "size_bucket", "event_id", "grain", "scope"):
        return "é" * 256 if cell == "LONG" else cell
    return cell if column in ("severity", "outcome", "reason", "log_type", "log_action") else int(cell)


def by_hand(section: str) -> list[Row]:
    tables = sections()
    keys = {row["name"]: row["key"] for row in tables["keys"]}
    return [{column: value_of(column, cell, keys) for column, cell in row.items()} for row in tables[section]]


def run(records: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    secret = out.parent / "secret"
    secret.write_bytes(SECRET + b"\n")
    command = [
        sys.executable,
        "-m",
        "tests.oracle.oracle",
        "--records",
        str(records),
        "--definitions",
        str(DEFINITIONS),
    ]
    command += ["--user-key-secret-file", str(secret), "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=PROJECT)


def write(path: Path, events: Iterable[Row]) -> None:
    """Records of these events, in the order in which they came."""
    with path.open("w", encoding="utf-8") as sink:
        for offset, event in enumerate(events):
            whole = {"meta": {"id": f"{offset}"}, "type": "edit", "wiki": "dewiki", **event}
            record = {"partition": 0, "offset": offset, "kafka_ms": 1772359500000, "value": json.dumps(whole)}
            sink.write(json.dumps(record) + "\n")


def read(path: Path) -> list[Row]:
    header, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(header["columns"], row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("oracle") / "out"
    done = run(RECORDS, out)
    assert done.returncode == 0, done.stderr
    return out


def in_order(rows: list[Row]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)


@pytest.mark.parametrize("table", HAND_COUNTED)
def test_tables_are_what_was_counted_by_hand(counted: Path, table: str) -> None:
    assert in_order(read(counted / f"{table}.ndjson")) == in_order(by_hand(table))


def test_recent_changes_are_what_was_counted_by_hand(counted: Path) -> None:
    number_of = {f"{json.loads(line)['kafka_ms']}": json.loads(line)["n"] for line in RECORDS.open(encoding="utf-8")}
    found = {}
    for row in read(counted / "recent_changes.ndjson"):
        milliseconds = 1772323200000 + int(row["received_at"][11:13]) * 3600000 + int(row["received_at"][14:16]) * 60000
        milliseconds += int(row["received_at"][17:19]) * 1000 + int(row["received_at"][20:23])
        found[number_of[f"{milliseconds}"]] = row
    for section in ("recent_changes", "recent_changes in full"):
        for expected in by_hand(section):
            number = expected.pop("n")
            assert {column: found[number][column] for column in expected} == expected, f"record {number}"
    assert sorted(found) == sorted(row["n"] for row in by_hand("recent_changes"))


def test_summary_closes_the_account(counted: Path) -> None:
    summary = json.loads((counted / "summary.json").read_text(encoding="utf-8"))
    assert summary["records"] == 50
    assert summary["outcomes"] == {"canary": 1, "duplicate": 4, "fact": 40, "rejected": 5}
    assert summary["rows"]["recent_changes"] == 38


def test_masking_off_shows_the_addresses_and_counts_the_same(tmp_path: Path) -> None:
    assert run(RECORDS, tmp_path / "out", "--no-mask").returncode == 0
    shown = {row["user_name"] for row in read(tmp_path / "out" / "user_activity.ndjson")}
    assert {"192.0.2.77", "192.0.2.78", "2001:0db8:00ab::1"} <= shown


def test_records_out_of_order_are_refused(tmp_path: Path) -> None:
    lines = RECORDS.read_text(encoding="utf-8").splitlines()
    (tmp_path / "records").write_text("\n".join([lines[1], lines[0]]) + "\n", encoding="utf-8")
    done = run(tmp_path / "records", tmp_path / "out")
    assert done.returncode == 2
    assert "order" in done.stderr


def test_records_may_be_base64_and_unparsable_bytes_are_rejected_not_fatal(tmp_path: Path) -> None:
    record = {"partition": 0, "offset": 0, "kafka_ms": 1772359500000, "value_base64": "/3sic2Vl"}  # \xff{"see
    (tmp_path / "records").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert run(tmp_path / "records", tmp_path / "out").returncode == 0
    [row] = read(tmp_path / "out" / "outcomes.ndjson")
    assert (row["outcome"], row["reason"], row["event_hour"]) == (
        "rejected",
        "no_meta_id",
        "2026-03-01T10:00:00.000000Z",
    )


def test_a_wiki_is_at_home_where_it_is_edited(tmp_path: Path) -> None:
    servers = {"log": "auth.wikimedia.org", "edit": "de.wikipedia.org"}
    write(tmp_path / "records", ({"type": kind, "server_name": server} for kind, server in servers.items()))
    assert run(tmp_path / "records", tmp_path / "out").returncode == 0
    assert read(tmp_path / "out" / "homes.ndjson") == [{"wiki": "dewiki", "project": "wikipedia", "language": "de"}]


@pytest.mark.parametrize("grain", ["hourly", "daily"])
def test_the_last_edit_is_of_the_last_minute_whichever_came_first(tmp_path: Path, grain: str) -> None:
    write(tmp_path / "records", ({"timestamp": 1772359200 + 60 * minute} for minute in (1, 2, 0)))
    assert run(tmp_path / "records", tmp_path / "out").returncode == 0
    [page] = read(tmp_path / "out" / f"page_activity_{grain}.ndjson")
    assert (page["edits"], page["last_edit_at"]) == (3, "2026-03-01T10:02:00.000000Z")


def test_tops_end_at_the_hundredth_place(tmp_path: Path) -> None:
    write(tmp_path / "records", ({"title": f"{number:03}", "user": f"{number}"} for number in reversed(range(101))))
    assert run(tmp_path / "records", tmp_path / "out").returncode == 0
    pages = [row for row in read(tmp_path / "out" / "top_pages.ndjson") if (row["grain"], row["scope"]) == ("hour", "")]
    assert [row["place"] for row in pages] == list(range(1, 101))
    assert [row["title"] for row in pages] == [f"{number:03}" for number in range(100)]


def test_worked_examples_of_the_definitions(tmp_path: Path) -> None:
    rules = tomllib.loads(DEFINITIONS.read_text(encoding="utf-8"))
    oracle = Oracle(rules, SECRET, mask=True, before="9999", tables=Tables(tmp_path))
    for example in rules["examples"]["user_class"]:
        user = oracle.user(example, rules["missing"])
        assert user["user_class"] == example["class"], example
        assert user["user_name"] == example.get("shown", example.get("user")), example
    for example in rules["examples"]["title"]:
        assert oracle.shown_title(example["title"], example["namespace"]) == example["shown"]
    for example in rules["examples"]["size"]:
        assert oracle.bucket(example.get("bytes")) == example["bucket"], example
    for example in rules["examples"]["site"]:
        assert oracle.language(example["server_name"]) == example["language"], example
        assert oracle.project(example["server_name"]) == example["project"], example
    prefixes = rules["reverts"]["prefixes"]
    for example in rules["examples"]["revert"]:
        wording = tuple(prefixes.get(example["language"], prefixes["none"]))
        assert example["comment"].startswith(wording) == example["revert"], example


def test_ipaddress_and_the_regular_expressions_of_the_definitions_agree() -> None:
    rules = tomllib.loads(DEFINITIONS.read_text(encoding="utf-8"))["user_class"]
    written = re.compile(f"{rules['ipv4']}|{rules['ipv6']}")
    chance = random.Random(7)
    groups = ["0", "1", "db8", "0DB8", "ffff", "", "", "g", "12345", "192.0.2.7", "٣"]
    numbers = ["0", "7", "07", "99", "255", "256", "", "1000", "٣"]
    for _ in range(60_000):
        six = ":".join(chance.choice(groups) for _ in range(chance.randint(1, 9)))
        four = ".".join(chance.choice(numbers) for _ in range(chance.randint(3, 5)))
        for text in (six, four):
            assert (network(text) is not None) == (written.fullmatch(text) is not None), text
