"""spark-submit application: Kafka -> PostgreSQL's speed tables (each second) and Delta bronze (each minute).

Two queries in one Spark session, each with its own checkpoint and its own restarts: PostgreSQL being down does not stop
the lake. The surprising thing: `run` takes the mechanisms of exactness as an argument, so that a test's own entry
script can leave one out and show that its test goes red; nothing in the environment can.
"""

import json
import sys
from functools import partial
from typing import Any

from jobs.lib import maintenance, offsets
from jobs.lib.application import REFUSED, Application, stream_session, thread
from jobs.lib.lake import LakeQuery, Lock, refuse_unsafe
from jobs.lib.mechanisms import ALL, NO_HOOKS, Hooks, Mechanisms
from jobs.lib.offsets import Gap, Offsets
from jobs.lib.owner import RefusedError
from jobs.lib.progress import QueryProgress
from jobs.lib.reporter import Incident, Reporter
from jobs.lib.speed import SpeedQuery
from jobs.lib.speed_sink import Committed
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import Settings, home, load


def on_speed_commit(progress: QueryProgress, committed: Committed) -> None:
    """Tell what a speed batch came to."""
    entry = committed.entry
    progress.committed(
        checkpoint_id=entry.checkpoint_id,
        batch_id=entry.batch_id,
        end_offsets=entry.end_offsets,
        records=entry.by_outcome(),
        newest_event_at=committed.newest_event_at,
        generation=entry.generation,
    )


def on_speed_position(progress: QueryProgress, generation: int, checkpoint_id: str, end: Offsets) -> None:
    """Tell where the ledger stands before there is a batch to tell of."""
    progress.stands_at(checkpoint_id=checkpoint_id, end_offsets=end, generation=generation)


def on_lake_progress(progress: QueryProgress, topic: str, checkpoint_id: str, found: dict[str, Any]) -> None:
    """Tell what a lake batch came to, from Spark's own progress report."""
    end = found["sources"][0]["endOffset"]
    if isinstance(end, str):
        end = json.loads(end)
    progress.committed(
        checkpoint_id=checkpoint_id,
        batch_id=int(found["batchId"]),
        end_offsets=offsets.from_json(end[topic]),
        records={"appended": int(found["numInputRows"])},
    )


def run(
    settings: Settings,
    *,
    mechanisms: Mechanisms = ALL,
    hooks: Hooks = NO_HOOKS,
    clock: Clock | None = None,
) -> int:
    """Run both queries until asked to end; the exit code (see jobs/lib/application.py)."""
    clock = clock or SystemClock()
    spark = stream_session("wikiweir-stream")
    try:
        refuse_unsafe(spark, settings.lake)
    except RefusedError as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    app = Application(spark=spark, clock=clock)
    speed_progress = QueryProgress(name="speed", clock=clock, trigger_seconds=settings.speed_trigger_seconds)
    lake_progress = QueryProgress(name="lake", clock=clock, trigger_seconds=settings.lake_trigger_seconds)
    reporter = Reporter(
        settings=settings, queries=[speed_progress, lake_progress], stop=app.stop, port=settings.stream_port
    )

    def on_gaps(reason: str, gaps: tuple[Gap, ...], details: dict[str, Any]) -> None:
        reporter.note(Incident("lake", "checkpoint_retired", reason, details, gaps))

    speed = SpeedQuery(
        spark=spark,
        settings=settings,
        clock=clock,
        stop=app.stop,
        on_commit=partial(on_speed_commit, speed_progress),
        on_state=speed_progress.set_state,
        on_position=partial(on_speed_position, speed_progress),
        trigger_seconds=settings.speed_trigger_seconds,
        mechanisms=mechanisms,
        hooks=hooks,
    )
    lake = LakeQuery(
        spark=spark,
        settings=settings,
        clock=clock,
        stop=app.stop,
        lock=Lock(home() / "run" / "lake.lock"),
        on_position=lambda checkpoint_id, end: lake_progress.stands_at(checkpoint_id=checkpoint_id, end_offsets=end),
        on_progress=partial(on_lake_progress, lake_progress, settings.events_topic),
        on_state=lake_progress.set_state,
        on_gaps=on_gaps,
    )
    app.keep("speed", speed.live_once, speed_progress.set_state, speed.forget_owner)
    app.keep("lake", lake.live_once, lake_progress.set_state)
    reporter.start()
    thread("maintenance", lambda: maintenance.run(settings, clock, app.stop, lambda: speed.owned_generation))
    return app.serve()


if __name__ == "__main__":
    sys.exit(run(load()))
