"""Batch: an hour of 130,000 events from bronze to PostgreSQL: our job, the usual way, and DuckDB as the limit.

Bronze holds the hour as the stream writes it, some seventy small files, and hours before it. Ours and the usual way are
each a `spark-submit` of its own every round, timed from its start to its end. The surprising thing: the usual way gets
slower with every hour that bronze holds, ours does not; so its figure says as much about the three hours as about it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from bench import lib_answers, lib_batch_hour, lib_batch_ours, lib_delta, lib_events, lib_result
from bench.lib_answers import Row
from bench.lib_batch_hour import FULL, Size
from bench.lib_batch_ours import Run
from bench.lib_duckdb import Limit
from bench.lib_result import Bar, Document
from bench.lib_workbench import Spent, Workbench
from local.postgres import Server
from wikiweir.clock import SystemClock
from wikiweir.hours import Hour

VARIANTS = {
    "ours": "Wikiweir's build_hours",
    "usual": "re-read everything, overwrite by JDBC",
    "duckdb": "DuckDB over the hour's files (limit)",
}
READINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of all rounds."""

    size: Size
    shaped_by: str
    files: int
    """Of the hour, before compaction."""
    bytes: int
    """Of those files."""
    spent: Mapping[str, list[Spent]]
    runs: list[Run]
    files_after: int
    reading: Mapping[str, list[float]]
    """Seconds of a query over the hour, before and after compaction."""
    rows: Mapping[str, int]


