"""Wikiweir's speed query over a preloaded topic, as a Spark driver of its own: the real `SpeedQuery`, unchanged.

Takeover, checkpoint and ledger, de-duplication against `speed.seen`, all rollups, recent changes, accounting, fence:
everything that runs in production, only the lake query is not beside it. The surprising thing: progress comes from
Spark's own list, as for the baselines; our sink is not asked how long it took.
"""

import json
import threading
from typing import Any

from pyspark.sql import SparkSession

from bench.lib_application import main
from jobs.lib.session import session
from jobs.lib.speed import SpeedQuery
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import load

POLL_SECONDS = 0.1


def collect(spark: SparkSession, batches: int, stop: threading.Event, clock: Clock, found: list[Any]) -> None:
    """Wait until Spark has reported that many batches with records, keep the reports, and stop the query."""
    while not stop.is_set():
        for query in spark.streams.active:
            progress = [json.loads(one.json) for one in query.recentProgress]
            if sum(one["numInputRows"] > 0 for one in progress) >= batches:
                found.extend(progress)
                stop.set()
                return
        clock.sleep(POLL_SECONDS)


def run(job: dict[str, Any]) -> list[Any]:
    """Run the query until all batches are in; Spark's progress of each."""
    settings, clock, stop = load(), SystemClock(), threading.Event()
    spark = session("bench-ours")
    progress: list[Any] = []
    watcher = threading.Thread(target=collect, args=(spark, job["batches"], stop, clock, progress), daemon=True)
    watcher.start()
    query = SpeedQuery(
        spark=spark,
        settings=settings,
        clock=clock,
        stop=stop,
        on_commit=lambda committed: None,
        on_state=lambda state, reason: None,
        trigger_seconds=settings.speed_trigger_seconds,
    )
    try:
        query.live_once()
    finally:
        stop.set()
    watcher.join()
    spark.stop()
    return progress


if __name__ == "__main__":
    main(run, __doc__)
