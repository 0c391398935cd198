"""A replay server as a process of its own, for tests and benchmarks: start, switch faults, look, stop.

The surprising thing: it is never in the caller's process, so a client under test and the server cannot share a
lock, a clock or a crash.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from wikiweir.clock import Clock, SystemClock

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0


class Replay:
    """`with Replay(folder, "--history", "1h") as replay:` — `folder` holds its port file and its output."""

    def __init__(self, folder: Path, *options: str, port: int = 0, clock: Clock | None = None) -> None:
        """`options`: as on the command line; `port` 0 takes a free one."""
        self._folder = folder
        self._options = options
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    def __enter__(self) -> "Replay":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("the replay server is not running; call start()")
        return self._process.pid

    def start(self) -> None:
        """Returns when it listens; raises RuntimeError with its output when it does not come up."""
        self._folder.mkdir(parents=True, exist_ok=True)
        port_file, output = self._folder / "port", self._folder / "replay.log"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "local.replay", "--port", str(self.port), "--port-file", str(port_file)]
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [*command, *self._options], cwd=PROJECT, stdout=sink, stderr=sink, env=dict(os.environ)
            )
        deadline = self._clock.monotonic() + START_SECONDS
        while not port_file.exists() or not port_file.read_text().endswith("\n"):
            if self._process.poll() is not None or self._clock.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"replay server did not start:\n{output.read_text()[-2000:]}")
            self._clock.sleep(0.05)
        self.port = int(port_file.read_text())

    def stop(self) -> None:
        """Ends it in an orderly way; its files are complete afterwards."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
        self._process = None

    def state(self, *, flush: bool = False) -> dict[str, Any]:
        """The state page; `flush` first brings the ground truth up to the log's head."""
        return self._call("GET", "state?flush=1" if flush else "state")

    def faults(self, **values: Any) -> dict[str, Any]:
        """Switches faults (or acts: `dc_switch`, `odd`, ...)."""
        return self._call("POST", "faults", values)

    def inject(self, **body: Any) -> dict[str, Any]:
        """Puts lines or kinds at the head of the log."""
        return self._call("POST", "inject", body)

    def post(self, name: str, **body: Any) -> dict[str, Any]:
        """Any other admin command: pause, resume, cut, truth."""
        return self._call("POST", name, body)

    def _call(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_admin/{name}", data=data, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
                document: dict[str, Any] = json.load(answer)
                return document
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error
