"""An hour from bronze to `batch.*`: equal to the oracle, however often it is built, and never half in sight.

Copies of an id lie in different event hours here, because a first copy elsewhere must still be found. The surprising
thing: an hour that was built before its late events came is *not* wrong in `serving`; it says what it was built from.
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration import evidence
from tests.integration.speed_rig import Rig, event
from tests.integration.speed_watch import Watcher, wait_for_bronze
from tests.integration.workshop import Ended
from tests.oracle.compare import compare_day, compare_hour
from wikiweir.hours import LENGTH, Day, Hour
from wikiweir.rollups import ROLLUPS, Grain


def seconds_ago(hour: Hour, minute: float) -> float:
    """How long ago a minute of an hour was."""
    return (datetime.now(UTC) - hour.start).total_seconds() - 60 * minute


def of_hour(hour: Hour, seeds: range, **changes: Any) -> list[dict[str, Any]]:
    """Invented events, spread over an hour."""
    return [event(seed, seconds_ago=seconds_ago(hour, seed * 7 % 60 + 0.5), **changes) for seed in seeds]


def build(rig: Rig, *arguments: str) -> Ended:
    job = rig.run("build_hours", *arguments)
    assert job.exit_code == 0, job.log[-3000:]
    return job


def verdicts(rig: Rig, hour: Hour) -> set[str]:
    """How the layers compare in an hour."""
    found = rig.query("SELECT DISTINCT verdict FROM ops.reconciliation WHERE hour = %s", hour.start)
    return {verdict for (verdict,) in found}


def files(rig: Rig, hour: Hour) -> int:
    """Files of bronze's last version that hold rows of the hour."""
    return len(evidence.files_of_hour(rig.folder / "lake" / "bronze", hour))


def built_by(job: Ended) -> set[Hour]:
    """The hours that a run has published, by its log; without one that came to its end while a test ran."""
    found = {Hour.parse(hour) for hour in re.findall(r"hour (\S+): published as version", job.log)}
    return {hour for hour in found if hour.end <= datetime.now(UTC) - timedelta(minutes=15)}


def published(rig: Rig, hour: Hour) -> list[tuple[Any, ...]]:
    return rig.query("SELECT version, bronze_version FROM ops.published_hours WHERE hour = %s", hour.start)


