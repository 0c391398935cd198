"""Thirty hours of the true volume through the whole stack with Airflow: every hour and every day equals the oracle.

The past is caught up while the stream runs and Airflow's schedule closes the hour that was running; hours are built
again and at once; at last the source is paused and everything is compared. The tests share a stack and run in the order
of the file. The surprising thing: it takes hours, so it has a tempo of its own and is never part of `./weir test`;
`--hours 2 --rate 10` shows that it works, and `--state FOLDER` builds and compares once more what an earlier run left
behind.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance import gold
from tests.acceptance.world import World
from tests.integration import evidence
from tests.integration.parts import wait_for
from tests.integration.source import admin, inject
from tests.integration.speed_rig import event
from tests.oracle.compare import Difference, compare_days, compare_hours
from wikiweir.hours import Hour

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
FULL = 30
"""Hours of a run that shows all of it."""
FORGOTTEN = 5
"""Events that are sent of an hour that it has forgotten."""
AGAIN = 6
"""How many hours are built again."""
HOURS_SECONDS = 90
"""How long an hour may take on average while the past is caught up and the stream runs."""

COPIES_LEFT = """\
SELECT coalesce(sum(b.records - coalesce(s.records, 0)), 0)
FROM ops.stream_outcomes AS l
JOIN ops.generations AS g ON g.generation = l.generation AND g.state = 'live'
JOIN ops.hour_outcomes AS b ON b.hour = l.event_hour AND b.outcome = 'duplicate'
LEFT JOIN ops.stream_outcomes AS s
    ON s.generation = l.generation AND s.event_hour = l.event_hour AND s.outcome = 'duplicate'
