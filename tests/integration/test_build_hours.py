"""An hour from bronze to `batch.*`: equal to the oracle, however often it is built, and never half in sight.

Copies of an id lie in different event hours here, because a first copy elsewhere must still be found. The surprising
thing: an hour that was built before its late events came is *not* wrong in `serving`; it says what it was built from.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration import evidence
from tests.integration.speed_rig import Driver, Rig, event
from tests.integration.speed_watch import Watcher, wait_for_bronze
from tests.oracle.compare import compare_hour
from wikiweir.hours import LENGTH, Hour


def seconds_ago(hour: Hour, minute: float) -> float:
    """How long ago a minute of an hour was."""
    return (datetime.now(UTC) - hour.start).total_seconds() - 60 * minute


def of_hour(hour: Hour, seeds: range, **changes: Any) -> list[dict[str, Any]]:
    """Invented events, spread over an hour."""
    return [event(seed, seconds_ago=seconds_ago(hour, seed * 7 % 60 + 0.5), **changes) for seed in seeds]


def build(rig: Rig, *arguments: str) -> Driver:
    job = rig.job("build_hours", *arguments)
    assert job.wait(180) == 0, job.log[-3000:]
    return job


def verdicts(rig: Rig, hour: Hour) -> set[str]:
    """How the layers compare in an hour."""
    found = rig.query("SELECT DISTINCT verdict FROM ops.reconciliation WHERE hour = %s", hour.start)
    return {verdict for (verdict,) in found}


def files(rig: Rig, hour: Hour) -> int:
    """Files of bronze's last version that hold rows of the hour."""
    hours = evidence.bronze_files(rig.folder / "lake" / "bronze").values()
    return sum(found.replace("T", " ").startswith(f"{hour.start:%Y-%m-%d %H}") for found in hours)


def built_by(job: Driver) -> set[Hour]:
    """The hours that a run has published, by its log."""
    return {Hour.parse(found) for found in re.findall(r"hour (\S+): published as version", job.log)}


def published(rig: Rig, hour: Hour) -> list[tuple[Any, ...]]:
    return rig.query("SELECT version, bronze_version FROM ops.published_hours WHERE hour = %s", hour.start)


def rows(rig: Rig, hour: Hour) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the hour, whoever built it when."""
    where = "WHERE window_start >= %s AND window_start < %s ORDER BY 1, 2, 3, 4, 5"
    tables = ("activity", "user_activity", "page_activity", "edit_sizes")
    return {name: rig.query(f"SELECT * FROM batch.{name} {where}", hour.start, hour.end) for name in tables}


def layers(rig: Rig, hour: Hour) -> set[str]:
    """Who serves the hour."""
    found = "SELECT DISTINCT layer FROM serving.activity WHERE window_start >= %s AND window_start < %s"
    return {layer for (layer,) in rig.query(found, hour.start, hour.end)}


def assert_hour_exact(rig: Rig, hour: Hour) -> None:
    found = compare_hour(rig.oracle(), rig.settings.postgres_dsn("owner"), hour.start)
    assert sum(table.rows for table in found) > 40
    assert not [table for table in found if not table.is_none], "\n".join(map(str, found))


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
    assert {str(built) for built in built_by(job)} == {str(hour), str(later), str(Hour(hour.start - LENGTH))}
    assert built_by(build(rig, "--touched")) == set(), "nothing has changed since"
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
    # a fault of the speed layer, as a reader would never see it
    rig.query("UPDATE speed.activity SET edits = edits + 1 WHERE window_start >= %s", hour.start)
    build(rig, "--hour", str(hour))
    assert verdicts(rig, hour) == {"equal", "explained", "differ"}
    assert rig.query(complaints) == [(str(hour),)]


def test_an_hour_that_is_not_over_is_refused(rig: Rig) -> None:
    job = rig.job("build_hours", "--hour", str(Hour.of(datetime.now(UTC) + timedelta(minutes=30))))
    assert job.wait(60) == 2
    assert "is not over" in job.log


def test_a_wrong_hour_never_reaches_spark(rig: Rig) -> None:
    for arguments in (("--hour", "yesterday"), ()):
        job = rig.job("build_hours", *arguments)
        assert job.wait(60) == 2
        assert "2026-11-23T09" in job.log