def run(*, size: Size = FULL, rounds: int = 3, is_quick: bool = False) -> Document:
    """Measure, check, print and write `batch.json`."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name, Server(Path(name) / "postgres") as server:
        bench = Workbench(Path(name), server, spark_master="local[2]")
        return _report(_measure(bench, size, rounds), is_quick)


def _measure(bench: Workbench, size: Size, rounds: int) -> Measured:
    """Fill bronze, then every variant in turn, `rounds` times."""
    hour = Hour.of(SystemClock().now() - timedelta(hours=2))  # the one after it is over, too
    template = bench.folder / "template"
    shaped_by = _fill(bench, template / "bronze", hour, size)
    fresh = lib_delta.files(template, template / "bronze", hour)
    spent: dict[str, list[Spent]] = {name: [] for name in VARIANTS}
    expected: dict[str, list[Row]] = {}
    runs = []
    for number in range(rounds):
        for name in reversed(VARIANTS):  # the limit first: it is the judge
            if name == "duckdb":
                took, expected = _limit(bench, fresh, hour)
                spent[name].append(took)
            elif name == "usual":
                spent[name].append(_usual(bench, template, hour, number, expected))
            else:
                runs.append(lib_batch_ours.run(bench, template, hour, number, expected))
                spent[name].append(runs[-1].spent)
            line = f"  round {number + 1}, {name}: {spent[name][-1].seconds:.2f} s"
            lib_result.console.print(line, markup=False)
    compacted = bench.folder / "bench_ours_0" / "lake"
    return Measured(
        size=size,
        shaped_by=shaped_by,
        files=len(fresh),
        bytes=sum(fresh.values()),
        spent=spent,
        runs=runs,
        files_after=len(lib_delta.files(compacted, compacted / "bronze", hour)),
        reading=_reading(bench, hour, {"before": template / "bronze", "after": compacted / "bronze"}),
        rows={table: len(rows) for table, rows in expected.items()},
    )


def _fill(bench: Workbench, bronze: Path, hour: Hour, size: Size) -> str:
    """Make the table; what its events are shaped by."""
    shapes, shaped_by = lib_events.templates()
    appends = bench.folder / "appends"
    files = lib_batch_hour.write(appends, hour, size, shapes)
    lib_result.console.print(f"  filling bronze: {len(files)} appends", markup=False)
    job = {"path": str(bronze), "files": [str(file) for file in files]}
    bench.application("lib_batch_lake.py", job, appends, is_ours=True)
    shutil.rmtree(appends)
    return shaped_by


def _limit(bench: Workbench, files: Iterable[Path], hour: Hour) -> tuple[Spent, dict[str, list[Row]]]:
    limit, began = Limit(bench.secret.encode(), threads=os.cpu_count() or 2), os.times()
    seconds = limit.take_bronze(files)
    ended = os.times()
    spent = Spent(seconds, ended.user + ended.system - began.user - began.system)
    return spent, lib_answers.read(limit.rows, "", lib_answers.duckdb_form, hour)


def _usual(bench: Workbench, template: Path, hour: Hour, number: int, expected: dict[str, list[Row]]) -> Spent:
    database = f"bench_usual_{number}"
    folder = bench.folder / database
    folder.mkdir()
    bench.create(database, with_schema=False)
    job = {"path": str(template / "bronze"), "secret": bench.secret, "jdbc": bench.jdbc(database)}
    _, spent = bench.application("lib_batch_usual.py", job, folder, is_ours=False)
    lib_answers.compare("usual", expected, lib_answers.read_postgres(bench.dsn(database), "", hour))
    bench.drop(database)
    return spent


def _reading(bench: Workbench, hour: Hour, tables: Mapping[str, Path]) -> dict[str, list[float]]:
    folder = bench.folder / "reading"
    folder.mkdir()
    paths = {name: str(path) for name, path in tables.items()}
    job = {"paths": paths, "hour": f"{hour.start:%Y-%m-%d %H:%M:%S}", "times": READINGS}
    found: dict[str, list[float]] = bench.application("lib_batch_lake.py", job, folder, is_ours=True)[0]
    return found


def _report(measured: Measured, is_quick: bool) -> Document:
    """Ratios, the tables, the file."""
    rounds = len(measured.runs)
    middle = {name: median(one.seconds for one in spent) for name, spent in measured.spent.items()}
    cpu = {name: median(one.cpu_seconds for one in spent) for name, spent in measured.spent.items()}
    steps = {name: [run.steps.get(name, 0.0) for run in measured.runs] for name in measured.runs[0].steps}
    published = [run.published for run in measured.runs]
    written = {
        "compaction": [run.bytes(compaction=True) / measured.bytes for run in measured.runs],
        "other tables": [run.bytes(compaction=False) / measured.bytes for run in measured.runs],
    }
    together = [sum(one) for one in zip(*written.values(), strict=True)]
    bars = [
        Bar("start of the job → published", median(published), 60, "s", at_least=False),
        Bar("compaction", median(steps["compaction"]), 5, "s", at_least=False),
        Bar("file bytes written per byte of new bronze", median(together), 2, at_least=False),
    ]
    lib_result.show(
        f"batch: an hour of {measured.size.events:,} events, median of {rounds} rounds",
        ["variant", "seconds", "processor seconds", "ours is faster by"],
        [[VARIANTS[name], middle[name], cpu[name], middle[name] / middle["ours"]] for name in VARIANTS],
    )
    shown = [[name, median(times)] for name, times in steps.items()]
    lib_result.show("where ours spends them", ["step", "seconds"], [*shown, ["together", middle["ours"]]])
    reading = {name: median(times) for name, times in measured.reading.items()}
    table = [
        ["before", measured.files, measured.bytes / 1e6, reading["before"]],
        ["after", measured.files_after, measured.bytes * median(written["compaction"]) / 1e6, reading["after"]],
    ]
    lib_result.show("the hour in bronze and compaction", ["", "files", "MB", "seconds to read it"], table)
    document = {
        "machine": lib_result.machine(),
        "rounds": rounds,
        "input": {
            "shaped_by": measured.shaped_by,
            "hours_before": measured.size.hours_before,
            "records": measured.runs[0].accounting,
            "bronze_files": measured.files,
            "bronze_bytes": measured.bytes,
            "rows": measured.rows,
        },
        "variants": {
            name: {
                "what": VARIANTS[name],
                "seconds": lib_result.summary([one.seconds for one in measured.spent[name]]),
                "cpu_seconds": lib_result.summary([one.cpu_seconds for one in measured.spent[name]]),
                "ours_is_faster_by": round(middle[name] / middle["ours"], 2),
            }
            for name in VARIANTS
        },
        "ours": {
            "published_after_seconds": lib_result.summary(published),
            "steps_seconds": {name: lib_result.summary(times) for name, times in steps.items()},
            "bytes_written_per_byte_of_new_bronze": {
                **{name: lib_result.summary(ratios) for name, ratios in written.items()},
                "together": lib_result.summary(together),
            },
            "bytes_written_by_table": _by_table(measured.runs[0]),
        },
        "compaction": {
            "files_before": measured.files,
            "files_after": measured.files_after,
            "seconds_to_read_the_hour": {name: lib_result.summary(times) for name, times in measured.reading.items()},
        },
        "answers_equal": True,
        "answers": "the minute rows of every rollup, ours and the usual way's, equal DuckDB's, row for row",
    }
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('batch', document, bars, is_quick=is_quick)}")
    return document


def _by_table(run: Run) -> dict[str, int]:
    found: dict[str, int] = {}
    for commit in run.commits:
        found[commit.table] = found.get(commit.table, 0) + commit.bytes
    return found
