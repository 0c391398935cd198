"""Test entry: the stream driver with a mechanism left out, a fault put in, or an end at a named step; options as JSON
in argv[1].

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
from jobs.lib import increments, judging, speed, sql
from jobs.lib.mechanisms import Mechanisms, Step
from wikiweir.settings import load


class EndAt:
    """Writes down what it saw and signals the whole driver, in the `nth` batch that reaches a step."""

    def __init__(self, step: Step, nth: int, action: str, evidence: Path) -> None:
        self._step = step
        self._nth = nth
        self._batches: list[object] = []
        self._facts: dict[str, object] = {}
        self._action = action
        self._evidence = evidence

    def at(self, step: Step, **facts: object) -> None:
        if step != self._step or facts["batch"] in self._batches:
            return
        self._batches.append(facts["batch"])
        self._facts = facts
        if len(self._batches) != self._nth:
            return
        if step == "spark_job":
            from pyspark import SparkContext

            context = SparkContext._active_spark_context
            assert context is not None
            group = context.getLocalProperty("spark.jobGroup.id")
            threading.Thread(target=self._when_tasks_run, args=(context.statusTracker(), group), daemon=True).start()
        else:
            self._end()

    def _when_tasks_run(self, tracker: Any, group: str | None) -> None:
        """End while this query's tasks run (the lake has its own): in a later batch if they were missed in this one."""
        while True:
            for job in tracker.getJobIdsForGroup(group):
                found = tracker.getJobInfo(job)
                for stage in found.stageIds if found and found.status == "RUNNING" else ():
                    info = tracker.getStageInfo(stage)
                    if info is not None and info.numActiveTasks > 0:
                        self._facts |= {"stage": stage, "active_tasks": info.numActiveTasks}
                        self._end()
            time.sleep(0.001)  # a small batch's tasks are over in tens of milliseconds

    def _end(self) -> None:
        number = signal.SIGKILL if self._action == "kill" else signal.SIGSTOP
        document = {"step": self._step, "pid": os.getpid(), "jvm": os.getppid(), **self._facts}
        self._evidence.write_text(json.dumps(document, default=str), encoding="utf-8")
        os.kill(os.getppid(), number)
        os.kill(os.getpid(), number)


def main(options: dict[str, Any]) -> int:
    """Run it as asked for."""
    if faults := options.get("miscounts"):
        selected = {name: name for name in judging.COLUMNS} | increments.COLUMNS | faults
        speed.SELECTED = sql.named(selected)
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
