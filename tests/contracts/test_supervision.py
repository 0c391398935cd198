"""The real supervisord over programs of a few bytes: what is started again, what is not, what a new file changes,
and that nothing a program leaves behind outlives it for long."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local import orphans
from local.instance import Instance
from local.processes import wait_until
from local.programs import FENCED_EXIT_CODE, ProgramSpec
from local.supervision import Supervisor
from wikiweir.clock import SystemClock

CLOCK = SystemClock()
# 1.2 s: supervisord takes a program for started when it has run for a second (`startsecs`)
SLEEPER = ProgramSpec(name="sleeper", command=["sleep", "1000"])
FENCED = ProgramSpec(
    name="fenced",
    command=["sh", "-c", f"echo fenced; sleep 1.2; exit {FENCED_EXIT_CODE}"],
    final_exit_codes=(FENCED_EXIT_CODE,),
)
CRASHER = ProgramSpec(
    name="crasher", command=["sh", "-c", "echo begun; sleep 1.2; exit 1"], final_exit_codes=(FENCED_EXIT_CODE,)
)
PARENT = "import subprocess, time; subprocess.Popen(['sleep', '1001'], process_group=0); time.sleep(1000)"
"""Its child has a process group of its own, as Airflow's tasks have; both outlast any test, unless they are ended."""
SWEEPING = ProgramSpec(name="sweeping", command=[sys.executable, "-m", "local.orphans", sys.executable, "-c", PARENT])
CARELESS = ProgramSpec(name="careless", command=[sys.executable, "-c", PARENT])


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    instance = Instance(tmp_path / "spaced state")
    for folder in (instance.run, instance.logs):
        folder.mkdir(parents=True)
    made = Supervisor(instance, CLOCK)
    made.start([SLEEPER, FENCED, CRASHER])
    yield made
    if made.is_running:
        made.shutdown()


def pid(supervisor: Supervisor, name: str) -> int:
    return int(supervisor.states()[name]["pid"])


def leader(supervisor: Supervisor) -> int:
    return int((supervisor.instance.run / "supervisord.pid").read_text(encoding="ascii"))


