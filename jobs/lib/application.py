"""A driver: one Spark session, the queries that it keeps running, and how it ends.

Exit codes: 0 asked to end, 3 another driver has taken over, 4 Spark is gone or a query gave up (start it again), 78
refused (a setting is wrong). The surprising thing: it looks for its own parent, because a JVM that was killed leaves
Python running.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import InheritableThread
from pyspark.sql import SparkSession

from jobs.lib import logs
from jobs.lib.keeper import GaveUpError, Keeper
from jobs.lib.owner import FencedError
from jobs.lib.session import session
from jobs.lib.signals import stop_on_signals
from wikiweir.clock import Clock
from wikiweir.redaction import redact

log = logging.getLogger(__name__)

STOPPED, FENCED, SPARK_GONE, REFUSED = 0, 3, 4, os.EX_CONFIG
STOP_SECONDS = 12.0

SETTINGS = {
    "spark.scheduler.mode": "FAIR",
    "spark.scheduler.allocation.file": (Path(__file__).resolve().parent.parent / "pools.xml").as_uri(),
    # Adaptive execution runs each stage as a job of its own: nothing to gain where nothing is shuffled.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.sql.streaming.numRecentProgressUpdates": "10",
}


class Redacting(logging.Formatter):
    """Lines that may quote a plan, without its key material."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def stream_session(name: str) -> SparkSession:
    """The session of a streaming driver."""
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting(logs.FORMAT))
    logging.basicConfig(level="INFO", handlers=[handler])
    logging.getLogger("kafka").setLevel("ERROR")
    logging.getLogger("py4j").setLevel("ERROR")
    return session(name, more=SETTINGS)


@dataclass(kw_only=True)
class Application:
    """Queries are added, then `serve` runs them until the end."""

    spark: SparkSession
    clock: Clock
    stop: threading.Event = field(default_factory=threading.Event)
    keepers: list[Keeper] = field(default_factory=list)
    _final: Exception | None = None

    def keep(
        self,
        name: str,
        live_once: Callable[[], None],
        on_state: Callable[[str, str], None],
        on_retired: Callable[[], None] = lambda: None,
    ) -> None:
        """Have a query kept running."""
        self.keepers.append(
            Keeper(
                name,
                live_once,
                stop=self.stop,
                clock=self.clock,
                on_state=on_state,
                on_final=self.end,
                on_retired=on_retired,
            )
        )

    def end(self, final: Exception) -> None:
        """A reason why the whole process must end."""
        self._final = final
        self.stop.set()

    def serve(self) -> int:
        """Run until asked to stop or until something is final; the exit code."""
        parent = os.getppid()
        stop_on_signals(self.spark, self.stop)
        for keeper in self.keepers:
            keeper.start()
        while not self.stop.wait(0.5):
            if os.getppid() != parent or not self._spark_answers():
                log.error("Spark's JVM is gone; this process ends too")
                os._exit(SPARK_GONE)
        deadline = self.clock.monotonic() + STOP_SECONDS
        for keeper in self.keepers:
            keeper.thread.join(max(0.1, deadline - self.clock.monotonic()))
        code = self._code()
        if any(keeper.thread.is_alive() for keeper in self.keepers):
            log.warning("a query did not stop within %s s; what it had not committed comes again", STOP_SECONDS)
            os._exit(code)
        self.spark.stop()
        return code

    def _spark_answers(self) -> bool:
        try:
            return not self.spark.sparkContext._jsc.sc().isStopped()
        except (Py4JError, OSError):
            return False

    def _code(self) -> int:
        if self._final is None:
            return STOPPED
        log.error("%s", self._final)
        if isinstance(self._final, GaveUpError):
            return SPARK_GONE
        return FENCED if isinstance(self._final, FencedError) else REFUSED


def thread(name: str, target: Callable[[], None]) -> None:
    """A side thread that dies with the process."""
    started = InheritableThread(target=target, name=name)
    started.daemon = True
    started.start()
