"""Airflow closes hours of a running stack by its schedule, by hand and after a kill; each equals the oracle.

The surprising thing: nothing here starts a job. An hour is awaited in PostgreSQL, as an analyst would see it.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests

from local.airflow import Layout
from local.airflow_api import Client
from local.instance import Instance
from tests.integration import evidence
from tests.integration.parts import wait_for
from tests.integration.weir import Weir, settings_of
from tests.oracle.compare import compare_hour
from wikiweir.hours import Hour
from wikiweir.settings import Settings


@pytest.fixture(scope="module")
def weir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    """More than two hours of invented past, at a tenth of the true rate."""
    made = Weir(tmp_path_factory.mktemp("hourly") / "state")
    shown = made("up", "--rate", "4", "--history", "140m")
    try:
        assert shown.returncode == 0, shown.stdout + shown.stderr
        yield made
    finally:
        made("down")


@pytest.fixture
def settings(weir: Weir, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return settings_of(weir, monkeypatch)


@pytest.fixture
def client(weir: Weir) -> Client:
    return Client(Layout(Instance(weir.home)))


def query(settings: Settings, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(settings.postgres_dsn("reader"))) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def published(settings: Settings) -> dict[Hour, int]:
    """Hour -> its version."""
    found = query(settings, "SELECT hour, version FROM ops.published_hours")
    return {Hour.of(start): version for start, version in found}


def log_of(weir: Weir, run_id: str, task: str, dag: str = "lake_hourly") -> str:
    """What Airflow keeps of a task's attempts."""
    folder = weir.home / "logs" / "airflow" / f"dag_id={dag}" / f"run_id={run_id}" / f"task_id={task}"
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.log")))


def finished(client: Client, weir: Weir, run_id: str) -> dict[str, Any]:
    """The run, once it has ended well."""

    def state() -> str:
        return str(client.get(f"dags/lake_hourly/dagRuns/{run_id}")["state"])

    wait_for(lambda: state() in {"success", "failed"}, 300, lambda: log_of(weir, run_id, "build_hours")[-3000:])
    assert state() == "success", log_of(weir, run_id, "build_hours")[-3000:]
    return client.get(f"dags/lake_hourly/dagRuns/{run_id}")


def trigger(client: Client, hour: Hour) -> str:
    """Start a run by hand; its id."""
    body = {"conf": {"hour": str(hour)}, "logical_date": None}
    return str(client.post("dags/lake_hourly/dagRuns", body)["dag_run_id"])


def assert_hour_exact(settings: Settings, hour: Hour, folder: Path) -> None:
    # late events keep coming: the hour is exact for what bronze held when it was built
    [(ends,)] = query(settings, "SELECT end_offsets FROM ops.published_hours WHERE hour = %s", hour.start)
    records = evidence.read_topic(settings.kafka_bootstrap, settings.events_topic)
    evidence.run_oracle(settings, [one for one in records if one.offset < ends[str(one.partition)]], folder)
    found = compare_hour(folder, settings.postgres_dsn("owner"), hour.start)
    assert sum(table.rows for table in found) > 1000
    assert not [table for table in found if not table.is_none], "\n".join(map(str, found))


def build_processes(weir: Weir) -> list[psutil.Process]:
    """Processes of a running `build_hours`."""
    supervisord = psutil.Process(int((weir.home / "run" / "supervisord.pid").read_text(encoding="ascii")))
    found = []
    for process in supervisord.children(recursive=True):
        try:
            if any("build_hours.py" in word for word in process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_every_past_hour_closes_by_itself(weir: Weir, settings: Settings, client: Client, tmp_path: Path) -> None:
    now = Hour.of(datetime.now(UTC))
    last, before = Hour(now.start - timedelta(hours=1)), Hour(now.start - timedelta(hours=2))
    wait_for(lambda: {last, before} <= published(settings).keys(), 600, lambda: str(client.get("dags/~/dagRuns")))
    assert_hour_exact(settings, last, tmp_path / "last")
    assert_hour_exact(settings, before, tmp_path / "before")
    layers = query(settings, "SELECT DISTINCT layer FROM serving.activity WHERE window_start >= %s", before.start)
    assert set(layers) == {("batch",), ("speed",)}
    assert client.get("importErrors")["total_entries"] == 0
    runs = [run for run in client.get("dags/lake_hourly/dagRuns")["dag_runs"] if run["run_type"] == "scheduled"]
    [run] = [run for run in runs if run["data_interval_end"].startswith(f"{now.start:%Y-%m-%dT%H:00}")]
    finished(client, weir, run["dag_run_id"])
    log = log_of(weir, run["dag_run_id"], "build_hours")
    assert re.search(rf"hour {last}: bronze version \d+ holds .* fact", log)


def test_an_hour_built_by_hand_again_is_the_same_though_its_job_is_killed(
    weir: Weir, settings: Settings, client: Client, tmp_path: Path
) -> None:
    hour = Hour(Hour.of(datetime.now(UTC)).start - timedelta(hours=2))
    statement = "SELECT * FROM serving.activity WHERE window_start >= %s AND window_start < %s ORDER BY 1, 2, 3, 4, 5"
    before, version = query(settings, statement, hour.start, hour.end), published(settings)[hour]
    run_id = trigger(client, hour)
    wait_for(lambda: "bronze version" in log_of(weir, run_id, "build_hours") or bool(build_processes(weir)), 120, str)
    for process in build_processes(weir):
        process.send_signal(signal.SIGKILL)
    finished(client, weir, run_id)
    [task] = client.get(f"dags/lake_hourly/dagRuns/{run_id}/taskInstances", task_id="build_hours")["task_instances"][
        -1:
    ]
    assert task["try_number"] == 2
    assert query(settings, statement, hour.start, hour.end) == before
    assert published(settings)[hour] == version + 1
    assert_hour_exact(settings, hour, tmp_path)


def test_the_daily_maintenance_runs_on_a_running_stack(weir: Weir, settings: Settings, client: Client) -> None:
    def runs() -> dict[str, str]:
        return {run["dag_run_id"]: run["state"] for run in client.get("dags/lake_maintenance/dagRuns")["dag_runs"]}

    before = published(settings)
    run_id = str(client.post("dags/lake_maintenance/dagRuns", {"logical_date": None})["dag_run_id"])
    wait_for(lambda: runs()[run_id] in {"success", "failed"}, 600, lambda: str(runs()))
    log = {task: log_of(weir, run_id, task, "lake_maintenance") for task in ("maintain_lake", "clean_metadata")}
    assert runs()[run_id] == "success", log
    assert "bronze: 0 hours hold nothing that arrived since" in log["maintain_lake"]
    assert "Checking table dag_run" in log["clean_metadata"]
    assert before.keys() <= published(settings).keys()


def test_nobody_gets_in_without_a_log_in(weir: Weir, client: Client) -> None:
    url = f"{client.layout.url}/api/v2/dags/lake_hourly/dagRuns"
    assert requests.post(url, json={"logical_date": None}, timeout=10).status_code == 401
    assert requests.get(url, timeout=10).status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert requests.post(f"{client.layout.url}/auth/token", json=wrong, timeout=10).status_code == 401
