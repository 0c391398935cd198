"""kill -9 of a job that Airflow runs, at a chosen step; what follows is left to Airflow's own retry.

Nothing is put into the job: its step is seen from outside, in its log, the lake's folders and PostgreSQL's locks. The
surprising thing: each look must take a millisecond, because a small hour's steps are over in a few of them.
"""

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2

from jobs.lib.tables import FACTS, gold
from tests.integration import evidence
from tests.integration.airflow_rig import AirflowRig
from tests.integration.parts import wait_for
from wikiweir.hours import Hour
from wikiweir.rollups import ROLLUPS

STEPS = ("cleaning", "promoting", "publishing", "compacting")

PROMOTED = (FACTS, *map(gold, ROLLUPS))

_PUBLISHES = """\
SELECT FROM pg_locks
WHERE relation = 'batch.activity'::regclass AND mode = 'RowExclusiveLock' AND granted"""


def kill_build(rig: AirflowRig, run_id: str, hour: Hour, step: str) -> str:
    """Kill the run's job while it is at a step of the hour; the evidence that it was."""
    wait_until_building(rig, run_id, hour)
    processes = rig.build_processes()
    assert processes
    found = _catch(rig, run_id, hour, step, lambda: any(process.is_running() for process in processes))
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, 10)
    if step == "compacting":
        assert found not in evidence.bronze_files(rig.bronze), "OPTIMIZE was writing"
    return found


def wait_until_building(rig: AirflowRig, run_id: str, hour: Hour) -> None:
    """Return when the run's job has begun with the hour."""
    begun = re.compile(rf"hour {hour} \(\d+ of \d+\)")

    def is_building() -> bool:
        return bool(rig.build_processes() and begun.search(rig.log_of(run_id, attempt="last")))

    wait_for(is_building, 180, lambda: rig.log_of(run_id)[-3000:])


def _catch(rig: AirflowRig, run_id: str, hour: Hour, step: str, is_running: Callable[[], bool]) -> str:
    with closing(psycopg2.connect(rig.settings.postgres_dsn("owner"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        before = _commits(rig)
        files = set(_files(rig, hour))

        def look() -> str | None:
            match step:
                case "cleaning":  # it has begun, and nothing of it is anywhere yet
                    assert _commits(rig) == before
                    return "begun"
                case "promoting":  # some tables of the lake have the hour, the others are about to
                    grown = [name for name, number in _commits(rig).items() if number > before[name]]
                    return str(grown) if 0 < len(grown) < len(before) else None
                case "publishing":  # its transaction is open
                    cursor.execute(_PUBLISHES)
                    return "locked" if cursor.fetchone() is not None else None
                case "compacting":  # the file is there, its commit is not
                    if f"hour {hour}: published as version" not in rig.log_of(run_id):
                        return None
                    new = set(_files(rig, hour)) - files
                    # late events may have come meanwhile
                    pending = new - rig.files(hour) if new else new
                    return min(pending, default=None)
                case _:
                    raise ValueError(f"expected one of {STEPS}, found {step}")

        while (found := look()) is None:
            assert is_running(), rig.log_of(run_id)[-3000:]
            time.sleep(0.001)  # it is a matter of milliseconds
        return found


def _commits(rig: AirflowRig) -> dict[str, int]:
    """Table of the lake -> how many commits its log has."""
    logs = {table.name: rig.weir.home / "lake" / table.name / "_delta_log" for table in PROMOTED}
    return {name: sum(path.suffix == ".json" for path in log.iterdir()) for name, log in logs.items()}


def _files(rig: AirflowRig, hour: Hour) -> list[str]:
    """Bronze's files of an hour, as its log would name them."""
    folder: Path = rig.bronze / f"event_hour={hour.start:%Y-%m-%d %H}%3A00%3A00"
    return [f"{folder.name}/{path.name}" for path in folder.glob("*.parquet")]