def rows(rig: Rig, hour: Hour) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the hour, whoever built it when."""
    where = "WHERE window_start >= %s AND window_start < %s ORDER BY 1, 2, 3, 4, 5"
    tables = [rollup.table(grain) for rollup in ROLLUPS for grain in ("minute", "hour")]
    tables += ["top_pages", "top_editors", "editor_counts", "hour_totals", "minute_totals"]
    return {name: rig.query(f"SELECT * FROM batch.{name} {where}", hour.start, hour.end) for name in tables}


def layers(rig: Rig, hour: Hour) -> set[str]:
    """Who serves the hour."""
    found = "SELECT DISTINCT layer FROM serving.activity WHERE window_start >= %s AND window_start < %s"
    return {layer for (layer,) in rig.query(found, hour.start, hour.end)}


def assert_hour_exact(rig: Rig, hour: Hour) -> None:
    found = compare_hour(rig.oracle(), rig.settings.postgres_dsn("owner"), hour.start)
    assert sum(table.rows for table in found) > 40
    assert not [table for table in found if not table.is_none], "\n".join(map(str, found))
    held = "SELECT bronze_rows FROM ops.published_hours WHERE hour = %s"
    accounted = "SELECT sum(records)::bigint FROM ops.hour_outcomes WHERE hour = %s"
    assert rig.query(held, hour.start) == rig.query(accounted, hour.start)


def assert_day_exact(rig: Rig, hour: Hour) -> None:
    """The day of an hour, all of whose hours with events are published."""
    found = compare_day(rig.oracle(), rig.settings.postgres_dsn("owner"), Day.of(hour.start).start)
    assert sum(table.rows for table in found) > 40
    assert not [table for table in found if not table.is_none], "\n".join(map(str, found))


def comparable(rows: Iterable[Iterable[Any]]) -> list[str]:
    """Rows of the lake and of PostgreSQL alike, in one order: instants in UTC, no hyphens in uuids."""

    def shown(value: Any) -> str:
        if isinstance(value, datetime):  # Spark's timestamps in Parquet have no zone, and are UTC
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        return str(value).replace("-", "")

    return sorted("|".join(map(shown, row)) for row in rows)


def assert_lake_is_what_is_published(rig: Rig, hour: Hour) -> None:
    """Silver has the hour's facts, gold its rows of every grain as PostgreSQL has them."""
    lake, start = rig.folder / "lake", f"{hour.start:%Y-%m-%d %H:%M:%S}"
    facts = [row for row in evidence.delta_rows(lake / "silver" / "facts") if row["event_hour"] == start]
    [(counted,)] = rig.query("SELECT records FROM ops.hour_outcomes WHERE hour = %s AND outcome = 'fact'", hour.start)
    assert len({row["event_id"] for row in facts}) == len(facts) == counted
    for rollup in ROLLUPS:
        gold = evidence.delta_rows(lake / "gold" / rollup.name)
        grains: tuple[tuple[Grain, Hour | Day], ...] = (("minute", hour), ("hour", hour), ("day", Day.of(hour.start)))
        for grain, period in grains:
            names = ["window_start", *(d.name for d in rollup.dimensions), *(m.name for m in rollup.measured(grain))]
            part = (grain, f"{period.start:%Y-%m-%d %H:%M:%S}")
            found = [[row[name] for name in names] for row in gold if (row["grain"], row["period"]) == part]
            served = rig.query(
                f"SELECT {', '.join(names)} FROM batch.{rollup.table(grain)}"
                " WHERE window_start >= %s AND window_start < %s",
                period.start, period.end,
            )  # fmt: skip
            assert comparable(found) == comparable(served), (rollup.name, grain)
            assert found


@pytest.fixture
def hour() -> Hour:
    """The hour before the last one: over, whatever the time is."""
    return Hour.of(datetime.now(UTC) - timedelta(hours=2))


def test_an_hour_is_exact_again_and_again_and_replaces_the_live_rows(rig: Rig, hour: Hour) -> None:
    rig.driver()
    later = Hour(hour.end)
    rig.send(of_hour(hour, range(200)))
    rig.send(of_hour(hour, range(100, 140)))  # copies
    strays = of_hour(hour, range(200, 220))
    rig.send([{**stray, "timestamp": stray["timestamp"] - 3600} for stray in strays])  # first copies, an hour earlier
    rig.send(strays)
    rig.send(of_hour(later, range(300, 360)))
    rig.send(of_hour(hour, range(400, 410), title="x" * 600))
    rig.send([b"no json", b'{"meta": {"id": "canary-1", "domain": "canary"}}'])
    rig.drain()
    wait_for_bronze(rig)
    watcher = Watcher(rig)
    watcher.start()
    build(rig, "--hour", str(hour))
    assert_hour_exact(rig, hour)
    assert verdicts(rig, hour) == {"equal"}
    first = rows(rig, hour)
    assert layers(rig, hour) == {"batch"}
    assert layers(rig, later) == {"speed"}
    build(rig, "--hour", str(hour))
    assert rows(rig, hour) == first
    kept = evidence.delta_rows(rig.folder / "lake" / "quarantine")
    assert [row["reason"] for row in kept] == ["title_too_long"] * 10
    assert all(json.loads(row["raw"])["title"] == "x" * 600 for row in kept)
    [(version, _)] = published(rig, hour)
    assert version == 2
    rig.send(of_hour(hour, range(500, 530)))
    rig.drain()
    wait_for_bronze(rig)
    assert rows(rig, hour) == first, "nothing is added to a published hour"
    rig.keep_cursor()
    assert files(rig, hour) > 1
    job = build(rig, "--touched")
    assert files(rig, hour) == 1
    assert_hour_exact(rig, hour)
    assert rows(rig, hour) != first
    assert built_by(job) - {later} == {hour, Hour(hour.start - LENGTH)}
    assert layers(rig, later) == {"batch"}
    assert built_by(build(rig, "--touched")) == set(), "nothing has changed since"
    assert_day_exact(rig, hour)
    assert_lake_is_what_is_published(rig, hour)
    watcher.over.set()
    watcher.join(10)
    assert watcher.looks > 50
    assert watcher.falls == []


