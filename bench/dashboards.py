"""Dashboards: what every tile costs with a month of rollups at true volume: in PostgreSQL, in Superset, watched by ten.

An instance of its own with Superset is filled with invented rows (`bench.dashboard_rows`). Superset tells the SQL of
each tile, which is run as the reader role; the same questions are asked of raw events; ten viewers of Pulse refresh
while the speed layer's writer goes on. The surprising thing: `--running` measures whatever instance runs now, so a
change of a view is judged in minutes.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg2

from bench import dashboard_raw, dashboard_rows, dashboard_tiles, dashboard_viewers, lib_result
from bench.dashboard_raw import Pair
from bench.dashboard_tiles import CLOCK, Tile, spread
from bench.lib_result import Bar, Document, quantile
from dashboards import sync
from local import stack
from local.instance import InstanceError
from local.source import Wish
from wikiweir.settings import Settings, home, load

DAYS, RAW_HOURS = 31, 30
QUICK_DAYS, QUICK_SCALE = 2, 0.02
BOUND_MS, FREE_MS, COLD_MS, WARM_MS = 50, 300, 500, 150
SLOWED_BY = 2.0
WITHOUT = frozenset({"airflow", "replay", "producer", "stream"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is filled, and how often each thing is measured."""

    days: int = DAYS
    scale: float = 1.0
    rounds: int = 20
    api_rounds: int = 5
    watch_seconds: float = 120.0


QUICK = Size(days=QUICK_DAYS, scale=QUICK_SCALE, rounds=3, api_rounds=1, watch_seconds=25.0)


