"""The real supervisord over programs of a few bytes: what is started again, what is not, what a new file changes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.instance import Instance
from local.processes import wait_until
from local.supervision import FENCED_EXIT_CODE, ProgramSpec, Supervisor
from wikiweir.clock import SystemClock

CLOCK = SystemClock()
SLEEPER = ProgramSpec(name="sleeper", command=["sleep", "1000"])
FENCED = ProgramSpec(
    name="fenced",
    command=["sh", "-c", f"echo fenced; sleep 1.2; exit {FENCED_EXIT_CODE}"],
    final_exit_codes=(FENCED_EXIT_CODE,),
)
CRASHER = ProgramSpec(
    name="crasher", command=["sh", "-c", "echo begun; sleep 1.2; exit 1"], final_exit_codes=(FENCED_EXIT_CODE,)
)


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
    supervisor.stop_program("sleeper")
    assert supervisor.states()["sleeper"]["statename"] == "STOPPED"


def test_shutdown_leaves_nothing(supervisor: Supervisor) -> None:
    supervisor.start_program("sleeper")
    assert wait_until(lambda: pid(supervisor, "sleeper") > 0, 5, clock=CLOCK)
    sleeper = pid(supervisor, "sleeper")
    supervisor.shutdown()
    assert not supervisor.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper, 0)
