"""`module()`: a task that runs one of our programs by the Python of the jobs' own environment, e.g. `dashboards.sync`.

The surprising thing: Airflow's environment has none of what they import. The scheduler's environment names that
Python; on a cluster's workers it is simply `python3`. A program that has nothing to do here ends with 99, and its task
is skipped.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

PROJECT = Path(__file__).resolve().parents[2]
NOTHING_TO_DO = 99


class RunModule(BaseOperator):
    """Runs `python -m module arguments` in the project's folder; what it prints is the task's log."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, module: str, arguments: Sequence[str] = (), python: str = "python3", **more: Any) -> None:
        super().__init__(**more)
        self.module = module
        self.arguments = list(arguments)
        self.python = python
        self.hook = SubprocessHook()

    @property
    def command(self) -> list[str]:
        """What is run."""
        return [self.python, "-m", self.module, *self.arguments]

    def execute(self, context: Context) -> None:
        done = self.hook.run_command(self.command, env=dict(os.environ), cwd=str(PROJECT))
        if done.exit_code == NOTHING_TO_DO:
            raise AirflowSkipException(f"{self.module} has nothing to do here: {done.output}")
        if done.exit_code:
            raise RuntimeError(f"{self.module} ended with {done.exit_code}; its log above says why")

    def on_kill(self) -> None:
        self.hook.send_sigterm()


def module(name: str, *arguments: str, task_id: str | None = None, **more: Any) -> RunModule:
    """A task for a program of ours; `arguments` may be templates, `more` are the operator's own."""
    return RunModule(
        task_id=task_id or name.rsplit(".", 1)[-1],
        module=name,
        arguments=arguments,
        python=os.environ.get("WIKIWEIR_PYTHON", "python3"),
        **{"execution_timeout": timedelta(minutes=30), **more},
    )