WHERE l.outcome = 'left_to_batch'"""
"""Of the records left to the batch layer, those that it found to be copies."""

pytestmark = pytest.mark.timeout(4 * 3600)
not_again = pytest.mark.skipif("config.getoption('--state')", reason="the run that made the state showed it")


@not_again
def test_airflow_catches_the_past_up(world: World) -> None:
    wanted = world.of_the_past()
    wait_for(world.is_live, 3600, lambda: world.weir("status").stdout)
    world.running_hour = Hour.of(datetime.now(UTC))
    wait_for(
        lambda: set(wanted) <= world.published().keys(),
        600 + HOURS_SECONDS * len(wanted) * 2,
        lambda: f"{sorted(set(wanted) - world.published().keys())}; {world.weir('status').stdout}",
    )


def test_hours_built_again_and_at_once_are_the_same(world: World) -> None:
    try:
        # late events reach back five hours, copies two more
        wanted = [hour for hour in world.of_the_past() if hour.end < datetime.now(UTC) - timedelta(hours=7)][:AGAIN]
        if not wanted:  # a short run: events still come for every hour it has
            world.drain()
            wanted = world.of_the_past()[:1]
            run = world.submit("--hour", str(wanted[0]))
            assert run.wait(600) == 0, run.log[-3000:]
        before, versions = world.digests(wanted), world.published()
        a_range, newest = ("--first", str(wanted[0]), "--last", str(wanted[-1])), ("--hour", str(wanted[-1]))
        for at_once in ([a_range], [a_range, newest]):  # a range is built from its newest hour on
            runs = [world.submit(*words) for words in at_once]
            for run in runs:
                assert run.wait(3600) == 0, run.log[-3000:]
            assert world.digests(wanted) == before
        built = {hour: world.published()[hour] - versions[hour] for hour in wanted}
        # of two at once, the later one leaves what the other has published from a newer bronze than its own
        assert built.pop(wanted[-1]) in {2, 3}
        assert set(built.values()) <= {2}
    finally:
        admin(world.port, "resume", {})


@not_again
def test_the_schedule_closes_an_hour_of_the_running_stream(world: World) -> None:
    hour = world.running_hour
    assert hour is not None, "the stream ran live"
    wait_for(lambda: hour in world.published(), 3600 + 1200, lambda: world.weir("status").stdout)
    [(run_id,)] = world.query("SELECT run_id FROM ops.published_hours WHERE hour = %s", hour.start)
    assert str(run_id).startswith("scheduled__"), run_id


@not_again
def test_no_hour_was_published_before_it_was_ready(world: World) -> None:
    ends = world.query("SELECT hour, end_offsets FROM ops.hour_ends ORDER BY hour")
    assert ends
    first_built_from = world.watch.seen.first_built_from
    assert first_built_from, "hours were seen to be published"
    for hour, built_from in first_built_from.items():
        needed = next((wanted for at, wanted in ends if Hour.of(at) >= hour), None)
        assert needed is not None, hour
        assert all(built_from.get(partition, 0) >= end for partition, end in needed.items()), (hour, built_from, needed)


def send_forgotten(world: World) -> None:
    """Events of an hour whose ids the speed layer has forgotten, so that it must leave them to the batch layer."""

    def forgotten() -> list[Hour]:
        [(floor,)] = world.query("SELECT seen_floor FROM ops.generations WHERE state = 'live'")
        return sorted(hour for hour in world.published() if hour.start <= floor)

    wait_for(lambda: bool(forgotten()), 3600, lambda: "an hour to be forgotten")
    hour = forgotten()[-1]
    wait_for(world.is_live, 3600, lambda: world.weir("status").stdout)  # what is sent now comes after history
    ago = (datetime.now(UTC) - hour.start).total_seconds() - 60
    before = world.left_to_batch()  # of an earlier run on this state; the same events once more would be copies
    seeds = range(9_000_000 + before, 9_000_000 + before + FORGOTTEN)
    inject(world.port, [json.dumps(event(seed, seconds_ago=ago)).encode() for seed in seeds])
    wanted = before + FORGOTTEN
    wait_for(lambda: world.left_to_batch() >= wanted, 60, lambda: f"{world.left_to_batch()} of {wanted} were left")


def test_at_last_everything_equals_the_oracle(world: World, tmp_path: Path) -> None:
    if world.hours >= FULL:
        send_forgotten(world)
    last = world.drain()
    touched = world.submit("--touched")
    assert touched.wait(3600) == 0, touched.log[-3000:]
    end = max(world.published()).end
    records = evidence.records_of(world.settings.kafka_bootstrap, world.settings.events_topic)
    summary = evidence.run_oracle(world.settings, records, tmp_path, before=end)
    print(f"\n{summary['records']} records: {summary['outcomes']}; closed until {end}")
    assert summary["records"] == sum(last.values())
    dsn = world.settings.postgres_dsn("owner")
    found: list[Difference] = compare_hours(tmp_path, dsn, BEGINNING, end)
    found += compare_days(tmp_path, dsn, BEGINNING, end + timedelta(days=1))
    print("\n".join(f"{table.table}: {table.rows} rows" for table in found))
    assert not [table for table in found if not table.is_none], "\n".join(map(str, found))
    assert not [table.table for table in found if not table.rows], "two empty tables are equal, too"


def test_gold_and_silver_are_what_is_published(world: World, tmp_path: Path) -> None:
    lake = world.weir.home / "lake"
    looked_at, differing = gold.differences(lake, world.settings.postgres_dsn("owner"), tmp_path)
    print(f"\ngold: {looked_at.total()} rows")
    assert not differing, "\n".join(differing)
    assert not [table for table, rows in looked_at.items() if not rows], "two empty tables are equal, too"
    counted = world.query("SELECT to_char(hour, 'YYYY-MM-DD HH24:MI:SS'), records FROM ops.hour_outcomes"
                          " WHERE outcome = 'fact'")  # fmt: skip
    assert counted
    assert {hour: (n, n) for hour, n in counted} == gold.facts_by_hour(lake)


def test_the_layers_agree_to_the_event_and_the_accounting_closes(world: World) -> None:
    verdicts = dict(world.query("SELECT verdict, count(DISTINCT hour) FROM ops.reconciliation GROUP BY verdict"))
    print(f"\nhours by verdict: {verdicts}")
    assert verdicts.keys() <= {"equal", "explained"}
    [(explained,)] = world.query(
        "SELECT coalesce(sum(difference), 0) FROM ops.reconciliation WHERE rollup = 'activity' AND metric = 'events'"
    )
    [(copies,)] = world.query(COPIES_LEFT)
    left = world.left_to_batch()
    assert explained + copies == left
    assert left >= FORGOTTEN or world.hours < FULL, "some events were older than what the speed layer remembers"
    end = max(world.published()).end
    [(closed,)] = world.query("SELECT sum(records) FROM ops.hour_outcomes WHERE outcome <> 'rewritten'")
    [(still_open,)] = world.query(
        "SELECT coalesce(sum(o.records), 0) FROM ops.stream_outcomes AS o JOIN ops.generations AS g USING (generation)"
        " WHERE g.state = 'live' AND o.event_hour >= %s", end,
    )  # fmt: skip
    assert closed + still_open == sum(world.kafka_ends().values())
    assert world.query("SELECT * FROM ops.incidents WHERE closed_at IS NULL") == []
    checked = world.weir("submit", "check_published")
    assert checked.returncode == 0, checked.stdout[-3000:]


def test_a_reader_never_saw_an_hour_missing_doubled_or_half_there(world: World) -> None:
    seen = world.watch.seen
    assert world.watch.is_watching
    print(f"\n{seen.looks} looks, {seen.versions} versions")
    assert not seen.violations, "\n".join(seen.violations[:10])
    assert seen.versions >= len(world.published())
