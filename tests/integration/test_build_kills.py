"""`build_hours` killed at its steps, then two of it at once: nothing half in sight, the same rows in the end.

Each kill leaves evidence that it hit its window, and each run begins with what the one before left behind.
"""

import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration import evidence
from tests.integration.speed_rig import Driver, Rig
from tests.integration.speed_watch import Watcher, wait_for_bronze
from tests.integration.test_build_hours import (
    assert_day_exact,
    assert_hour_exact,
    assert_lake_is_what_is_published,
    files,
    layers,
    of_hour,
    published,
)
from wikiweir.hours import Hour
from wikiweir.settings import PROJECT

ENTRY = PROJECT / "tests" / "integration" / "batch_entry.py"
UNTIL_PUBLISHED = ("promoting", "publishing")
"""A job that has only begun is killed in the soak tempo, by `test_airflow_kills.py`."""


def killed(rig: Rig, step: str, hour: Hour) -> dict[str, Any]:
    """Run the job into a step, where it ends; what it wrote down."""
    written = rig.folder / f"{step}.json"
    options = {
        "step": step,
        "evidence": str(written),
        "bronze": str(rig.folder / "lake" / "bronze"),
        "words": ["--hour", str(hour), "--run-id", step],
    }
    job = rig.driver(name=step, entry=ENTRY, **options)
    assert job.wait(240) in (-signal.SIGKILL, 128 + signal.SIGKILL), job.log[-3000:]
    assert written.exists(), job.log[-3000:]
    return dict(json.loads(written.read_text(encoding="utf-8")))


def at_once(rig: Rig, *words: str) -> int:
    """Run two jobs side by side; how many of them have built an hour."""
    runs = [f"{words[0].strip('-')}-{number}" for number in (1, 2)]
    jobs: list[Driver] = [rig.job("build_hours", *words, "--run-id", run) for run in runs]
    assert [job.wait(300) for job in jobs] == [0, 0], "\n".join(job.log[-2000:] for job in jobs)
    judged = {run for (run,) in rig.query("SELECT run_id FROM ops.quality_results")}
    return len(judged & set(runs))


def test_a_job_killed_at_any_step_leaves_nothing_half_done(rig: Rig) -> None:
    hour = Hour.of(datetime.now(UTC) - timedelta(hours=2))
    rig.driver()
    for first in (0, 150, 300):
        rig.send(of_hour(hour, range(first, first + 200)))  # with copies of the last fifty
        rig.drain()
        wait_for_bronze(rig)
    assert files(rig, hour) > 1
    watcher = Watcher(rig)
    watcher.start()
    for step in UNTIL_PUBLISHED:
        killed(rig, step, hour)
        assert published(rig, hour) == [], step
        assert layers(rig, hour) == {"speed"}, step
    killed(rig, "published", hour)
    assert layers(rig, hour) == {"batch"}
    assert_hour_exact(rig, hour)
    assert rig.query("SELECT * FROM ops.reconciliation WHERE hour = %s", hour.start) == []
    assert at_once(rig, "--touched") == 1, "it was not judged, so it is built again; but not by both"
    seen = killed(rig, "compacting", hour)
    committed = evidence.bronze_files(rig.folder / "lake" / "bronze")
    assert not any(seen["file"].endswith(path) for path in committed), "OPTIMIZE was writing"
    assert files(rig, hour) > 1
    assert_hour_exact(rig, hour)
    ended = rig.run("build_hours", "--hour", str(hour))
    assert ended.exit_code == 0, ended.log[-3000:]
    assert_hour_exact(rig, hour)
    assert files(rig, hour) == 1
    assert_day_exact(rig, hour)
    assert_lake_is_what_is_published(rig, hour)
    assert rig.query("SELECT DISTINCT verdict FROM ops.reconciliation") == [("equal",)]
    watcher.over.set()
    watcher.join(10)
    assert watcher.looks > 50
    assert watcher.falls == []