def child(supervisor: Supervisor, name: str) -> psutil.Process:
    """The only child of a program, once it is there."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        if number := pid(supervisor, name):
            found[:] = psutil.Process(number).children()
        return len(found) == 1 and "sleep" in found[0].name()

    assert wait_until(is_there, 10, clock=CLOCK)
    return found[0]


def log(supervisor: Supervisor, name: str) -> str:
    return (supervisor.instance.logs / f"{name}.log").read_text(encoding="utf-8")


def test_nothing_starts_by_itself(supervisor: Supervisor) -> None:
    assert {info["statename"] for info in supervisor.states().values()} == {"STOPPED"}


def test_a_killed_program_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start_program("sleeper")
    assert wait_until(lambda: pid(supervisor, "sleeper") > 0, 5, clock=CLOCK)
    first = pid(supervisor, "sleeper")
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: pid(supervisor, "sleeper") not in {0, first}, 10, clock=CLOCK)


def test_a_fenced_program_stays_down_and_a_crashed_one_does_not(supervisor: Supervisor) -> None:
    supervisor.start_program("fenced")
    supervisor.start_program("crasher")
    assert wait_until(lambda: log(supervisor, "crasher").count("begun") >= 3, 20, clock=CLOCK)
    state = supervisor.states()["fenced"]
    assert (state["statename"], state["exitstatus"]) == ("EXITED", FENCED_EXIT_CODE)
    assert log(supervisor, "fenced") == "fenced\n"
    assert supervisor.look("fenced", FENCED.final_exit_codes)[0]
    assert not supervisor.look("crasher", CRASHER.final_exit_codes)[0]


def test_changed_programs_are_replaced_and_others_are_left_alone(supervisor: Supervisor) -> None:
    supervisor.start_program("sleeper")
    assert wait_until(lambda: pid(supervisor, "sleeper") > 0, 5, clock=CLOCK)
    before = pid(supervisor, "sleeper")
    supervisor.start([SLEEPER, ProgramSpec(name="fenced", command=["sleep", "1000"])])
    assert set(supervisor.states()) == {"sleeper", "fenced"}
    assert pid(supervisor, "sleeper") == before
    supervisor.stop_programs("sleeper")
    assert supervisor.states()["sleeper"]["statename"] == "STOPPED"


def test_shutdown_leaves_nothing(supervisor: Supervisor) -> None:
    supervisor.start_program("sleeper")
    assert wait_until(lambda: pid(supervisor, "sleeper") > 0, 5, clock=CLOCK)
    sleeper = pid(supervisor, "sleeper")
    supervisor.shutdown()
    assert not supervisor.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper, 0)


def test_what_a_killed_program_left_behind_ends_before_it_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start([SLEEPER, SWEEPING])
    supervisor.start_program("sleeper")
    supervisor.start_program("sweeping")
    left = child(supervisor, "sweeping")
    os.kill(pid(supervisor, "sweeping"), signal.SIGKILL)
    assert wait_until(lambda: not orphans.is_alive(left), 10, clock=CLOCK)
    second = child(supervisor, "sweeping")
    assert str(left.pid) in log(supervisor, "sweeping")
    assert not orphans.orphans(leader(supervisor))
    assert {process.pid for process in orphans.of_session(leader(supervisor))} == {
        pid(supervisor, "sleeper"),
        pid(supervisor, "sweeping"),
        second.pid,
    }


def test_shutdown_ends_what_stopped_and_killed_programs_left_behind(supervisor: Supervisor) -> None:
    supervisor.start([CARELESS])
    supervisor.start_program("careless")
    of_killed, first = child(supervisor, "careless"), pid(supervisor, "careless")
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: pid(supervisor, "careless") not in {0, first}, 10, clock=CLOCK)
    of_stopped = child(supervisor, "careless")
    supervisor.stop_programs("careless")
    assert orphans.is_alive(of_killed)
    assert orphans.is_alive(of_stopped)
    supervisor.shutdown()
    assert not orphans.is_alive(of_killed)
    assert not orphans.is_alive(of_stopped)


def test_a_group_is_asked_to_stop_with_its_program(supervisor: Supervisor) -> None:
    # as the scheduler does, it waits for its child, which only ends when it is asked itself
    script = "sh -c 'trap \"echo child asked; exit\" TERM; echo ready; while :; do sleep 0.05; done' & child=$!"
    script += "; trap 'wait $child; echo parent ended; exit' TERM; wait"
    supervisor.start([ProgramSpec(name="waiter", command=["sh", "-c", script], stops_group=True)])
    supervisor.start_program("waiter")
    assert wait_until(lambda: "ready" in log(supervisor, "waiter"), 10, clock=CLOCK)
    supervisor.stop_programs("waiter")
    assert log(supervisor, "waiter").endswith("child asked\nparent ended\n")


def test_programs_stop_side_by_side(supervisor: Supervisor, tmp_path: Path) -> None:
    def meets(own: str, other: str) -> ProgramSpec:
        """Once asked to stop, it ends when the other one has been asked as well."""
        then = f"touch {tmp_path}/{own}; until [ -e {tmp_path}/{other} ]; do sleep 0.05; done; echo met; exit"
        script = f"trap '{then}' TERM; echo ready; while :; do sleep 0.05; done"
        return ProgramSpec(name=own, command=["sh", "-c", script])

    supervisor.start([meets("one", "two"), meets("two", "one")])
    for name in ("one", "two"):
        supervisor.start_program(name)
    assert wait_until(lambda: all(log(supervisor, name) == "ready\n" for name in ("one", "two")), 10, clock=CLOCK)
    supervisor.stop_programs("one", "two")
    assert [log(supervisor, name) for name in ("one", "two")] == ["ready\nmet\n"] * 2
