"""A driver that runs one job after the other, as `spark-submit` would one: for tests that are about what jobs do.

Java's start is nearly all of a small job's time. What a job leaves behind when it is killed, and that its own start
works, have tests with a process each. The surprising thing: each job's words, settings and log come as a line of JSON
through a named pipe, because spark-submit hands no standard input on; and the driver ends when nobody holds its other
end any more.
"""

import importlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import spark
from tests.integration.parts import wait_for
from wikiweir.settings import PROJECT, Settings


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has run."""

    exit_code: int
    log: str


class Workshop:
    """The driver, started at its first job."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        self._process: subprocess.Popen[bytes] | None = None
        self._orders = -1

    def run(self, job: str, words: Sequence[str], environment: Mapping[str, str], seconds: float) -> Ended:
        """Run a job of `jobs/` with these words and WIKIWEIR_* settings to its end."""
        process = self._started()
        log, done = (self._folder / f"{uuid.uuid4().hex}.{kind}" for kind in ("log", "code"))
        order = {"job": job, "words": list(words), "environment": dict(environment)}
        os.write(self._orders, json.dumps({**order, "log": str(log), "done": str(done)}).encode() + b"\n")

        def text() -> str:
            return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

        wait_for(lambda: done.exists() or process.poll() is not None, seconds, lambda: text()[-3000:])
        assert done.exists(), f"the driver ended with {process.poll()}\n{text()[-3000:]}"
        return Ended(int(done.read_text(encoding="ascii")), text())

    def close(self) -> None:
        """Let it end."""
        if self._process is not None:
            os.close(self._orders)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            pipe = self._folder / "orders"
            os.mkfifo(pipe)
            self._orders = os.open(pipe, os.O_RDWR)  # for writing alone it would wait for the driver
            properties = spark.write_files(
                self._settings, self._folder / "spark" / "spark.properties", self._folder / "spark-work"
            )
            outside = {
                name: value for name, value in os.environ.items() if not name.startswith(("WIKIWEIR_", "SPARK_"))
            }
            env = {**outside, **spark.environment(self._settings), "PYTHONPATH": str(PROJECT)}
            self._process = subprocess.Popen(
                [*spark.submit(properties, Path(__file__)), str(pipe)], env=env, stdin=subprocess.DEVNULL
            )
        return self._process


def main() -> None:
    """Run jobs until the pipe ends."""
    outside = dict(os.environ)
    with Path(sys.argv[1]).open(encoding="utf-8") as orders:
        for line in orders:
            order: dict[str, Any] = json.loads(line)
            os.environ.clear()
            os.environ.update(outside | order["environment"])
            with Path(order["log"]).open("ab") as sink:
                for number in (1, 2):  # a job's logging is set up once, for the first one
                    os.dup2(sink.fileno(), number)
            try:
                code = importlib.import_module(f"jobs.{order['job']}").main(order["words"])
            except SystemExit as ended:  # argparse
                code = ended.code
            draft = Path(order["done"] + ".new")
            draft.write_text(str(code), encoding="ascii")
            draft.replace(order["done"])


if __name__ == "__main__":
    main()
