"""From the socket to PostgreSQL and bronze: a burst of synthetic events and every odd event, against the oracle.

One stack serves all tests here. The surprising thing: each odd event is judged twice, by what its author wrote beside
it by hand and, with all others, by the oracle over the bytes that Kafka holds.
"""

import hashlib
import ipaddress
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.fixtures.odd_events import OddEvent, odd_events
from tests.integration import evidence
from tests.integration.checks import Report, check
from tests.integration.evidence import KafkaRecord
from tests.integration.harness import Stack
from tests.integration.reader import Reader, Seen

SOURCE = ["--seed", "31", "--rate", "200", "--flat-rate", "--history", "60s", "--duplicates", "0.02"]
SOURCE += ["--late", "0.005", "--backdated", "0.002", "--odd", "0.01"]
NAMES = [case.name for case in odd_events("", datetime.now(UTC))]
REASONS = {"broken_json": "invalid_json"}
"""Of dead letters; the others have no usable `meta.id`."""


@dataclass(frozen=True, slots=True)
class Played:
    """What one run came to."""

    stack: Stack
    cases: dict[str, OddEvent]
    report: Report
    seen: Seen
    events: dict[str, list[KafkaRecord]]
    letters: dict[str, list[KafkaRecord]]
    recent: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    cases = {case.name: case for case in odd_events(f"{time.time_ns()}", datetime.now(UTC))}
    with Stack(tmp_path_factory.mktemp("exact"), SOURCE, {"WIKIWEIR_SPEED_MAX_EVENTS": "4000"}) as stack:
        with Reader(stack.settings.postgres_dsn("reader")) as reader:
            stack.inject([line for case in cases.values() for line in case.lines])
            huge = b'{"meta":{"id":"too large"},"comment":"' + b"x" * stack.settings.max_event_bytes + b'"}'
            stack.inject([huge, b"\xff\xfe{}"])
            time.sleep(2)  # what is injected appears within a second
            stack.drain()
        report = check(stack)
        yield Played(
            stack,
            cases,
            report,
            reader.seen,
            by_sha256(evidence.read_topic(stack.kafka.bootstrap, stack.settings.events_topic), None),
            by_sha256(evidence.read_topic(stack.kafka.bootstrap, stack.settings.dead_letters_topic), "sha256"),
            recent_changes(stack),
        )


def by_sha256(records: list[KafkaRecord], header: str | None) -> dict[str, list[KafkaRecord]]:
    found: dict[str, list[KafkaRecord]] = defaultdict(list)
    for record in records:
        found[record.headers[header] if header else record.sha256].append(record)
    return found


def recent_changes(stack: Stack) -> dict[str, list[dict[str, Any]]]:
    names = [name for (name,) in stack.query("SELECT column_name::text FROM information_schema.columns"
             " WHERE table_schema = 'serving' AND table_name = 'recent_changes'")]  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for values in stack.query(f"SELECT {', '.join(names)} FROM serving.recent_changes"):
        row = dict(zip(names, values, strict=True))
        found[str(row["event_id"])].append(row)
    return found


def event_id(line: bytes) -> str:
    """As the rules have it, written once more."""
    raw = str(json.loads(line)["meta"]["id"])
    is_uuid = re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", raw)
    return raw.lower() if is_uuid else str(UUID(hashlib.md5(raw.encode()).hexdigest()))


def test_everything_equals_the_oracle(played: Played) -> None:
    assert not played.report.faults, str(played.report)
    assert played.report.facts["events in Kafka"] > 10_000, played.report
    assert played.report.facts["duplicate"] > 100, played.report
    assert not played.report.torn_runs


def test_a_reader_never_saw_a_count_go_down_or_half_a_batch(played: Played) -> None:
    assert not played.seen.violations, "\n".join(played.seen.violations[:10])
    assert played.seen.states >= 3, played.seen


