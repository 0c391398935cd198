"""Stream: seconds a micro-batch of 5,000 and of 100,000 events, from a real Kafka into a real PostgreSQL, four ways.

Ours and the two baselines are each a Spark driver started anew for every round, with the same jars, memory and Java
options, over the same topic; a batch's time is Spark's own `triggerExecution`, everything included. The surprising
thing: nothing counts before every table, summed by key, equals DuckDB's answer row for row.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import lib_answers, lib_preload, lib_result, lib_stream_drivers
from bench.lib_answers import Row
from bench.lib_duckdb import Limit
from bench.lib_preload import Load
from bench.lib_result import Bar, Document
from bench.lib_workbench import Workbench
from local.kafka import Broker
from local.postgres import Server

VARIANTS = {
    "ours": "Wikiweir's speed sink",
    "competent": "competent: 2 partitions, RocksDB, staging + merge",
    "defaults": "Spark defaults, JDBC append",
    "duckdb": "DuckDB over NDJSON (limit)",
}
LARGE = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How many batches of a size each driver takes: the first ones warm it up."""

    size: int
    warm_up: int
    timed: int


PLANS = (Plan(5_000, 3, 3), Plan(LARGE, 5, 3))  # a large batch's time goes on falling until the fourth
QUICK = (Plan(2_000, 1, 1),)


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a plan: seconds of each timed batch, a list a round."""

    plan: Plan
    load: Load
    seconds: dict[str, list[list[float]]]
    rows: dict[str, int]


def run(*, plans: Sequence[Plan] = PLANS, rounds: int = 3, is_quick: bool = False) -> Document:
    """Measure, check, print and write `stream.json`."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder = Path(name)
        with Broker(folder / "kafka") as broker, Server(folder / "postgres") as server:
            bench = Workbench(folder, server, kafka_bootstrap=broker.bootstrap)
            return _report([_measure(bench, plan, rounds) for plan in plans], rounds, is_quick)


def _measure(bench: Workbench, plan: Plan, rounds: int) -> Measured:
    """Load the topic, then every variant in turn, `rounds` times."""
    topic = f"bench.events.{plan.size}"
    names = {"events_topic": topic, "dead_letters_topic": f"{topic}.dead", "cursors_topic": f"{topic}.cursors"}
    settings = bench.settings.model_copy(update=names)
    load = lib_preload.preload(settings, bench.folder, plan.size, plan.warm_up + plan.timed)
    seconds: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
    expected: dict[str, list[Row]] = {}
    for number in range(rounds):
        for name in reversed(VARIANTS):  # the limit first: it is the judge
            if name == "duckdb":
                times, expected = _limit(load, bench.secret)
            else:
                times = lib_stream_drivers.run(bench, name, load, number, expected)
            seconds[name].append(times[plan.warm_up :])
            shown = ", ".join(f"{one:.2f}" for one in times)
            line = f"  {plan.size:,} events, round {number + 1}, {name}: {shown} s a batch"
            lib_result.console.print(line, markup=False)
    for file in load.files:
        file.unlink()
    return Measured(plan, load, seconds, {table: len(rows) for table, rows in expected.items()})


def _limit(load: Load, secret: str) -> tuple[list[float], dict[str, list[Row]]]:
    limit = Limit(secret.encode(), threads=os.cpu_count() or 2)
    times = [limit.take(file) for file in load.files]
    return times, lib_answers.read(limit.rows, "", lib_answers.duckdb_form)


def _report(measured: list[Measured], rounds: int, is_quick: bool) -> Document:
    """Ratios, the tables, the file."""
    bars: list[Bar] = []
    batches = {}
    for one in measured:
        middle = {name: median(second for times in one.seconds[name] for second in times) for name in VARIANTS}
        if one.plan == measured[-1].plan:
            label = f"at {one.plan.size:,} events"
            bars += [
                Bar(f"against the competent baseline {label}", middle["competent"] / middle["ours"], 2),
                Bar(f"against Spark defaults {label}", middle["defaults"] / middle["ours"], 12),
                Bar(f"events/s {label} (target 20,000)", one.plan.size / middle["ours"], 12_000, "events/s"),
            ]
        batches[str(one.plan.size)] = _document(one, middle)
        lib_result.show(
            f"stream: a micro-batch of {one.plan.size:,} events, median of {rounds} rounds × {one.plan.timed} batches",
            ["variant", "seconds", "events/s", "ours is faster by"],
            [
                [
                    VARIANTS[name],
                    float(middle[name]),
                    one.plan.size / middle[name],
                    float(middle[name] / middle["ours"]),
                ]
                for name in VARIANTS
            ],
        )
    document = {
        "machine": lib_result.machine(),
        "rounds": rounds,
        "batches": batches,
        "answers_equal": True,
        "answers": "every rollup and recent_changes of every driver equals DuckDB's, row for row",
    }
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('stream', document, bars, is_quick=is_quick)}")
    return document


def _document(one: Measured, middle: dict[str, float]) -> Document:
    return {
        "input": {
            "shaped_by": one.load.shaped_by,
            "bytes_per_event": one.load.bytes_per_event,
            "warm_up_batches": one.plan.warm_up,
            "timed_batches": one.plan.timed,
            "duplicates": one.load.duplicates,
            "rows": one.rows,
        },
        "variants": {
            name: {
                "what": VARIANTS[name],
                "seconds": {
                    "median": round(middle[name], 3),
                    "runs": [[round(second, 3) for second in times] for times in one.seconds[name]],
                },
                "events_per_second": round(one.plan.size / middle[name]),
                "ours_is_faster_by": round(middle[name] / middle["ours"], 2),
            }
            for name in VARIANTS
        },
    }
