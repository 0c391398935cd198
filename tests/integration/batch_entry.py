"""Test entry: `jobs/build_hours.py` with an end at a named step; options as JSON in argv[1], the job's own as "words".

It exists because nothing in the environment may weaken the job. The surprising thing: it kills the JVM before itself,
as a machine that loses its power would take both.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import build_hours
from jobs.lib import build, promote, publish, snapshot


class EndAt:
    """Writes down what it saw, and kills the whole job."""

    def __init__(self, step: str, evidence: Path, bronze: Path) -> None:
        self._step, self._evidence, self._bronze = step, evidence, bronze

    def now(self, **facts: object) -> None:
        document = {"step": self._step, "pid": os.getpid(), "jvm": os.getppid(), **facts}
        self._evidence.write_text(json.dumps(document), encoding="utf-8")
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def while_a_file_is_new(self) -> None:
        """End as soon as bronze's folder has a file that was not there before."""
        before = set(self._bronze.rglob("*.parquet"))
        while True:
            new = set(self._bronze.rglob("*.parquet")) - before
            if new:
                self.now(file=sorted(map(str, new))[0])
            time.sleep(0.001)  # from the file to its commit it is not much longer

    def beside(self, watch: Callable[[], None], function: Any) -> Any:
        """The function, watched while it runs."""

        def watched(*arguments: Any, **more: Any) -> Any:
            threading.Thread(target=watch, daemon=True).start()
            return function(*arguments, **more)

        return watched

    def before(self, function: Any) -> Any:
        """The function, which is not reached."""

        def ended(*arguments: Any, **more: Any) -> None:
            self.now()

        return ended

    def after(self, function: Any) -> Any:
        """The function, whose caller does not hear of its end."""

        def ended(*arguments: Any, **more: Any) -> None:
            function(*arguments, **more)
            self.now()

        return ended


def arm(step: str, end: EndAt) -> None:
    """Put the end where the step is."""
    # each name is replaced where it is used, not where it is from
    match step:
        case "compacting":
            snapshot.compact = end.beside(end.while_a_file_is_new, snapshot.compact)
        case "promoting":  # one table of the lake has the hour, the others are about to
            promote.replace = end.after(promote.replace)  # type: ignore[attr-defined]
        case "publishing":  # the rows are in PostgreSQL, the transaction is open
            publish.copy = end.after(publish.copy)  # type: ignore[attr-defined]
        case "published":
            build.reconcile = end.before(build.reconcile)  # type: ignore[attr-defined]
        case _:
            raise ValueError(f"expected a step, found {step}")


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    arm(options["step"], EndAt(options["step"], Path(options["evidence"]), Path(options["bronze"])))
    sys.exit(build_hours.main(options["words"]))
