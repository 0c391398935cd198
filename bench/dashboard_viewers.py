"""Ten people who look at Pulse, and what that costs: how long they wait, and how long the speed layer's writer does.

Each viewer has an account, and a browser that refreshes as Superset has it do: every ten seconds, one tile after
another, over six connections; the ten of them spread over those seconds. The surprising thing: the writer runs in a
process of its own, so that waiting for the viewers' Python is not taken for waiting for PostgreSQL.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

from bench.dashboard_tiles import CLOCK, Tile, Viewer, viewer
from dashboards.bundle import REFRESH_SPREAD_MS
from dashboards.sync import ROLE
from local.processes import Program
from wikiweir.settings import PROJECT, Settings

VIEWERS = 10
EVERY_SECONDS = 10.0
CONNECTIONS = 6
"""Of a browser to one server."""
PEOPLE = ("Gamma", ROLE)
"""Roles of somebody who only looks."""
CATCH_UP_SECONDS = 900.0
OPENING_SECONDS = 2 * EVERY_SECONDS
"""From when the viewers open the dashboard until they are counted: the first answers that anybody is given are cold."""


@dataclass
class Browser:
    """One viewer's tab; `seconds`: from when a tile was due to when it was there, of those due since `counted_from`."""

    sessions: Sequence[Viewer]
    tiles: Sequence[Tile]
    counted_from: float
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def look(self, delay: float, is_over: Event) -> None:
        """Refresh, until it is over."""
        gap = REFRESH_SPREAD_MS / 1000 / max(len(self.tiles) - 1, 1)
        free: SimpleQueue[Viewer] = SimpleQueue()
        for session in self.sessions:
            free.put(session)
        due = CLOCK.monotonic() + delay
        with ThreadPoolExecutor(len(self.sessions)) as pool:
            while not is_over.is_set():
                for number, tile in enumerate(self.tiles):
                    if is_over.wait(max(0.0, due + number * gap - CLOCK.monotonic())):
                        break
                    pool.submit(self._ask, tile, due + number * gap, free)
                due += EVERY_SECONDS

    def _ask(self, tile: Tile, due: float, free: "SimpleQueue[Viewer]") -> None:
        session = free.get()
        try:
            session.answer(tile)
            if due >= self.counted_from:
                self.seconds.append(CLOCK.monotonic() - due)
        except Exception as failure:  # of a thread: told with all others when it is over
            self.failures.append(f"{tile.name}: {failure}")
        finally:
            free.put(session)


def look_on(settings: Settings, tiles: Sequence[Tile], seconds: float, viewers: int = VIEWERS) -> list[float]:
    """How long the viewers waited for every answer, in seconds, for as long as said after their opening."""
    is_over = Event()
    with ExitStack() as stack:
        administrator = stack.enter_context(viewer(settings))
        people = [stack.enter_context(administrator.another_person(*PEOPLE)) for _ in range(viewers)]
        counted_from = CLOCK.monotonic() + OPENING_SECONDS
        browsers = [
            Browser([stack.enter_context(person.another_connection()) for _ in range(CONNECTIONS)], tiles, counted_from)
            for person in people
        ]
        threads = [
            Thread(target=browser.look, args=(number * EVERY_SECONDS / viewers, is_over))
            for number, browser in enumerate(browsers)
        ]
        for thread in threads:
            thread.start()
        CLOCK.sleep(OPENING_SECONDS + seconds)
        is_over.set()
        for thread in threads:
            thread.join()
    if failures := [failure for browser in browsers for failure in browser.failures]:
        raise RuntimeError(f"{len(failures)} answers of viewers failed, e.g. {failures[0]}")
    return [one for browser in browsers for one in browser.seconds]


@dataclass(frozen=True, slots=True)
class Batch:
    """Of the speed layer's writer. `began`: seconds of the machine's clock; `behind`: its rows, when it began."""

    began: float
    seconds: float
    events: int
    behind: float


class Writing:
    """The writer in a process of its own, a batch a second. A context manager."""

    def __init__(self, home: Path, folder: Path, scale: float) -> None:
        self._log = folder / "batches"
        command = [sys.executable, "-m", "bench.dashboard_writer", "--scale", str(scale), "--batches", str(self._log)]
        env = {"PYTHONPATH": str(PROJECT), "WIKIWEIR_HOME": str(home)}
        self._program = Program(command, folder / "writer.log", env=env)

    def __enter__(self) -> "Writing":
        self._program.start(self._has_caught_up, CATCH_UP_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def _has_caught_up(self) -> bool:
        """Only then is a batch what a second has brought."""
        return bool(batches := self.batches()) and batches[-1].behind < 3

    def batches(self) -> list[Batch]:
        """Those that are done; a line that is being written is left for later."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="ascii").splitlines(keepends=True)
        return [Batch(*json.loads(line)) for line in lines if line.endswith("\n")]

    def seconds(self, first: float, end: float) -> list[float]:
        """Of the batches begun in a span of the machine's clock; those without an event cost nothing."""
        found = [batch.seconds for batch in self.batches() if batch.events and first <= batch.began < end]
        if not found:
            raise RuntimeError(f"expected batches of the speed layer's writer within {end - first:.0f} s, found none")
        return found
