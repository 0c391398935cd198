"""Test entry: the stream driver with a mechanism left out, or with an end at a named step; options as JSON in argv[1].

It exists because nothing in the environment may weaken the driver. The surprising thing: it kills the JVM before
itself, as a machine that loses its power would take both.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from jobs import rebuild_speed, stream_events
from jobs.lib.mechanisms import Mechanisms, Step
from wikiweir.settings import load


class EndAt:
    """Writes down what it saw and signals the whole driver, in the `nth` batch that reaches a step."""

    def __init__(self, step: Step, nth: int, action: str, evidence: Path) -> None:
        self._step = step
        self._nth = nth
        self._batches: list[object] = []
        self._action = action
        self._evidence = evidence

    def at(self, step: Step, **facts: object) -> None:
        if step != self._step or facts["batch"] in self._batches:
            return
        self._batches.append(facts["batch"])
        if len(self._batches) == self._nth and self._step == "spark_job":
            threading.Thread(target=self._when_tasks_run, args=(facts,), daemon=True).start()
        elif len(self._batches) == self._nth:
            self._end(facts)

    def _when_tasks_run(self, facts: dict[str, object]) -> None:
        from pyspark import SparkContext

        context = SparkContext._active_spark_context
        assert context is not None
        tracker = context.statusTracker()
        while True:
            for stage in tracker.getActiveStageIds():
                info = tracker.getStageInfo(stage)
                if info is not None and info.numActiveTasks > 0:
                    self._end({**facts, "stage": stage, "active_tasks": info.numActiveTasks})
                    return
            time.sleep(0.001)

    def _end(self, facts: dict[str, object]) -> None:
        number = signal.SIGKILL if self._action == "kill" else signal.SIGSTOP
        document = {"step": self._step, "pid": os.getpid(), "jvm": os.getppid(), **facts}
        self._evidence.write_text(json.dumps(document, default=str), encoding="utf-8")
        os.kill(os.getppid(), number)
        os.kill(os.getpid(), number)


def main(options: dict[str, Any]) -> int:
    """Run it as asked for."""
    keywords: dict[str, Any] = {"mechanisms": Mechanisms(**dict.fromkeys(options.get("leave_out", []), False))}
    if "step" in options:
        keywords["hooks"] = EndAt(
            options["step"], options.get("nth", 1), options.get("action", "kill"), Path(options["evidence"])
        )
    if options.get("rebuild"):
        return rebuild_speed.run(load(), **keywords)
    return stream_events.run(load(), **keywords)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
