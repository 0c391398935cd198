"""What Airflow says of itself, asked over its REST API as its administrator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from local import instance as instances
from local.airflow import PROGRAMS, USER, Layout

SECONDS = 3.0
PATIENT_SECONDS = 60.0
"""Of who cannot go on without the answer, which may take so long while a job has both processors."""


class AirflowError(RuntimeError):
    """It does not answer, or not as expected."""


def unhealthy(layout: Layout) -> frozenset[str]:
    """Which of its programs do not report in; all of them while the api-server does not answer."""
    try:
        parts = requests.get(f"{layout.url}/api/v2/monitor/health", timeout=SECONDS).json()
        return frozenset(name.replace("_", "-") for name, part in parts.items() if part["status"] != "healthy")
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return frozenset(PROGRAMS)


@dataclass
class Client:
    """Logs in at first use; waits `seconds` for each answer."""

    layout: Layout
    seconds: float = SECONDS
    _token: str | None = field(default=None, repr=False)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """A JSON answer of `/api/v2/<path>`."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON to `/api/v2/<path>`."""
        return self._ask("POST", path, json=dict(body))

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            if self._token is None:
                login = {"username": USER, "password": self.layout.instance.secrets[instances.AIRFLOW_PASSWORD]}
                answer = requests.post(f"{self.layout.url}/auth/token", json=login, timeout=self.seconds)
                answer.raise_for_status()
                self._token = str(answer.json()["access_token"])
            headers = {"Authorization": f"Bearer {self._token}"}
            url = f"{self.layout.url}/api/v2/{path}"
            answer = requests.request(method, url, headers=headers, timeout=self.seconds, **more)
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError, KeyError) as problem:
            raise AirflowError(f"{method} {path}: {problem}") from problem
        return dict(found)


def figures(layout: Layout) -> dict[str, str]:
    """The key figure of each of its programs."""
    sick = unhealthy(layout)
    shown = {name: "does not report in" if name in sick else "healthy" for name in PROGRAMS}
    try:
        client = Client(layout)
        dags = client.get("dags", limit=100)["dags"]
        errors = client.get("importErrors")["total_entries"]
        runs = client.get("dags/~/dagRuns", limit=100, order_by="-run_after")["dag_runs"]
        waiting = client.get("dags/~/dagRuns/~/taskInstances", state="deferred", limit=1)["total_entries"]
    except AirflowError as problem:
        return {**shown, "api-server": str(problem)[:120]}
    last = {run["dag_id"]: run for run in reversed(runs)}
    told = [f"{name}: {run['state']} ({run['run_after'][:16]}Z)" for name, run in sorted(last.items())]
    return {
        **shown,
        "api-server": f"{layout.url}, log-in {USER}",
        "scheduler": "; ".join(told) or "no run yet",
        "dag-processor": f"{len(dags)} DAGs, {errors} import errors",
        "triggerer": f"{waiting} tasks wait",
    }
