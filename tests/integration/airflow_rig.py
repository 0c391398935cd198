"""A running stack with Airflow, as a test uses it: runs are triggered by its API, and what came of them is looked at in
PostgreSQL, in the lake and in Airflow's own logs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg2
import pytest

from local.airflow import Layout
from local.airflow_api import PATIENT_SECONDS, Client
from local.instance import Instance
from tests.integration import evidence
from tests.integration.parts import wait_for
from tests.integration.source import inject
from tests.integration.speed_rig import event
from tests.integration.weir import Weir, settings_of
from tests.oracle.compare import compare_hour
from wikiweir.hours import Hour
from wikiweir.settings import Settings

BUILD = "build_hours"
RUN_SECONDS = 420
"""A run whose attempt is killed: two attempts, and the half minute between them."""


@dataclass(kw_only=True)
class AirflowRig:
    """One instance, and the ways to ask it. `role`: who asks PostgreSQL."""

    weir: Weir
    settings: Settings
    client: Client
    role: str = "reader"

    @property
    def bronze(self) -> Path:
        return self.weir.home / "lake" / "bronze"

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the role sees."""
        with (
            closing(psycopg2.connect(self.settings.postgres_dsn(self.role))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            return cursor.fetchall()

    def kafka_ends(self) -> dict[str, int]:
        """Next offset of each partition of the events topic, as the ledgers write it."""
        ends = evidence.end_offsets(self.settings.kafka_bootstrap, self.settings.events_topic)
        return {str(partition): end for partition, end in ends.items()}

    def published(self) -> dict[Hour, int]:
        """Hour -> its version."""
        return {Hour.of(start): n for start, n in self.query("SELECT hour, version FROM ops.published_hours")}

    def served(self, hour: Hour) -> list[tuple[Any, ...]]:
        """Every row of the hour in `serving.activity`."""
        statement = "SELECT * FROM serving.activity WHERE window_start >= %s AND window_start < %s"
        return self.query(f"{statement} ORDER BY 1, 2, 3, 4, 5", hour.start, hour.end)

    def wait_published(self, hour: Hour) -> None:
        """Wait for Airflow's schedule to have published it: it may have to be ready first."""
        wait_for(lambda: hour in self.published(), 1200, lambda: str(self.client.get("dags/~/dagRuns")))

    def trigger(self, dag: str, **conf: str) -> str:
        """Start a run by hand; its id."""
        return str(self.client.post(f"dags/{dag}/dagRuns", {"conf": conf, "logical_date": None})["dag_run_id"])

    def log_of(
        self, run_id: str, task: str = BUILD, dag: str = "lake_hourly", *, attempt: Literal["every", "last"] = "every"
    ) -> str:
        """What Airflow keeps of a task's attempts."""
        folder = self.weir.home / "logs" / "airflow" / f"dag_id={dag}" / f"run_id={run_id}" / f"task_id={task}"
        logs = sorted(folder.rglob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(path.read_text(encoding="utf-8") for path in (logs if attempt == "every" else logs[-1:]))

    def runs(self) -> list[dict[str, Any]]:
        """Runs of `lake_hourly`."""
        return list(self.client.get("dags/lake_hourly/dagRuns")["dag_runs"])

    def state(self, run_id: str, dag: str = "lake_hourly") -> str:
        return str(self.client.get(f"dags/{dag}/dagRuns/{run_id}")["state"])

    def wait_finished(self, run_id: str, dag: str = "lake_hourly", task: str = BUILD) -> str:
        """Wait until the run has ended well; its log."""

        def has_ended() -> bool:
            return self.state(run_id, dag) in {"success", "failed"}

        wait_for(has_ended, RUN_SECONDS, lambda: self.log_of(run_id, task, dag)[-3000:])
        log = self.log_of(run_id, task, dag)
        assert self.state(run_id, dag) == "success", log[-3000:]
        return log

    def attempts(self, run_id: str) -> int:
        """How often the run's job was started."""
        tasks = self.client.get(f"dags/lake_hourly/dagRuns/{run_id}/taskInstances")["task_instances"]
        return next(int(task["try_number"]) for task in tasks if task["task_id"] == BUILD)

    def build_processes(self) -> list[psutil.Process]:
        """Processes of a running `build_hours`: Spark's JVM and its Python."""
        found = []
        for process in self.weir.processes():
            try:
                if any("build_hours.py" in word for word in process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def files(self, hour: Hour) -> set[str]:
        """Files of bronze's last version that hold rows of the hour."""
        return evidence.files_of_hour(self.bronze, hour)

    def send_late(self, hour: Hour, seeds: Sequence[int]) -> None:
        """Have events of a past hour come with the stream; returns when bronze holds them, in files of their own."""
        before = self.files(hour)
        ago = (datetime.now(UTC) - hour.start).total_seconds() - 90
        lines = [json.dumps(event(seed, seconds_ago=ago)).encode() for seed in seeds]
        inject(int(Instance(self.weir.home).values["WIKIWEIR_REPLAY_PORT"]), lines)
        wait_for(lambda: self.files(hour) > before, 120, lambda: f"bronze has {self.files(hour)} of {hour}")

    def assert_hour_exact(self, hour: Hour, folder: Path) -> None:
        # late events keep coming: the hour is exact for what bronze held when it was built
        [(ends,)] = self.query("SELECT end_offsets FROM ops.published_hours WHERE hour = %s", hour.start)
        records = evidence.records_of(self.settings.kafka_bootstrap, self.settings.events_topic)
        held = (record for record in records if record.offset < ends[str(record.partition)])
        evidence.run_oracle(self.settings, held, folder)
        found = compare_hour(folder, self.settings.postgres_dsn("owner"), hour.start)
        assert sum(table.rows for table in found) > 1000
        assert not [table for table in found if not table.is_none], "\n".join(map(str, found))


@contextmanager
def running(home: Path, *words: str, without: str = "superset") -> Iterator[AirflowRig]:
    """`./weir up` with these words, and `down` afterwards."""
    weir = Weir(home)
    shown = weir("up", "--without", without, *words)
    try:
        assert shown.returncode == 0, shown.stdout + shown.stderr
        with pytest.MonkeyPatch.context() as environment:
            client = Client(Layout(Instance(home)), PATIENT_SECONDS)
            yield AirflowRig(weir=weir, settings=settings_of(weir, environment), client=client)
    finally:
        weir("down")
