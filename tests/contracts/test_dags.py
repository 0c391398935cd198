"""The DAGs as Airflow's own Python loads them: equal to the fixture, and in the house's manner.

A change of a DAG is seen in review as a change of `tests/fixtures/dags.json`; it is written anew by
`WIKIWEIR_TOOLCHAIN/env/airflow/bin/python tests/contracts/render_dags.py tests/fixtures/dags.json`.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local import bootstrap, toolchain
from local.applications import AIRFLOW
from wikiweir.settings import PROJECT

FIXTURE = PROJECT / "tests" / "fixtures" / "dags.json"


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    bootstrap.ensure_application(toolchain.root(), "airflow")
    folder = tmp_path_factory.mktemp("airflow")
    out = folder / "dags.json"
    done = subprocess.run(
        [str(AIRFLOW.binary("python")), str(Path(__file__).with_name("render_dags.py")), str(out)],
        env={**os.environ, "AIRFLOW_HOME": str(folder), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(out.read_text(encoding="utf-8")))


def test_every_task_and_command_is_as_reviewed(dags: dict[str, Any]) -> None:
    assert dags == json.loads(FIXTURE.read_text(encoding="utf-8"))


def test_every_dag_explains_itself(dags: dict[str, Any]) -> None:
    for name, dag in dags.items():
        assert dag["doc_lines"] > 5, name
        assert dag["tags"], name


def test_a_cron_schedule_has_an_hour_long_interval(dags: dict[str, Any]) -> None:
    """A plain cron string gives an interval of no length, and a run that is about no hour."""
    assert [name for name, dag in dags.items() if dag["schedule"] and not dag["has_data_interval"]] == []


def test_every_task_is_tried_again_and_ends(dags: dict[str, Any]) -> None:
    for name, dag in dags.items():
        for task_id, task in dag["tasks"].items():
            assert task["retries"], (name, task_id)
            assert task["backs_off"], (name, task_id)
            assert task["time_limit_seconds"], (name, task_id)


def test_one_spark_job_at_a_time(dags: dict[str, Any]) -> None:
    tasks = [task for dag in dags.values() for task in dag["tasks"].values()]
    assert {task["pool"] for task in tasks if "command" in task} == {"spark"}
