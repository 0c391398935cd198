"""Airflow closes hours of a running stack by its schedule, by hand and after a kill; each equals the oracle.

The surprising thing: nothing here starts a job. An hour is awaited in PostgreSQL, as an analyst would see it.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import requests

from tests.integration.airflow_kills import wait_until_building
from tests.integration.airflow_rig import AirflowRig, running
from wikiweir.hours import LENGTH, Hour


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowRig]:
    """More than an hour of invented past, at a twentieth of the true rate."""
    with running(tmp_path_factory.mktemp("hourly") / "state", "--rate", "2", "--history", "80m") as made:
        yield made


def test_every_past_hour_closes_by_itself(rig: AirflowRig, tmp_path: Path) -> None:
    now = Hour.of(datetime.now(UTC))
    hour = Hour(now.start - LENGTH)
    rig.wait_published(hour)
    rig.assert_hour_exact(hour, tmp_path)
    layers = rig.query("SELECT DISTINCT layer FROM serving.activity WHERE window_start >= %s", hour.start)
    assert set(layers) == {("batch",), ("speed",)}
    assert rig.client.get("importErrors")["total_entries"] == 0
    [run] = [
        run for run in rig.runs()
        if run["run_type"] == "scheduled" and run["data_interval_end"].startswith(f"{now.start:%Y-%m-%dT%H:00}")
    ]  # fmt: skip
    log = rig.wait_finished(run["dag_run_id"])
    assert re.search(rf"hour {hour}: bronze version \d+ holds .* fact", log)


def test_a_cleared_run_builds_its_hour_again_though_its_scheduler_is_killed(rig: AirflowRig, tmp_path: Path) -> None:
    run = next(run for run in rig.runs() if run["run_type"] == "scheduled" and run["state"] == "success")
    run_id, hour = run["dag_run_id"], Hour(datetime.fromisoformat(run["data_interval_start"]))
    before, version, attempts = rig.served(hour), rig.published()[hour], rig.attempts(run_id)
    rig.client.post(f"dags/lake_hourly/dagRuns/{run_id}/clear", {"dry_run": False})
    wait_until_building(rig, run_id, hour)
    job = rig.build_processes()
    psutil.Process(rig.weir.status()["scheduler"]["pid"]).kill()
    assert not psutil.wait_procs(job, 60)[1], "it ends with its scheduler"
    rig.wait_finished(run_id)
    assert rig.attempts(run_id) == attempts + 2
    assert rig.served(hour) == before
    assert rig.published()[hour] > version
    rig.assert_hour_exact(hour, tmp_path)


def test_the_daily_maintenance_runs_on_a_running_stack(rig: AirflowRig) -> None:
    before = rig.published()
    run_id = rig.trigger("lake_maintenance")
    log = rig.wait_finished(run_id, "lake_maintenance", "maintain_lake")
    assert "bronze: 0 hours hold nothing that arrived since" in log
    assert "Checking table dag_run" in rig.log_of(run_id, "clean_metadata", "lake_maintenance")
    assert re.search(
        r"published_hours: \d+ of them, (\d+) of \1 expectations hold",
        rig.log_of(run_id, "check_published", "lake_maintenance"),
    )
    assert before.keys() <= rig.published().keys()


def test_nobody_gets_in_without_a_log_in(rig: AirflowRig) -> None:
    address = rig.client.layout.url
    url = f"{address}/api/v2/dags/lake_hourly/dagRuns"
    assert requests.post(url, json={"logical_date": None}, timeout=10).status_code == 401
    assert requests.get(url, timeout=10).status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert requests.post(f"{address}/auth/token", json=wrong, timeout=10).status_code == 401