@pytest.mark.parametrize("name", NAMES)
def test_odd_event(played: Played, name: str) -> None:
    case = played.cases[name]
    for line, expect in zip(case.lines, case.expect, strict=True):
        sha256 = hashlib.sha256(line).hexdigest()
        if expect == "dead_letter":
            [letter] = played.letters[sha256]
            assert letter.headers["reason"] == REASONS.get(name, "no_meta_id")
            assert letter.value == line
            assert sha256 not in played.events
            continue
        copies = played.events[sha256]
        assert copies, f"{case.why}: not in Kafka as sent"
        rows = played.recent.get(event_id(line), [])
        assert len(rows) <= 1
        if expect == "canary" or expect.startswith("rejected"):
            assert not rows, f"{case.why}: expected {expect}, found a fact"
    if case.shows:
        [row] = played.recent[event_id(case.lines[0])]
        assert {column: row[column] for column in case.shows} == case.shows, case.why
        first = played.events[hashlib.sha256(case.lines[0]).hexdigest()][0]
        assert row["received_at"] == datetime.fromtimestamp(first.kafka_ms / 1000, UTC)


@pytest.mark.parametrize(("name", "window"), [("of_2016", "2016-05-04 03:02Z"), ("of_1970", "1970-01-01 00:00Z")])
def test_old_events_stand_in_their_minute(played: Played, name: str, window: str) -> None:
    found = played.stack.query(
        "SELECT edits FROM serving.page_activity WHERE window_start = %s AND wiki = 'enwiki' AND title = 'Larkspur'",
        window,
    )
    assert found == [(1,)]
    assert event_id(played.cases[name].lines[0]) not in played.recent


def test_tomorrow_counts_as_the_time_it_entered_kafka(played: Played) -> None:
    [row] = played.recent[event_id(played.cases["tomorrow"].lines[0])]
    assert row["event_time"] == row["received_at"]


def test_six_days_late_is_counted_six_days_ago(played: Played) -> None:
    stamp = json.loads(played.cases["six_days_old"].lines[0])["timestamp"]
    window = datetime.fromtimestamp(stamp - stamp % 60, UTC)
    found = played.stack.query(
        "SELECT sum(edits)::int FROM serving.page_activity WHERE window_start BETWEEN %s AND %s AND title = 'Larkspur'",
        window - timedelta(minutes=1),
        window + timedelta(minutes=1),
    )
    assert found == [(2,)], "six_days_old and edited_long_ago"


def test_too_large_and_not_utf8_are_dead_letters_with_their_hash(played: Played) -> None:
    reasons = {letters[0].headers["reason"]: letters[0] for letters in played.letters.values()}
    assert int(reasons["too_large"].headers["bytes"]) > played.stack.settings.max_event_bytes
    assert len(reasons["too_large"].value) == 64 * 1024
    assert reasons["invalid_utf8"].value == b"\xff\xfe{}"


def test_no_full_address_is_served(played: Played) -> None:
    names = played.stack.query("SELECT DISTINCT user_name FROM serving.user_activity", role="reader")
    names += played.stack.query("SELECT DISTINCT user_name FROM serving.recent_changes", role="reader")
    pages = "SELECT DISTINCT substring(title FROM position(':' IN title) + 1) FROM serving.{} WHERE namespace IN (2, 3)"
    names += played.stack.query(pages.format("page_activity"), role="reader")
    names += played.stack.query(pages.format("recent_changes"), role="reader")
    assert len(names) > 100
    assert not [name for (name,) in names if is_full_address(name)]
    assert {"192.0.2.0/24", "2001:DB8:0::/48", "192.0.2.0/24/Archive 1"} <= {name for (name,) in names}


def is_full_address(text: str) -> bool:
    """An address, alone or before a slash, and not the network it is shown as."""
    first, *rest = text.split("/")
    try:
        address = ipaddress.ip_address(first)
    except ValueError:
        return False
    shown_as = "24" if address.version == 4 else "48"
    return (
        rest[:1] != [shown_as] or ipaddress.ip_network(f"{first}/{shown_as}", strict=False).network_address != address
    )


def test_no_secret_is_in_a_log(played: Played) -> None:
    secrets = {name: value for name, value in played.stack.instance.secrets.items() if len(value) > 12}
    logs = sorted(played.stack.instance.logs.glob("*.log"))
    assert len(secrets) >= 6
    assert len(logs) >= 3
    for log in logs:
        text = log.read_text(encoding="utf-8", errors="replace")
        assert not [name for name, value in secrets.items() if value in text], log
