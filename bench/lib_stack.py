"""A whole stack of its own for a benchmark: state folder, everything `up` starts, a replay server that logs send times.

The surprising thing: the replay server is not the stack's own one, so that its rate and its account belong to the
benchmark; to the stack it is just another EventStreams server at a URL.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.lib_result import console
from local import stack
from local.instance import Instance
from local.ports import LOOPBACK
from local.processes import Program, wait_until
from local.source import Wish
from wikiweir.clock import SystemClock
from wikiweir.settings import PROJECT, Settings

CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Replay:
    """A running replay server."""

    program: Program
    port: int
    send_log: Path

    def pause(self) -> None:
        """Send nothing more; write out what is known."""
        for action in ("pause", "truth"):
            request = urllib.request.Request(
                f"http://{LOOPBACK}:{self.port}/_admin/{action}", data=b"{}", method="POST"
            )
            urllib.request.urlopen(request, timeout=30).close()

    def sent(self) -> dict[str, int]:
        """Milliseconds at which each id was first sent; a line that is being written is left for later."""
        first: dict[str, int] = {}
        with self.send_log.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    entry = json.loads(line)
                    first.setdefault(entry["id"], entry["sent_ms"])
        return first


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything, healthy."""

    instance: Instance
    settings: Settings
    replay: Replay


@contextmanager
def replaying(folder: Path, rate: float, seed: int, history: str | None) -> Iterator[Replay]:
    """A replay server at an even rate. No canaries, late or odd events: each id sent must be seen in recent_changes."""
    folder.mkdir(parents=True, exist_ok=True)
    port_file, send_log = folder / "port", folder / "sent.ndjson"
    command = [sys.executable, "-m", "local.replay", "--port", "0", "--port-file", str(port_file)]
    command += ["--rate", str(rate), "--flat-rate", "--seed", str(seed), "--send-log", str(send_log)]
    command += ["--no-canaries", "--late", "0", "--odd", "0", *(["--history", history] if history else [])]
    program = Program(command, folder / "replay.log", env={"PYTHONPATH": str(PROJECT)})
    program.start(lambda: port_file.exists() and bool(port_file.read_text().strip()), 60)
    try:
        yield Replay(program, int(port_file.read_text()), send_log)
    finally:
        program.stop()


@contextmanager
def of_its_own(folder: Path, wish: Wish, without: Collection[str]) -> Iterator[tuple[Instance, Settings]]:
    """What `up` starts, with its state in `folder`, stopped afterwards."""
    before = os.environ.get("WIKIWEIR_HOME")
    os.environ["WIKIWEIR_HOME"] = str(folder / "home")
    report = stack.Report(say=lambda line: console.print(line, markup=False, style="dim"))
    try:
        try:
            yield stack.up(wish, report, without=frozenset(without))
        finally:
            stack.down(report)
    finally:
        if before is None:
            del os.environ["WIKIWEIR_HOME"]
        else:
            os.environ["WIKIWEIR_HOME"] = before


@contextmanager
def running(
    folder: Path,
    rate: float,
    *,
    seed: int = 1,
    history: str | None = None,
    without: Collection[str] = ("airflow", "superset"),
) -> Iterator[Stack]:
    """The whole stack in `folder`, fed at `rate` events a second (from `history` ago on), stopped afterwards."""
    with replaying(folder / "replay", rate, seed, history) as replay:
        wish = Wish(url=f"http://{LOOPBACK}:{replay.port}", since=history)
        with of_its_own(folder, wish, without) as (instance, settings):
            yield Stack(instance, settings, replay)


def wait_for(seconds: float) -> None:
    """Let time pass."""
    CLOCK.sleep(seconds)


def wait_for_condition(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is true."""
    return wait_until(condition, seconds, clock=CLOCK, poll_seconds=0.5)
