"""Ends what a program that died by itself has left behind in supervisord's session.

    python -m local.orphans COMMAND...      end it, then become COMMAND (only supervisord runs this)

supervisord stops a program's process group, and none once the program itself is dead; and Airflow gives each task a
group of its own. The surprising thing: the session tells who belongs to whom. supervisord leads one, nothing below it
leaves that but PostgreSQL's backends (which end with their postmaster), and the system hands the number to nobody
else while one member lives. Command lines and environments tell nothing: Airflow's processes overwrite theirs.

What a killed scheduler leaves: its workers, which never notice, and the tasks that they run. Airflow would not take
such a task over: it lets it run for some minutes, its output going to a pipe that nobody reads, then starts it anew. So
a task ends with its scheduler, as it would with its machine, and runs again the sooner: it counts as running until the
next scheduler sees that the one before is dead (`orphaned_tasks_check_interval` in `airflow/airflow.cfg`).
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import psutil

from local.processes import NotReadyError, wait_until
from wikiweir.clock import Clock, SystemClock

END_SECONDS = 10.0
"""A killed process is gone at once, unless it hangs in a system call."""


def of_session(leader: int) -> list[psutil.Process]:
    """Who lives in the session that `leader` leads or led, but not the leader."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if process.pid != leader and os.getsid(process.pid) == leader and is_alive(process):
                found.append(process)
    return found


def orphans(leader: int) -> list[psutil.Process]:
    """Who lives in the session and does not descend from its leader any more."""
    members = of_session(leader)  # first: who is born meanwhile is nobody's orphan
    descendants = {process.pid for process in psutil.Process(leader).children(recursive=True)}
    return [process for process in members if process.pid not in descendants]


def end(processes: Sequence[psutil.Process], clock: Clock) -> None:
    """Kill them and wait until they are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if not wait_until(lambda: not any(map(is_alive, processes)), END_SECONDS, clock=clock):
        left = [process.pid for process in processes if is_alive(process)]
        raise NotReadyError(f"killed, and still there after {END_SECONDS:.0f} s: {left}")


def is_alive(process: psutil.Process) -> bool:
    """Whether it still does anything: process 1 of a container may leave the dead lying about."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main(command: list[str]) -> None:
    """End the orphans of the session this runs in, and become the command."""
    if "SUPERVISOR_ENABLED" not in os.environ:
        sys.exit("local.orphans: expected supervisord to run this; elsewhere it would end other people's processes")
    found = orphans(os.getsid(0))
    if found:
        print(f"ending what was left behind: {[process.pid for process in found]}", flush=True)
    end(found, SystemClock())
    os.execvp(command[0], command)  # noqa: S606 - fixed programs, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
