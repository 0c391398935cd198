"""What the operations dashboard reads: accounts and states of hours, the source, links, the disk, broken charts."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection

from tests.conftest import Postgres
from tests.contracts.queries import rows
from wikiweir.clock import SystemClock


@pytest.fixture
def owner(postgres: Postgres) -> Iterator[connection]:
    """A transaction that is taken back, so that each test has the database for itself."""
    with closing(postgres.connect("owner", autocommit=False)) as connected:
        yield connected


def count(owner: connection, hour: datetime, records: int, outcome: str = "fact", reason: str = "") -> None:
    """The live generation has taken in so many records of an hour; a shadow has others."""
    rows(owner, "INSERT INTO ops.generations VALUES (2, 'shadow') ON CONFLICT DO NOTHING")
    for generation, found in ((1, records), (2, 9999)):
        account = "INSERT INTO ops.stream_outcomes VALUES (%s, %s, %s, %s, %s)"
        rows(owner, account, generation, hour, outcome, reason, found)


def publish(owner: connection, hour: datetime, records: int, after: timedelta, held: int | None = None) -> None:
    rows(
        owner,
        "INSERT INTO ops.published_hours"
        " (hour, version, bronze_version, end_offsets, run_id, published_at, seconds, bronze_rows)"
        " VALUES (%s, 2, 1, '{}', 'a run', %s, '{\"read\": 2.5, \"published\": 4}', %s)",
        hour, hour + timedelta(hours=1) + after, held,
    )  # fmt: skip
    rows(owner, "INSERT INTO ops.hour_outcomes VALUES (%s, 'fact', '', %s)", hour, records)


def block(owner: connection, hour: datetime, *, is_over: bool = False) -> None:
    rows(
        owner,
        "INSERT INTO ops.incidents (kind, subject, message, closed_at) VALUES ('hour_blocked', %s, 'x', %s)",
        f"{hour:%Y-%m-%dT%H}", hour if is_over else None,
    )  # fmt: skip


# ---- hours


def test_an_hours_account_is_the_batch_layers_once_it_is_published(owner: connection, hour: datetime) -> None:
    before = hour - timedelta(hours=1)
    count(owner, hour, 5)
    count(owner, hour, 2, "rejected", "title_too_long")
    count(owner, before, 7)
    count(owner, before, 1, "left_to_batch")
    publish(owner, before, 8, timedelta(minutes=2))
    assert rows(owner, "SELECT * FROM serving.accounting ORDER BY hour, outcome") == [
        (before, "fact", "", 8, "batch"),
        (hour, "fact", "", 5, "speed"),
        (hour, "rejected", "title_too_long", 2, "speed"),
    ]


def test_an_account_closes_or_it_does_not(owner: connection, hour: datetime) -> None:
    count(owner, hour, 5)
    count(owner, hour, 2, "duplicate")
    for age, held in ((1, 12), (2, 13), (3, None), (24 * 31 + 1, 12)):
        publish(owner, hour - timedelta(hours=age), 10, timedelta(0), held)
        more = "INSERT INTO ops.hour_outcomes VALUES (%s, 'rejected', 'x', 2)"
        rows(owner, more, hour - timedelta(hours=age))
    columns = "layer, held, accounted, unaccounted, state"
    assert rows(owner, f"SELECT {columns} FROM serving.accounting_hours ORDER BY hour DESC") == [
        ("speed", None, 7, None, "open"),
        ("batch", 12, 12, 0, "closes"),
        ("batch", 13, 12, 1, "does not close"),
        ("batch", None, 12, None, "not known"),
    ]


def test_every_hour_has_a_state(owner: connection, hour: datetime) -> None:
    def ago(hours: int) -> datetime:
        return hour - timedelta(hours=hours)

    for age in (1, 2, 3, 4, 24 * 31 + 1):
        count(owner, ago(age), 10 + age)
    publish(owner, ago(2), 12, timedelta(seconds=90))
    publish(owner, ago(3), 13, timedelta(seconds=90))
    publish(owner, ago(5), 0, timedelta(seconds=90))
    block(owner, ago(2), is_over=True)
    block(owner, ago(3))
    block(owner, ago(4))
    columns = "hour, state, seconds, build_seconds, version, records, run_id"
    assert rows(owner, f"SELECT {columns} FROM serving.hour_states ORDER BY hour DESC") == [
        (hour, "open", None, None, None, 0, None),
        (ago(1), "waiting", None, None, None, 11, None),
        (ago(2), "published", 90, 6.5, 2, 12, "a run"),
        (ago(3), "blocked", 90, 6.5, 2, 13, "a run"),
        (ago(4), "blocked", None, None, None, 14, None),
        (ago(5), "published", 90, 6.5, 2, 0, "a run"),
    ]


# ---- source


def state(owner: connection, columns: str) -> tuple[Any, ...]:
    [found] = rows(owner, f"SELECT {columns} FROM serving.source_state")
    return found


def test_the_source_is_not_live_before_anybody_has_said_so(owner: connection) -> None:
    assert state(owner, "*") == ("unset", False, None, None, 0, None, None, None)


@pytest.mark.parametrize(("source", "is_live"), [("live", True), ("synthetic:1", False), ("url:live", False)])
def test_only_live_is_live(owner: connection, source: str, is_live: bool) -> None:
    rows(owner, "INSERT INTO ops.instance (source_id) VALUES (%s)", source)
    assert state(owner, "source_id, is_live") == (source, is_live)


def test_the_first_hour_closes_until_one_is_published(owner: connection, hour: datetime) -> None:
    count(owner, hour, 1)
    assert state(owner, "first_hour_closes_at") == (hour + timedelta(hours=1),)
    count(owner, hour - timedelta(hours=1), 1, "canary")
    assert state(owner, "first_hour_closes_at") == (hour + timedelta(hours=1),), "an hour of canaries has no numbers"
    publish(owner, hour - timedelta(hours=1), 1, timedelta(minutes=2))
    assert state(owner, "first_hour_closes_at, published_until") == (None, hour)
    assert state(owner, "earlier_hours_open") == (0,), "the hour after it is none of them"
    count(owner, hour - timedelta(hours=3), 1)
    assert state(owner, "earlier_hours_open") == (1,)


def test_freshness_grows_while_nothing_comes(owner: connection) -> None:
    progress = "INSERT INTO ops.stream_progress (query, state, newest_event_at, seconds_behind) VALUES (%s, 'x', %s, 0)"
    newest = SystemClock().now() - timedelta(seconds=90)
    rows(owner, progress, "lake", SystemClock().now())
    rows(owner, progress, "speed", newest)
    at, seconds = state(owner, "newest_event_at, seconds_behind")
    assert at == newest
    assert 85 < seconds < 120
    rows(owner, "UPDATE ops.stream_progress SET newest_event_at = now() + interval '3 minutes'")
    assert state(owner, "seconds_behind") == (0,), "events may be dated ahead by some minutes"


def test_the_share_of_each_layer_is_of_events_of_a_day(owner: connection, hour: datetime) -> None:
    count(owner, hour, 25)
    count(owner, hour, 1000, "duplicate")
    assert state(owner, "speed_share") == (1,)
    publish(owner, hour - timedelta(hours=23), 75, timedelta(minutes=2))
    publish(owner, hour - timedelta(hours=24), 1000, timedelta(minutes=2))
    assert state(owner, "speed_share") == (0.25,)


# ---- patrol


@pytest.mark.parametrize(
    ("server", "old", "new", "link"),
    [
        ("pt.wikipedia.org", 41, 42, "https://pt.wikipedia.org/w/index.php?diff=42&oldid=41"),
        ("commons.wikimedia.org", None, 42, "https://commons.wikimedia.org/w/index.php?oldid=42"),
        ("pt.wikipedia.org", 0, 42, "https://pt.wikipedia.org/w/index.php?oldid=42"),
        ("pt.wikipedia.org", 41, None, None),
        ("pt.wikipedia.org", 41, -1, None),
        ("unknown", 41, 42, None),
        ("example.org/#", 41, 42, None),
        ("example.org\nevil.example", 41, 42, None),
        ('x.org"><img src=x onerror=alert(1)>', 41, 42, None),
        ("user@evil.example", 41, 42, None),
        (None, 41, 42, None),
    ],
)
def test_a_link_is_made_of_numbers_and_a_servers_name(
    owner: connection, hour: datetime, server: str | None, old: int | None, new: int | None, link: str | None
) -> None:
    rows(owner, "SELECT speed.ensure_partitions(1, '{}', '{}', ARRAY[now()])")
    rows(
        owner,
        "INSERT INTO speed.recent_changes VALUES (1, now(), gen_random_uuid(), now(), 'testwiki', 'edit', 0,"
        " 'javascript:alert(1)', gen_random_uuid(), '=HYPERLINK(\"x\")', 'registered', 'major', 9999, false, false,"
        " %s, %s)",
        old, new,
    )  # fmt: skip
    if server is not None:
        rows(owner, "INSERT INTO speed.wikis VALUES ('testwiki', %s, 'wikipedia', 'pt')", server)
    [(found, is_large, project)] = rows(owner, "SELECT diff_url, is_large, project FROM serving.patrol_changes")
    assert (found, is_large, project) == (link, False, "wikipedia" if server else "unknown")


# ---- disk


def test_disk_is_told_by_table_and_layer(owner: connection, hour: datetime) -> None:
    rows(owner, "SELECT batch.ensure_partitions(%s)", [hour, hour - timedelta(days=1)])
    for day in (0, 1):
        values = "'testwiki', 'edit', n, 'bot', 1, 1, 0, 0, 0, 0, 0, 0"
        statement = f"INSERT INTO batch.activity SELECT %s, {values} FROM generate_series(1, 1000) AS n"
        rows(owner, statement, hour - timedelta(days=day))
    for age, size in ((1, 10), (0, 30)):
        rows(owner, "INSERT INTO ops.lake_tables VALUES ('silver/facts', %s, 2, %s)", hour - timedelta(days=age), size)
    found = {
        relation: (layer, size, measured)
        for layer, relation, size, _, measured in rows(owner, "SELECT * FROM serving.disk_usage")
    }
    assert found["silver/facts"] == ("silver", 30, hour)
    layer, size, _ = found["batch.activity"]
    assert layer == "batch"
    assert size > 2 * 1000 * 60, "both leaves, with their indexes"
    assert {layer for layer, _, _ in found.values()} == {"speed", "batch", "ops", "silver"}


# ---- overdue hours


def overdue(owner: connection) -> list[tuple[Any, ...]]:
    return rows(owner, "SELECT subject, message FROM ops.complaints() WHERE runbook = 'hour_overdue' ORDER BY 1")


def test_an_hour_with_events_is_overdue_until_it_is_published_however_old(owner: connection, hour: datetime) -> None:
    days_ago, unread = hour - timedelta(days=9), hour - timedelta(hours=1)
    too_old = hour - timedelta(days=32)
    for each in (too_old, days_ago, unread):
        count(owner, each, 5)
    assert overdue(owner) == [], "the producer has not read past their ends"
    end = "INSERT INTO ops.hour_ends (hour, cursor_at, end_offsets, recorded_at) VALUES (%s, now(), '{}', now() - %s)"
    rows(owner, end, hour - timedelta(days=8), timedelta(minutes=61))
    assert overdue(owner) == [], "their first events came just now"
    rows(owner, "UPDATE ops.stream_outcomes SET first_at = now() - interval '61 minutes' WHERE generation = 2")
    assert overdue(owner) == [], "a shadow has them for longer"
    rows(owner, "UPDATE ops.stream_outcomes SET first_at = now() - interval '61 minutes'")
    assert overdue(owner) == [(f"{days_ago:%Y-%m-%dT%H}", "is ready and not published")]
    rows(owner, end, unread, timedelta(minutes=59))
    assert len(overdue(owner)) == 1
    rows(owner, "UPDATE ops.hour_ends SET recorded_at = now() - interval '61 minutes'")
    assert [subject for subject, _ in overdue(owner)] == [f"{each:%Y-%m-%dT%H}" for each in (days_ago, unread)]
    publish(owner, days_ago, 5, timedelta(days=9))
    publish(owner, unread, 5, timedelta(minutes=2))
    assert overdue(owner) == []


# ---- charts


def check(owner: connection, run: str, chart: str, error: str | None, age: timedelta, dashboard: str = "pulse") -> None:
    rows(
        owner,
        "INSERT INTO ops.dashboard_checks VALUES (%s, %s, %s, 0, 0.1, %s, now() - %s)",
        run, dashboard, chart, error, age,
    )  # fmt: skip


def complaints(owner: connection) -> list[tuple[Any, ...]]:
    return rows(owner, "SELECT subject, message FROM ops.complaints() WHERE runbook = 'dashboard_broken' ORDER BY 1")


def test_broken_charts_are_complained_of_until_a_run_finds_none(owner: connection) -> None:
    assert complaints(owner) == []
    check(owner, "first", "edits", "an old fault", timedelta(hours=2))
    check(owner, "second", "edits", None, timedelta(minutes=61))
    assert complaints(owner) == []
    check(owner, "third", "edits", None, timedelta(minutes=2))
    check(owner, "third", "tops", 'column "titel" does not exist', timedelta(minutes=1))
    check(owner, "third", "wikis", "another", timedelta(minutes=1))
    check(owner, "third", "disk", None, timedelta(minutes=1), dashboard="operations")
    expected = '2 of 3 charts got no answer; tops: column "titel" does not exist'
    assert complaints(owner) == [("pulse", expected)]
    assert rows(owner, "SELECT * FROM serving.complaints") == rows(owner, "SELECT * FROM ops.complaints()")
    check(owner, "fourth", "tops", None, timedelta(0))
    assert complaints(owner) == []