def test_what_the_speed_layer_left_out_explains_the_difference(rig: Rig, hour: Hour) -> None:
    rig.driver()
    rig.send(of_hour(hour, range(60)))
    rig.drain()
    rig.query("UPDATE ops.generations SET seen_floor = %s WHERE state = 'live'", hour.start)
    rig.send(of_hour(hour, range(60, 90)))
    rig.drain()
    wait_for_bronze(rig)
    build(rig, "--hour", str(hour))
    assert_hour_exact(rig, hour)
    assert verdicts(rig, hour) == {"equal", "explained"}
    complaints = "SELECT subject FROM ops.complaints() WHERE runbook = 'layers_differ'"
    assert rig.query(complaints) == []


def test_a_fault_of_the_speed_layer_shows(rig: Rig, hour: Hour) -> None:
    rig.driver(miscounts={"edits": "CASE WHEN is_edit AND NOT is_minor THEN 1 ELSE 0 END"})
    rig.send(of_hour(hour, range(60)))
    rig.drain()
    wait_for_bronze(rig)
    build(rig, "--hour", str(hour))
    assert_hour_exact(rig, hour)
    differing = "SELECT rollup, metric FROM ops.reconciliation WHERE verdict = 'differ' ORDER BY 1"
    assert rig.query(differing) == [(rollup, "edits") for rollup in sorted(rollup.name for rollup in ROLLUPS)]
    complaints = "SELECT subject FROM ops.complaints() WHERE runbook = 'layers_differ'"
    assert rig.query(complaints) == [(str(hour),)]


def test_a_bad_hour_keeps_itself_back_until_it_is_better(rig: Rig, hour: Hour) -> None:
    rig.driver()
    later = Hour(hour.end)
    rig.send(of_hour(hour, range(100)))
    rig.send(of_hour(hour, range(100, 130), title="x" * 600))
    rig.send(of_hour(later, range(300, 400)))
    rig.drain()
    wait_for_bronze(rig)
    rig.keep_cursor()
    job = rig.run("build_hours", "--hour", str(hour), "--touched")
    assert job.exit_code == 1, job.log[-3000:]
    assert "docs/runbooks/hour_blocked.md" in job.log
    assert (layers(rig, hour), layers(rig, later)) == ({"speed"}, {"batch"}), job.log[-3000:]
    complaints = "SELECT subject FROM ops.complaints() WHERE runbook = 'hour_blocked'"
    assert rig.query(complaints) == [(str(hour),)]
    [(details,)] = rig.query("SELECT details FROM ops.incidents WHERE kind = 'hour_blocked'")
    assert any("quarantine" in law for law in details["failed"])
    kept = evidence.delta_rows(rig.folder / "lake" / "quarantine")
    assert [(row["event_hour"], row["reason"]) for row in kept] == [
        (f"{hour.start:%Y-%m-%d %H:%M:%S}", "title_too_long")
    ] * 30
    assert built_by(build(rig, "--touched")) == set(), "nothing of it has changed"
    rig.send(of_hour(hour, range(500, 1100)))
    rig.drain()
    wait_for_bronze(rig)
    assert built_by(build(rig, "--touched")) == {hour}
    assert_hour_exact(rig, hour)
    assert rig.query(complaints) == []


def test_an_hour_that_is_not_over_is_refused(rig: Rig) -> None:
    job = rig.run("build_hours", "--hour", str(Hour.of(datetime.now(UTC) + timedelta(minutes=30))))
    assert job.exit_code == 2
    assert "is not over" in job.log


def test_a_wrong_hour_never_reaches_spark(rig: Rig) -> None:
    for arguments in (("--hour", "yesterday"), ()):
        job = rig.run("build_hours", *arguments)
        assert job.exit_code == 2
        assert "2026-11-23T09" in job.log