@dataclass
class Measured:
    """Of a tile, in seconds."""

    tile: Tile
    statements: list[str] = field(default_factory=list)
    sql: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def run(*, size: Size, is_running: bool = False, is_quick: bool = False) -> Document:
    """Measure, check, print and write `dashboards.json`; `is_running`: the instance that runs now, as it is filled."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        if is_running:
            return _measure(load(), Path(name), size, "the running instance", is_quick)
        with _stack_of_its_own(Path(name)) as settings:
            now = _now(settings)
            plan = dashboard_rows.of_days(size.days, now, scale=size.scale, raw=RAW_HOURS)
            dashboard_rows.fill(settings, plan, tell=lambda line: lib_result.console.print(f"  {line}", markup=False))
            if sync.main() != sync.DONE:
                raise InstanceError("the dashboards could not be brought into Superset; see above")
            return _measure(settings, Path(name), size, "one of its own", is_quick)


@contextmanager
def _stack_of_its_own(folder: Path) -> Iterator[Settings]:
    """PostgreSQL, Kafka at rest and Superset in `folder`."""
    before = os.environ.get("WIKIWEIR_HOME")
    os.environ["WIKIWEIR_HOME"] = str(folder / "home")
    report = stack.Report(say=lambda line: lib_result.console.print(line, markup=False, style="dim"))
    try:
        try:
            _, settings = stack.up(Wish(), report, without=WITHOUT)
            yield settings
        finally:
            stack.down(report)
    finally:
        if before is None:
            del os.environ["WIKIWEIR_HOME"]
        else:
            os.environ["WIKIWEIR_HOME"] = before


def _now(settings: Settings) -> datetime:
    with psycopg2.connect(settings.postgres_dsn("reader")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('second', now())")
        return (cursor.fetchone() or ())[0]  # type: ignore[no-any-return]


def _measure(settings: Settings, folder: Path, size: Size, about: str, is_quick: bool) -> Document:
    filled, until = _filled(settings)
    bare = dashboard_raw.bare(settings, 200)
    pairs = dashboard_raw.ask(settings, until, max(size.rounds // 4, 2))
    _show_pairs(pairs, bare)
    with dashboard_viewers.Writing(home(), folder, size.scale) as writing:
        quiet_from = CLOCK.monotonic()
        CLOCK.sleep(size.watch_seconds)
        alone = writing.seconds(quiet_from, CLOCK.monotonic())
        with dashboard_tiles.viewer(settings) as asker:
            measured = [Measured(tile) for tile in dashboard_tiles.tiles(asker)]
            longer = [Measured(tile) for one in measured if (tile := _longest(one.tile)) is not None]
            for one in [*measured, *longer]:
                one.statements = dashboard_tiles.questions(asker, one.tile)
                one.sql = dashboard_tiles.time_sql(settings, one.statements, size.rounds)
            for one in measured:
                one.cold = dashboard_tiles.time_cold(asker, one.tile, size.api_rounds)
                one.warm = dashboard_tiles.time_warm(asker, one.tile, size.api_rounds)
        watched_from = CLOCK.monotonic()
        pulse = [one.tile for one in measured if one.tile.story == dashboard_tiles.PULSE]
        waited = dashboard_viewers.look_on(settings, pulse, size.watch_seconds)
        watched = writing.seconds(watched_from, watched_from + size.watch_seconds)
    return _report(size, about, filled, measured, longer, pairs, bare, waited, alone, watched, is_quick)


def _longest(tile: Tile) -> Tile | None:
    """A tile of Pulse with the longest look-back that it allows."""
    is_pulse = tile.story == dashboard_tiles.PULSE
    return dashboard_tiles.looking_back(tile, dashboard_tiles.LONGEST_LOOK_BACK) if is_pulse else None


def _filled(settings: Settings) -> tuple[Document, datetime]:
    """What is there; and the end of the last full minute of the rows, which questions of both kinds look at."""
    with psycopg2.connect(settings.postgres_dsn("owner")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('bench.raw_events') IS NOT NULL")
        if cursor.fetchone() != (True,):
            raise InstanceError(
                "expected an instance filled by `python -m bench.dashboard_rows --raw-hours 30`, found no raw events"
            )
        cursor.execute("SELECT max(event_time) FROM bench.raw_events")
        newest = (cursor.fetchone() or ())[0]
        cursor.execute("SELECT count(*), min(hour) FROM ops.published_hours")
        hours, since = cursor.fetchone() or (0, None)
        cursor.execute(
            "SELECT l.schema, sum(l.rows)::bigint, sum(l.bytes)::bigint FROM ("
            "SELECT c.relnamespace::regnamespace::text AS schema, greatest(c.reltuples, 0) AS rows,"
            " pg_total_relation_size(c.oid) AS bytes FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace IN"
            " ('batch'::regnamespace, 'speed'::regnamespace, 'bench'::regnamespace)) AS l GROUP BY l.schema"
        )
        sizes = {schema: {"rows": rows, "mib": round(size / 2**20)} for schema, rows, size in cursor.fetchall()}
    until = newest.replace(second=0, microsecond=0) - timedelta(minutes=1)
    return {"published_hours": hours, "since": f"{since:%Y-%m-%d}", "tables": sizes}, until


def _show_pairs(pairs: Sequence[Pair], bare: Sequence[float]) -> None:
    rows: list[list[object]] = [
        [pair.name, 1000 * median(pair.rollups), 1000 * median(pair.raw), median(pair.raw) / median(pair.rollups)]
        for pair in pairs
    ]
    rows.append(["SELECT 1", 1000 * median(bare), "", ""])
    columns = ["question", "rollups ms", "raw ms", "raw takes × as long"]
    lib_result.show("the same questions of rollups and of raw events, equal answers, medians", columns, rows)


def _report(
    size: Size,
    about: str,
    filled: Document,
    measured: Sequence[Measured],
    longer: Sequence[Measured],
    pairs: Sequence[Pair],
    bare: Sequence[float],
    waited: Sequence[float],
    alone: Sequence[float],
    watched: Sequence[float],
    is_quick: bool,
) -> Document:
    slowest = sorted(measured, key=lambda one: -_p95(one.sql))
    rows = [[f"{one.tile.story}/{one.tile.name}", *_ms(one.sql), *_ms(one.cold), *_ms(one.warm)] for one in slowest]
    columns = ["tile", "SQL p50 ms", "p95", "cold p50 ms", "p95", "warm p50 ms", "p95"]
    lib_result.show(f"dashboards: {len(measured)} tiles, slowest SQL first", columns, rows)
    far = sorted(longer, key=lambda one: -_p95(one.sql))
    lib_result.show(
        "Pulse looking back 3 hours", ["tile", "SQL p50 ms", "p95"], [[one.tile.name, *_ms(one.sql)] for one in far]
    )
    bars = [
        _slowest(measured, BOUND_MS),
        _slowest(measured, FREE_MS),
        _slowest(longer, BOUND_MS, ", looking back 3 hours"),
        _slowest(longer, FREE_MS, ", looking back 3 hours"),
        Bar("chart API cold, p95 of all answers", 1000 * _p95(_all(measured, "cold")), COLD_MS, "ms", at_least=False),
        Bar("chart API with ten viewers, p95", 1000 * _p95(waited), WARM_MS, "ms", at_least=False),
        Bar("speed writer's batch with viewers / without", median(watched) / median(alone), SLOWED_BY, at_least=False),
    ]
    document = {
        "machine": lib_result.machine(),
        "input": {"stack": about, "days": size.days, "scale": size.scale, **filled},
        "tiles": {
            f"{one.tile.story}/{one.tile.name}": {
                "title": one.tile.title,
                "dataset": one.tile.dataset,
                "queries": len(one.statements),
                "must_ms": _must(one.tile),
                "sql_ms": spread(one.sql),
                "api_cold_ms": spread(one.cold),
                "api_warm_ms": spread(one.warm),
            }
            for one in slowest
        },
        "pulse_3_hours_sql_ms": {one.tile.name: {"must_ms": _must(one.tile), **spread(one.sql)} for one in far},
        "viewers": {
            "people": dashboard_viewers.VIEWERS,
            "every_seconds": dashboard_viewers.EVERY_SECONDS,
            "answers_ms": spread(waited),
            "answers_a_second": round(len(waited) / size.watch_seconds, 1),
        },
        "speed_writer": {"batch_ms_alone": spread(alone), "batch_ms_with_viewers": spread(watched)},
        "raw": {
            pair.name: {"rollups_ms": spread(pair.rollups), "raw_ms": spread(pair.raw), "rows": pair.rows}
            for pair in pairs
        },
        "select_1_ms": spread(bare),
        "answers_equal": True,
        "answers": "each question's rows by rollups equal those by raw events",
    }
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('dashboards', document, bars, is_quick=is_quick)}")
    return document


def _must(tile: Tile) -> int:
    return BOUND_MS if tile.is_bound else FREE_MS


def _slowest(measured: Sequence[Measured], must: int, when: str = "") -> Bar:
    slowest = max((one for one in measured if _must(one.tile) == must), key=lambda one: _p95(one.sql))
    of = "on activity or tops" if must == BOUND_MS else "of the others"
    what = f"SQL p95 of the slowest tile {of}{when} ({slowest.tile.story}/{slowest.tile.name})"
    return Bar(what, 1000 * _p95(slowest.sql), must, "ms", at_least=False)


def _p95(values: Sequence[float]) -> float:
    return quantile(sorted(values), 0.95)


def _ms(values: Sequence[float]) -> list[float]:
    return [1000 * median(values), 1000 * _p95(values)]


def _all(measured: Sequence[Measured], of: str) -> list[float]:
    return [seconds for one in measured for seconds in getattr(one, of)]
