"""Wikiweir's batch job over a copy of the lake, as `./weir submit build_hours --hour …` runs it, and its times.

Nothing is asked of the job: its steps are in its log, the moment its session stood is when PostgreSQL saw it come, and
what it wrote is in Delta's logs. The surprising thing: Python's log says local time, so a reader has to know the zone.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg2

from bench import lib_answers, lib_delta
from bench.lib_answers import Row
from bench.lib_delta import Commit
from bench.lib_workbench import Spent, Workbench
from wikiweir.clock import SystemClock
from wikiweir.hours import Hour
from wikiweir.settings import PROJECT

APPLICATION = "wikiweir-build-hours"
CAME = "SELECT extract(epoch FROM backend_start)::float8 FROM pg_stat_activity WHERE application_name = %s"
LINE = re.compile(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2},\d{3}) INFO \S+: (.*)")
STEP = re.compile(r"([a-z][a-z ]*) in (\d+\.\d+) s")
PLANNED, DONE, COMPACTED = "bronze holds", "published as version", "rows compacted from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run took and wrote."""

    spent: Spent
    published: float
    """Seconds from its start until readers had the hour."""
    steps: Mapping[str, float]
    """Seconds of each, in order."""
    commits: list[Commit]
    accounting: Mapping[str, int]
    """Outcome -> records of the hour."""

    def bytes(self, *, compaction: bool) -> int:
        """What it wrote into data files, in compaction or otherwise."""
        return sum(commit.bytes for commit in self.commits if (commit.operation == "OPTIMIZE") is compaction)


def run(bench: Workbench, template: Path, hour: Hour, number: int, expected: dict[str, list[Row]]) -> Run:
    """One run over a copy of the lake into a database of its own, answers checked. The copy is left at `lake`."""
    database = f"bench_ours_{number}"
    folder = bench.folder / database
    lake = folder / "lake"
    shutil.copytree(template, lake)
    before = lib_delta.versions(lake)
    bench.create(database, with_schema=True)
    connected: list[float] = []
    connection = psycopg2.connect(bench.dsn(database))
    connection.autocommit = True
    with connection.cursor() as cursor:

        def look() -> None:
            if not connected:
                cursor.execute(CAME, (APPLICATION,))
                connected.extend(at for (at,) in cursor.fetchall())

        began = SystemClock().now_ms() / 1000
        script, changes = PROJECT / "jobs" / "build_hours.py", {"postgres_dbname": database, "lake": lake.as_uri()}
        spent = bench.submit(script, ("--hour", str(hour)), folder, changes=changes, look=look)
        cursor.execute("SELECT outcome, sum(records)::bigint FROM ops.hour_outcomes GROUP BY outcome")
        accounting: dict[str, int] = dict(cursor.fetchall())
    connection.close()
    lib_answers.compare("ours", expected, lib_answers.read_postgres(bench.dsn(database), "batch.", hour))
    bench.drop(database)
    log = (folder / "driver.log").read_text(encoding="utf-8", errors="replace")
    steps = split(log, began, connected[0], began + spent.seconds)
    after = list(steps)[list(steps).index("published") + 1 :]
    return Run(
        spent=spent,
        published=spent.seconds - sum(steps[name] for name in after),
        steps=steps,
        commits=lib_delta.since(lake, before),
        accounting=accounting,
    )


def split(log: str, began: float, connected: float, ended: float) -> dict[str, float]:
    """Seconds of each step of a run that built one hour, from its log; instants are seconds since 1970.

    `pinning` is what no other step has: how far the pinned version goes.
    """
    lines = [
        (datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp(), said)  # noqa: DTZ007 # local, as it was written
        for at, said in LINE.findall(log)
    ]

    def at(what: str) -> float:
        return next(moment for moment, said in lines if what in said)

    planned, hour_done = at(PLANNED), at(DONE)
    days_done = [moment for moment, said in lines if DONE in said][-1]
    compacted = at(COMPACTED) if any(COMPACTED in said for _, said in lines) else days_done
    told = next(said for _, said in lines if DONE in said).rpartition(";")[2]
    inner = {name.strip(): float(seconds) for name, seconds in STEP.findall(told)}
    return {
        "JVM and session": connected - began,
        "plan": planned - connected,
        "pinning": hour_done - sum(inner.values()) - planned,
        **inner,
        "day": days_done - hour_done,
        "compaction": compacted - days_done,
        "stop": ended - compacted,
    }
