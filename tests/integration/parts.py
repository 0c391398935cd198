"""A program of the stack that is kept running, as supervisord would, and can be killed, stopped, paused.

The surprising thing: `kill` does not say "stay dead": what was killed is started again at once, as in production;
`stop` does. The stream's exit code of a fenced driver ends the keeping, too.
"""

import threading
import time
from collections.abc import Callable

from local.processes import NotReadyError, Program, tail, wait_until
from local.programs import FENCED_EXIT_CODE
from wikiweir.clock import SystemClock

HOPELESS_EXITS = 20
"""A producer whose Kafka is away ends and is started again for a while; a driver takes ten seconds each time."""


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], object] = str) -> None:
    """Poll until true; the message of the time-out is made when it is needed."""
    if not wait_until(condition, seconds, clock=SystemClock(), poll_seconds=0.2):
        raise TimeoutError(f"after {seconds:.0f} s still waiting: {what()}")


class Kept(Program):
    """A program whose end is looked at."""

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()


class Part:
    """One program that is kept running until `stop`."""

    def __init__(self, name: str, program: Kept, is_ready: Callable[[], bool], seconds: float) -> None:
        self.name = name
        self.program = program
        self.starts = 0
        self.exits: list[int | None] = []
        self._is_ready = is_ready
        self._seconds = seconds
        self._wanted = threading.Event()
        self._over = False
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self.program.pid

    @property
    def is_fenced(self) -> bool:
        """Whether it ended because another driver took over, for which it is not started again."""
        return bool(self.exits) and self.exits[-1] == FENCED_EXIT_CODE

    def start(self) -> None:
        """Have it started and kept; returns when it is ready."""
        before = self.starts
        self._wanted.set()
        self.wait_started(before)

    def wait_started(self, before: int) -> None:
        """Return when it has become ready once more than `before` times."""
        died = len(self.exits)

        def has_started() -> bool:
            if self.is_fenced or len(self.exits) >= died + HOPELESS_EXITS:
                raise NotReadyError(f"{self.name} ends whenever it starts\n{self.log}")
            return self.starts > before

        wait_for(has_started, self._seconds + 10, lambda: f"{self.name} to start\n{self.log}")

    def stop(self) -> None:
        """SIGTERM, and let it be."""
        self._wanted.clear()
        self.program.stop()

    def kill(self) -> None:
        """SIGKILL to it and its children; its keeper starts it again."""
        self.program.kill()

    def pause(self) -> None:
        self.program.pause()

    def resume(self) -> None:
        self.program.resume()

    def close(self) -> None:
        """The end: nothing of it is left running."""
        self._over = True
        self._wanted.set()
        self.program.kill()
        self._keeper.join(self._seconds + 10)
        self.program.kill()

    @property
    def log(self) -> str:
        return f"--- {self.name}, exits {self.exits}\n{tail(self.program.log, 25)}"

    def _keep(self) -> None:
        while True:
            self._wanted.wait()
            if self._over:
                return
            try:
                self.program.start(self._is_ready, self._seconds)
                self.starts += 1
            except NotReadyError:
                time.sleep(0.5)  # killed while it started, or what it needs is away
            while self.program.is_running and not self._over:
                time.sleep(0.05)  # its end is noticed soon enough
            self.exits.append(self.program.exit_code)
            if self.exits[-1] == FENCED_EXIT_CODE:
                self._wanted.clear()
