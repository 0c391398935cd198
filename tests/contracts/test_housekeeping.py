"""Airflow's own past cut to a lifetime: a real metadata database and log folder, cleaned by Airflow's own Python."""

import os
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local import bootstrap, toolchain
from local.applications import AIRFLOW
from wikiweir.settings import PROJECT

IN_A_TASK = """\
from datetime import timedelta
from airflow.sdk.execution_time.supervisor import block_orm_access
from dags.support.housekeeping import *
block_orm_access()
{call}"""
"""What Airflow does to the process of every task, so that it cannot reach the metadata database, and then the call."""
AGES = {"old": timedelta(days=31), "young": timedelta(days=29)}


class Home:
    """AIRFLOW_HOME of an Airflow that nothing runs of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.python("-m", "airflow", "db", "migrate")

    def python(self, *arguments: str) -> None:
        """Airflow's Python."""
        here = {"AIRFLOW_HOME": str(self.folder), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            [str(AIRFLOW.binary("python")), *arguments],
            env={**os.environ, **here},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def clean(self, what: str, *, is_dry: bool = False) -> None:
        self.python("-c", IN_A_TASK.format(call=f"clean_{what}(timedelta(days=30), is_dry={is_dry})"))

    def events(self) -> set[str]:
        """What stands in the table of what users did."""
        with closing(sqlite3.connect(self.folder / "airflow.db")) as database:
            return {event for (event,) in database.execute("SELECT event FROM log")} & AGES.keys()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    bootstrap.ensure_application(toolchain.root(), "airflow")
    return Home(tmp_path_factory.mktemp("airflow"))


def test_rows_older_than_the_lifetime_go_though_tasks_may_not_reach_the_database(home: Home) -> None:
    with closing(sqlite3.connect(home.folder / "airflow.db")) as database, database:
        for event, age in AGES.items():
            at = (datetime.now(UTC) - age).strftime("%Y-%m-%d %H:%M:%S.%f")
            database.execute("INSERT INTO log (dttm, event) VALUES (?, ?)", (at, event))
    home.clean("metadata", is_dry=True)
    assert home.events() == {"old", "young"}
    home.clean("metadata")
    assert home.events() == {"young"}


def test_logs_older_than_the_lifetime_go_and_with_them_folders_that_are_left_empty(home: Home) -> None:
    for name, age in AGES.items():
        for run in (f"dag_id=one/run_id={name}", f"dag_id={name}/run_id=one"):
            file = home.logs / run / "task_id=t" / "attempt=1.log"
            file.parent.mkdir(parents=True)
            file.write_text("said something\n", encoding="utf-8")
            at = (datetime.now(UTC) - age).timestamp()
            for path in (file, *file.parents[:3]):
                os.utime(path, (at, at))
    before = set(home.logs.rglob("*"))
    home.clean("logs", is_dry=True)
    assert set(home.logs.rglob("*")) == before
    home.clean("logs")
    left = {str(path.relative_to(home.logs)) for path in home.logs.rglob("*.log")}
    assert left == {f"{run}/task_id=t/attempt=1.log" for run in ("dag_id=one/run_id=young", "dag_id=young/run_id=one")}
    assert sorted(path.name for path in home.logs.glob("dag_id=*/run_id=*")) == ["run_id=one", "run_id=young"]
    assert not (home.logs / "dag_id=old").exists()
