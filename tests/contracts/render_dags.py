"""Run by Airflow's own Python: every DAG as JSON into a file, with the command line that each task comes to."""

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
HOUR = "2026-11-23T09"
os.environ |= {
    "WIKIWEIR_SPARK_SUBMIT": "/jobs-env/bin/spark-submit",
    "WIKIWEIR_SPARK_PROPERTIES": "/state/spark-defaults.conf",
    "WIKIWEIR_PYTHON": "/jobs-env/bin/python",
    "AIRFLOW_CONN_WIKIWEIR_SPARK": json.dumps({"conn_type": "spark", "host": "local[2]"}),
}


def told(task: Any) -> dict[str, Any]:
    """What matters of a task."""
    shown = {
        "type": type(task).__name__,
        "after": sorted(task.upstream_task_ids),
        "owner": task.owner,
        "retries": task.retries,
        "backs_off": task.retry_exponential_backoff,
        "time_limit_seconds": task.execution_timeout and task.execution_timeout.total_seconds(),
        "pool": task.pool,
        "publishes": [asset.name for asset in task.outlets],
    }
    if hasattr(task, "application"):
        pulled = SimpleNamespace(xcom_pull=lambda task_ids: HOUR)
        params = {"first": HOUR, "last": HOUR, "dry_run": True, "new": False}
        task.render_template_fields({"ti": pulled, "run_id": "scheduled__2026-11-23T10", "params": params})
        command = task._get_hook()._build_spark_submit_command(task.application)
        shown["command"] = [part.replace(str(PROJECT), "/project") for part in command]
    if hasattr(task, "module"):
        task.render_template_fields({"run_id": "asset_triggered__2026-11-23T10"})
        shown["module_command"] = task.command
    return shown


def main(out: Path) -> None:
    found = {}
    for file in sorted((PROJECT / "dags").glob("[a-z]*.py")):
        dag = getattr(importlib.import_module(f"dags.{file.stem}"), file.stem)()
        found[dag.dag_id] = {
            "schedule": getattr(dag.timetable, "expression", None),
            "follows": sorted(
                asset.name for asset in getattr(getattr(dag.timetable, "asset_condition", None), "objects", ())
            ),
            "has_data_interval": "Interval" in type(dag.timetable).__name__,
            "catches_up": dag.catchup,
            "tags": sorted(dag.tags),
            "params": sorted(dag.params),
            "doc_lines": len((dag.doc_md or "").splitlines()),
            "tasks": {task.task_id: told(task) for task in dag.tasks},
        }
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
