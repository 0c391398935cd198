"""spark-submit application: fills a shadow generation of the speed tables from Kafka, then swaps it for the live one.

It has its own ledger, seen ids and owner, so the live driver goes on beside it; after the swap that driver finds its
generation retired and takes over the new one. The surprising thing: it may be killed at any moment and run again, and
goes on where its shadow generation stands.
"""

import argparse
import sys
import threading
from functools import partial

import psycopg2
from psycopg2.extensions import cursor as Cursor

from jobs.lib import ledger, offsets
from jobs.lib.application import REFUSED, STOPPED, Application, stream_session, thread
from jobs.lib.mechanisms import ALL, NO_HOOKS, Hooks, Mechanisms
from jobs.lib.owner import RefusedError, bind_instance, live_generation
from jobs.lib.postgres import connect
from jobs.lib.progress import QueryProgress
from jobs.lib.reporter import Reporter
from jobs.lib.speed import SpeedQuery
from jobs.stream_events import on_speed_commit, on_speed_position
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import Settings, load

TRIGGER_SECONDS = 0.2
"""Shorter than the live query's, so that between two of its commits the shadow gets past it."""
SWAP_TRY_SECONDS = 0.1


def shadow_generation(cursor: Cursor, *, new: bool) -> int:
    """The newest shadow that is being filled, or a new one."""
    cursor.execute("SELECT max(generation), max(generation) FILTER (WHERE state = 'shadow') FROM ops.generations")
    newest, shadow = cursor.fetchone() or (0, None)
    generation = newest + 1 if new or shadow is None else shadow
    cursor.execute("SELECT speed.ensure_generation(%s)", (generation,))
    return int(generation)


def refuse_incomplete(cursor: Cursor, live: int, earliest: offsets.Offsets) -> None:
    """Kafka must still hold everything that the live generation was made from."""
    first = ledger.first(cursor, live)
    lost = {p: o for p, o in earliest.items() if first is not None and first.start_offsets.get(p, 0) < o}
    if first is not None and lost:
        raise RefusedError(
            f"expected Kafka to hold what generation {live} began with ({first.start_offsets}), found it to begin at"
            f" {earliest}: a rebuild from Kafka alone would lose what came before"
        )


def try_swap(cursor: Cursor, live: int, shadow: int) -> bool:
    """Swap if the shadow is at or past the live generation; whether it is done."""
    now_live = live_generation(cursor)
    if now_live == shadow:
        return True  # the swap was committed and its answer lost
    if now_live != live:
        raise RefusedError(
            f"expected generation {live} to be live still, found {now_live}: somebody else has swapped meanwhile."
            " Run the rebuild again"
        )
    cursor.execute("SELECT ops.last_offsets(%s), ops.last_offsets(%s)", (live, shadow))
    wanted, reached = (offsets.from_json(found) for found in cursor.fetchone() or ({}, {}))
    if not offsets.covers(reached, wanted):
        return False
    try:
        cursor.execute("SELECT speed.swap_generation(%s, %s)", (live, shadow))
    except (psycopg2.errors.ObjectNotInPrerequisiteState, psycopg2.errors.LockNotAvailable):
        return False  # the live query committed in between: the next try
    return True


def _swap_when_possible(settings: Settings, app: Application, live: int, shadow: int, swapped: threading.Event) -> None:
    while not app.stop.wait(SWAP_TRY_SECONDS):
        try:
            connection = connect(settings.postgres_dsn("stream"), "wikiweir-rebuild-swap")
            try:
                with connection.cursor() as cursor:
                    while not app.stop.wait(SWAP_TRY_SECONDS):
                        if try_swap(cursor, live, shadow):
                            print(f"generation {shadow} is live, generation {live} is retired", flush=True)
                            swapped.set()
                            app.stop.set()
            finally:
                connection.close()
        except RefusedError as refusal:
            app.end(refusal)
        except psycopg2.Error as failure:
            print(f"the swap is tried again: {str(failure).strip()}", file=sys.stderr)


def run(
    settings: Settings,
    *,
    new: bool = False,
    mechanisms: Mechanisms = ALL,
    hooks: Hooks = NO_HOOKS,
    clock: Clock | None = None,
) -> int:
    """Fill, swap, end; the exit code."""
    clock = clock or SystemClock()
    connection = connect(settings.postgres_dsn("stream"), "wikiweir-rebuild-start")
    try:
        with (
            connection.cursor() as cursor,
            offsets.Topic(settings.kafka_bootstrap, settings.events_topic) as topic,
        ):
            bind_instance(cursor, settings.source_id)
            live = live_generation(cursor)
            refuse_incomplete(cursor, live, topic.earliest())
            shadow = shadow_generation(cursor, new=new)
    except RefusedError as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    finally:
        connection.close()
    print(f"filling generation {shadow}; generation {live} stays live meanwhile", flush=True)
    app = Application(spark=stream_session("wikiweir-rebuild"), clock=clock)
    progress = QueryProgress(name="rebuild", clock=clock, trigger_seconds=TRIGGER_SECONDS, generation=shadow)
    Reporter(settings=settings, queries=[progress], stop=app.stop, port=0).start()
    query = SpeedQuery(
        spark=app.spark,
        settings=settings,
        clock=clock,
        stop=app.stop,
        on_commit=partial(on_speed_commit, progress),
        on_state=progress.set_state,
        on_position=partial(on_speed_position, progress),
        generation=shadow,
        name="rebuild",
        trigger_seconds=TRIGGER_SECONDS,
        mechanisms=mechanisms,
        hooks=hooks,
    )
    app.keep("rebuild", query.live_once, progress.set_state)
    swapped = threading.Event()
    thread("swap", lambda: _swap_when_possible(settings, app, live, shadow, swapped))
    code = app.serve()
    # After the swap the live driver takes the generation over, which fences this one in the middle of its last batch.
    return STOPPED if swapped.is_set() else code


def main(arguments: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="rebuild_speed", description=__doc__)
    parser.add_argument(
        "--new",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="fill a new generation even if a shadow is half filled",
    )
    return run(load(), new=parser.parse_args(arguments).new)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
