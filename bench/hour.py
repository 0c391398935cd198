"""Hour: an hour of the true volume from *ready* to published, by Airflow, while the stack (without Superset) goes on.

The past is caught up first; then the last full hour is triggered again and again, while a reader in a process of its
own notes when each event becomes visible, and memory is read every few seconds. The surprising thing: the hour is ready
when it is triggered, so what stands between the trigger and its job is Airflow's.
"""

import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2

from bench import lib_latency, lib_memory, lib_result, lib_stack
from bench.lib_result import Bar, Document, UnequalAnswersError
from bench.lib_stack import Stack
from local.airflow import Layout
from local.airflow_api import PATIENT_SECONDS, AirflowError, Client
from wikiweir.hours import LENGTH, Hour

RATE = 40.0
HISTORY = "125m"
"""The last full hour is whole in it, whatever the time is."""
CATCH_UP_SECONDS = 900.0
RUN_SECONDS = 600.0
LOOK_SECONDS = 0.5
SAMPLE_EVERY = 10
"""Looks between two samples of memory."""
STEPS = ("cleaned", "aggregated", "checked", "promoted", "published")
MUST_SECONDS, MUST_FRESH_SECONDS, MUST_MIB = 150, 10, 6.5 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the DAG."""

    parts: dict[str, float]
    """Seconds of each part, in order, from the trigger until readers have the hour."""
    afterwards: float
    """Seconds from there to the end of the run."""
    highest_mib: float

    @property
    def published(self) -> float:
        return sum(self.parts.values())


def run(*, rounds: int = 3, rate: float = RATE, is_quick: bool = False) -> Document:
    """Measure, print and write `hour.json`."""
    with (
        tempfile.TemporaryDirectory(prefix="weir-bench-") as folder,
        lib_stack.running(Path(folder), rate, history=HISTORY, without=("superset",)) as stack,
    ):
        client = Client(Layout(stack.instance), PATIENT_SECONDS)
        hour = Hour(Hour.of(datetime.now(UTC)).start - LENGTH)
        _caught_up(stack, client, hour)
        before = _events(stack, hour)
        with lib_latency.watching(stack) as seen:
            begin_ms = lib_stack.CLOCK.now_ms()
            runs = [_once(stack, client, hour) for _ in range(rounds)]
            end_ms = lib_stack.CLOCK.now_ms()
            stack.replay.pause()
            lib_stack.wait_for(30)  # what was sent last must have been seen, too
            sent = stack.replay.sent()
        latency = lib_latency.summary(sent, seen, begin_ms, end_ms)
        if (after := _events(stack, hour)) != before:
            raise UnequalAnswersError(f"the hour had {before:,} events, and {after:,} when it was built again")
    return _report(runs, latency, before, rate, is_quick)


def _query(stack: Stack, statement: str, *values: Any) -> tuple[Any, ...]:
    with closing(psycopg2.connect(stack.settings.postgres_dsn("reader"))) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone() or (None,)


def _events(stack: Stack, hour: Hour) -> int:
    statement = "SELECT sum(events)::bigint FROM serving.activity_hourly WHERE window_start = %s AND layer = 'batch'"
    return int(_query(stack, statement, hour.start)[0] or 0)


def _version(stack: Stack, hour: Hour) -> int:
    return int(_query(stack, "SELECT max(version) FROM ops.published_hours WHERE hour = %s", hour.start)[0] or 0)


def _runs_now(client: Client) -> bool:
    try:
        runs = client.get("dags/~/dagRuns", limit=100)["dag_runs"]
    except AirflowError:
        return True
    return any(run["state"] in {"queued", "running"} for run in runs if run["dag_id"] == "lake_hourly")


def _caught_up(stack: Stack, client: Client, hour: Hour) -> None:
    if not lib_stack.wait_for_condition(lambda: _version(stack, hour) > 0 and not _runs_now(client), CATCH_UP_SECONDS):
        raise TimeoutError(f"hour {hour} was not published within {CATCH_UP_SECONDS:.0f} s")


def _once(stack: Stack, client: Client, hour: Hour) -> Run:
    """Trigger the hour and wait for the end of its run."""
    version, samples = _version(stack, hour), []
    triggered = datetime.now(UTC)
    body = {"conf": {"hour": str(hour)}, "logical_date": None}
    path = f"dags/lake_hourly/dagRuns/{client.post('dags/lake_hourly/dagRuns', body)['dag_run_id']}"
    published, looks = None, 0
    while published is None or client.get(path)["state"] in {"queued", "running"}:
        if published is None and _version(stack, hour) > version:
            published = datetime.now(UTC)
        if looks % SAMPLE_EVERY == 0:
            found = lib_memory.sample(stack.instance, {"replay": stack.replay.program.pid})
            samples.append(sum(one.pss_mib for one in found))
        looks += 1
        lib_stack.wait_for(LOOK_SECONDS)
        if datetime.now(UTC) - triggered > timedelta(seconds=RUN_SECONDS):
            raise TimeoutError(f"{path} has not ended after {RUN_SECONDS:.0f} s")
    tasks = client.get(f"{path}/taskInstances")["task_instances"]
    [began] = [datetime.fromisoformat(task["start_date"]) for task in tasks if task["task_id"] == "build_hours"]
    ended = datetime.fromisoformat(client.get(path)["end_date"])
    steps = _query(stack, "SELECT seconds FROM ops.published_hours WHERE hour = %s", hour.start)[0]
    worked = {name: float(steps[name]) for name in STEPS}
    before = (published - began).total_seconds() - sum(worked.values())
    parts = {"Airflow": (began - triggered).total_seconds(), "Java, Spark, plan": before, **worked}
    lib_result.console.print(f"  published after {sum(parts.values()):.1f} s", markup=False)
    return Run(parts, (ended - published).total_seconds(), max(samples))


def _report(runs: list[Run], latency: Document, events: int, rate: float, is_quick: bool) -> Document:
    parts = {name: [run.parts[name] for run in runs] for name in runs[0].parts}
    bars = [
        Bar("ready → published", median(run.published for run in runs), MUST_SECONDS, "s", at_least=False),
        Bar("p99 of the speed layer meanwhile", latency["p99"], MUST_FRESH_SECONDS, "s", at_least=False),
        Bar("whole stack, highest sample", max(run.highest_mib for run in runs), MUST_MIB, "MiB", at_least=False),
    ]
    rows = [[name, median(seconds), max(seconds)] for name, seconds in parts.items()]
    rows.append(["together", median(run.published for run in runs), max(run.published for run in runs)])
    rows.append(["afterwards (day, compaction, ends)", median(run.afterwards for run in runs), ""])
    lib_result.show(f"an hour of {events:,} events, ready → published", ["part", "median s", "most"], rows)
    document = {
        "machine": lib_result.machine(),
        "rounds": len(runs),
        "input": {"events_of_the_hour": events, "events_per_second_meanwhile": rate},
        "published_after_seconds": lib_result.summary([run.published for run in runs], 1),
        "parts_seconds": {name: lib_result.summary(seconds, 1) for name, seconds in parts.items()},
        "afterwards_seconds": lib_result.summary([run.afterwards for run in runs], 1),
        "freshness_meanwhile": latency,
        "highest_pss_mib": lib_result.summary([run.highest_mib for run in runs], 0),
        "answers_equal": True,
        "answers": "the hour has the same events after each run, and every id sent meanwhile was seen",
    }
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('hour', document, bars, is_quick=is_quick)}")
    return document
