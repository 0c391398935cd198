"""Freshness: from the replay server's write to the socket until a reader of `serving` holds the row.

For each rate a whole stack of its own is started, warmed up, and watched by a process of its own for some minutes while
the lake query runs beside it. The surprising thing: nothing is sampled. Every id that was sent has its time, and one
that was never seen, or a total that is not the number of ids sent, makes the run void.
"""

import tempfile
from pathlib import Path

import psycopg2

from bench import lib_latency, lib_memory, lib_result, lib_stack
from bench.lib_result import Bar, Document, UnequalAnswersError
from bench.lib_stack import Stack

BARS = {40.0: 3.5, 400.0: 3.5, 2000.0: 5.0}
"""Events a second -> p99 in seconds."""
WARM_UP_SECONDS = 60.0
"""At least one turn of the lake query."""
DRAIN_SECONDS = 120.0


def run(
    *,
    minutes: float = 10,
    rates: tuple[float, ...] = tuple(BARS),
    warm_up_seconds: float = WARM_UP_SECONDS,
    is_quick: bool = False,
) -> Document:
    """Measure every rate, print and write `freshness.json`."""
    results = {}
    for rate in rates:
        lib_result.console.print(f"  {rate:g} events/s for {minutes:g} minutes after {warm_up_seconds:g} s of warm-up")
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
            results[rate] = _measure(Path(folder), rate, minutes * 60, warm_up_seconds)
    return _report(results, minutes, warm_up_seconds, is_quick)


def _measure(folder: Path, rate: float, seconds: float, warm_up_seconds: float) -> Document:
    """One rate: latencies of all events sent in the measured minutes, and the proof that none is missing."""
    with lib_stack.running(folder, rate, seed=int(rate)) as stack, lib_latency.watching(stack) as seen_file:
        lib_stack.wait_for(warm_up_seconds)
        begin_ms = lib_stack.CLOCK.now_ms()
        lib_stack.wait_for(seconds)
        end_ms = lib_stack.CLOCK.now_ms()
        memory = lib_memory.by_component(lib_memory.sample(stack.instance, {"replay": stack.replay.program.pid}))
        stack.replay.pause()
        sent = stack.replay.sent()
        total = _drained_total(stack, len(sent))
        lake = _lake(stack)
    if total != len(sent):
        raise UnequalAnswersError(
            f"{rate:g} events/s: serving.activity counts {total:,} events, {len(sent):,} ids were sent"
        )
    return {
        **lib_latency.summary(sent, seen_file, begin_ms, end_ms),
        "lake": lake,
        "stack_pss_mib": {name: round(mib) for name, mib in memory.items()},
    }


def _query(stack: Stack, query: str) -> tuple[object, ...]:
    connection = psycopg2.connect(stack.settings.postgres_dsn("reader"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone() or ()
    finally:
        connection.close()


def _drained_total(stack: Stack, expected: int) -> int:
    """Events in `serving.activity` once all has arrived, or what there is when waiting is of no more use."""

    def count() -> int:
        return int(str(_query(stack, "SELECT coalesce(sum(events), 0)::bigint FROM serving.activity")[0]))

    lib_stack.wait_for_condition(lambda: count() >= expected, DRAIN_SECONDS)
    return count()


def _lake(stack: Stack) -> Document:
    """That the lake query was at work."""
    row = _query(stack, "SELECT state, batch_id, lag FROM ops.stream_progress WHERE query = 'lake'")
    if not row or row[1] is None:
        raise UnequalAnswersError(f"expected a lake query that has committed, found {row}")
    return {"state": row[0], "batches": int(str(row[1])) + 1}


def _report(results: dict[float, Document], minutes: float, warm_up_seconds: float, is_quick: bool) -> Document:
    """The bars, the table, the file."""
    bars = [
        Bar(f"p99 at {rate:g} events/s", results[rate]["p99"], bound, "s", at_least=False)
        for rate, bound in BARS.items()
        if rate in results
    ]
    document = {
        "machine": lib_result.machine(),
        "input": {
            "source": "replay server, synthetic, even rate, 0.5 % duplicates",
            "minutes": minutes,
            "warm_up_seconds": warm_up_seconds,
            "from": "socket write of the replay server, stamped per record",
            "to": "row of serving.recent_changes in the hands of a reader in a process of its own, polling every 20 ms",
        },
        "rates": {f"{rate:g}": result for rate, result in results.items()},
        "answers_equal": True,
        "answers": "every id sent was seen, and serving.activity counts exactly the ids sent",
    }
    lib_result.show(
        "freshness: sent → visible to a reader, seconds, lake query running",
        ["events/s", "events", "p50", "p95", "p99", "max"],
        [
            [f"{rate:g}", r["events"], *(float(r[k]) for k in ("p50", "p95", "p99", "max"))]
            for rate, r in results.items()
        ],
    )
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('freshness', document, bars, is_quick=is_quick)}")
    return document
