"""A program started by us, with its log in a file: wait until it is ready, stop it, kill it.

For tests and for the short programs of `up`; an instance's long-running programs belong to supervisord.
The surprising thing: `kill` takes the children too, because a crash of a machine does not leave any.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from wikiweir.clock import Clock, SystemClock


class NotReadyError(RuntimeError):
    """A program ended or did not get ready in time; the message carries the end of its log."""


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for a message."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def wait_until(condition: Callable[[], bool], seconds: float, *, clock: Clock, poll_seconds: float = 0.05) -> bool:
    """Ask again and again; whether it came true within `seconds`."""
    deadline = clock.monotonic() + seconds
    while not condition():
        if clock.monotonic() > deadline:
            return False
        clock.sleep(poll_seconds)
    return True


class Program:
    """One process with its log file. `user` names the account it runs as, when we are root."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        clock: Clock | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.user = user
        self.stop_signal = stop_signal
        self.clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; an error when it was never started."""
        if self._process is None:
            raise NotReadyError(f"{self.command[0]} was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Start, and return once `is_ready`; its log says why when it never is."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
                cwd="/",
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        wait_until(lambda: not self.is_running or is_ready(), seconds, clock=self.clock)
        if not self.is_running or not is_ready():
            code = self._process.poll()
            self.kill()
            state = f"ended with code {code}" if code is not None else f"was not ready after {seconds:.0f} s"
            raise NotReadyError(f"{self.command[0]} {state}; the end of {self.log}:\n{tail(self.log)}")

    def stop(self, seconds: float = 30.0) -> None:
        """Ask it to end and wait; after `seconds` it is killed."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.resume()
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, it and its children, and wait until they are gone."""
        if self._process is None or self._process.poll() is not None:
            return
        family = self._signal(signal.SIGKILL)
        self._process.wait()
        psutil.wait_procs(family, timeout=5)

    def pause(self) -> None:
        """SIGSTOP to it and its children: they are there, and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        family = [process, *process.children(recursive=True)]
        for member in family:
            try:
                member.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        return family
