"""Dashboards: what every tile costs with a month of rollups at true volume: in PostgreSQL, in Superset, watched by ten.

An instance of its own with Superset is filled with invented rows (`bench.dashboard_rows`). Superset tells the SQL of
each tile, which is run as the reader role, as the dashboard opens and with the longest look back that it allows; the
same questions are asked of raw events; ten viewers of Pulse refresh while the speed layer's writer goes on. The
surprising thing: `--running` measures whatever instance runs now, so a change of a view is judged in minutes.
"""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import psycopg2

from bench import dashboard_raw, dashboard_rows, dashboard_tiles, dashboard_viewers, lib_result, lib_stack
from bench.dashboard_raw import Pair
from bench.dashboard_tiles import CLOCK, Tile, Viewer, spread
from bench.lib_result import Bar, Document, quantile
from dashboards import sync
from local.instance import InstanceError
from local.source import Wish
from wikiweir.settings import Settings, home, load

DAYS, RAW_HOURS = 31, 30
BOUND_MS, FREE_MS, COLD_MS, WARM_MS = 50, 300, 500, 150
SLOWED_BY = 2.0
WITHOUT = ("airflow", "replay", "producer", "stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is filled, and how often each thing is measured."""

    days: int = DAYS
    scale: float = 1.0
    rounds: int = 20
    cold_rounds: int = 5
    watch_seconds: float = 120.0


QUICK = Size(days=2, scale=0.02, rounds=3, cold_rounds=1, watch_seconds=25.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a tile, in seconds; `cold`: Superset's answers past its cache, of a tile as it opens."""

    tile: Tile
    queries: int
    sql: list[float]
    cold: list[float]

    @property
    def name(self) -> str:
        return f"{self.tile.story}/{self.tile.name}"

    @property
    def must_ms(self) -> int:
        return BOUND_MS if self.tile.is_bound else FREE_MS

    def document(self) -> Document:
        """As it stands in the result file."""
        told = {"dataset": self.tile.dataset, "queries": self.queries, "must_ms": self.must_ms}
        return told | {"sql_ms": spread(self.sql)} | ({"api_cold_ms": spread(self.cold)} if self.cold else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything measured, in seconds."""

    filled: Document
    opening: list[Measured]
    longest: list[Measured]
    pairs: list[Pair]
    bare: list[float]
    answers: list[float]
    """That the viewers waited for."""
    alone: list[float]
    watched: list[float]
    """Batches of the speed layer's writer without and with viewers."""


def run(*, size: Size, is_running: bool = False, is_quick: bool = False) -> Document:
    """Measure, check, print and write `dashboards.json`; `is_running`: the instance that runs now, as it is filled."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        folder = Path(name)
        if is_running:
            found = _measure(load(), folder, size)
        else:
            with lib_stack.of_its_own(folder, Wish(), WITHOUT) as (_, settings):
                _fill(settings, size)
                found = _measure(settings, folder, size)
    return _report(found, size, "the running instance" if is_running else "one of its own", is_quick)


def _fill(settings: Settings, size: Size) -> None:
    now = CLOCK.now().replace(second=0, microsecond=0)
    plan = dashboard_rows.of_days(size.days, now, scale=size.scale, raw=RAW_HOURS)
    dashboard_rows.fill(settings, plan, tell=lambda line: lib_result.console.print(f"  {line}", markup=False))
    if sync.main() != sync.DONE:
        raise InstanceError("the dashboards could not be brought into Superset; see above")


def _measure(settings: Settings, folder: Path, size: Size) -> Found:
    filled, until = _filled(settings)
    bare = dashboard_raw.bare(settings, 200)
    pairs = dashboard_raw.ask(settings, until, max(size.rounds // 4, 2))
    with dashboard_viewers.Writing(home(), folder, size.scale) as writing:
        quiet_from = CLOCK.monotonic()
        CLOCK.sleep(size.watch_seconds)
        alone = writing.seconds(quiet_from, CLOCK.monotonic())
        with dashboard_tiles.viewer(settings) as asker:
            tiles = dashboard_tiles.tiles(asker)
            opening = [_timed(settings, asker, tile, size.rounds, size.cold_rounds) for tile in tiles]
            farther = [tile for tile in map(dashboard_tiles.longest, tiles) if tile is not None]
            longest = [_timed(settings, asker, tile, size.rounds, 0) for tile in farther]
        watched_from = CLOCK.monotonic()
        pulse = [tile for tile in tiles if tile.story == dashboard_tiles.PULSE]
        answers = dashboard_viewers.look_on(settings, pulse, size.watch_seconds)
        watched = writing.seconds(watched_from, CLOCK.monotonic())
    return Found(
        filled=filled, opening=opening, longest=longest, pairs=pairs, bare=bare, answers=answers, alone=alone,
        watched=watched,
    )  # fmt: skip


def _timed(settings: Settings, asker: Viewer, tile: Tile, rounds: int, cold_rounds: int) -> Measured:
    statements = dashboard_tiles.questions(asker, tile)
    sql = dashboard_tiles.time_sql(settings, statements, rounds)
    return Measured(tile, len(statements), sql, dashboard_tiles.time_cold(asker, tile, cold_rounds))


def _filled(settings: Settings) -> tuple[Document, datetime]:
    """What is there; and the end of the last full minute of the rows, which questions of both kinds look at."""
    with closing(psycopg2.connect(settings.postgres_dsn("owner"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('bench.raw_events') IS NOT NULL")
        if cursor.fetchone() != (True,):
            raise InstanceError(
                f"expected an instance filled by `python -m bench.dashboard_rows --raw-hours {RAW_HOURS}`,"
                " found no raw events"
            )
        cursor.execute("SELECT date_trunc('minute', max(event_time)) - interval '1 minute' FROM bench.raw_events")
        until = (cursor.fetchone() or ())[0]
        cursor.execute("SELECT count(*), min(hour) FROM ops.published_hours")
        hours, since = cursor.fetchone() or (0, None)
        cursor.execute(
            "SELECT n.nspname, sum(greatest(c.reltuples, 0))::bigint, sum(pg_total_relation_size(c.oid))::bigint"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname IN ('batch', 'speed', 'bench') GROUP BY n.nspname"
        )
        sizes = {schema: {"rows": rows, "mib": round(size / 2**20)} for schema, rows, size in cursor.fetchall()}
    return {"published_hours": hours, "since": f"{since:%Y-%m-%d}", "tables": sizes}, until


def _report(found: Found, size: Size, about: str, is_quick: bool) -> Document:
    """The tables, the promises, the file."""
    opening, longest = (sorted(tiles, key=lambda one: -_p95(one.sql)) for tiles in (found.opening, found.longest))
    bare, cold = 1000 * median(found.bare), [seconds for one in opening for seconds in one.cold]
    pairs = [(pair.name, 1000 * median(pair.rollups), 1000 * median(pair.raw)) for pair in found.pairs]
    lib_result.show(
        "the same questions of rollups and of raw events, equal answers, medians",
        ["question", "rollups ms", "raw ms", "raw takes × as long"],
        [*([name, rolled, raw, raw / rolled] for name, rolled, raw in pairs), ["SELECT 1", bare, "", ""]],
    )
    columns = ["tile", "SQL p50 ms", "p95"]
    lib_result.show(
        f"dashboards: {len(opening)} tiles as they open, slowest SQL first",
        [*columns, "cold p50 ms", "p95"],
        [[one.name, *_ms(one.sql), *_ms(one.cold)] for one in opening],
    )
    lib_result.show("looking back farthest", columns, [[one.name, *_ms(one.sql)] for one in longest])
    bars = [
        *(_slowest(opening, must, "") for must in (BOUND_MS, FREE_MS)),
        *(_slowest(longest, must, ", looking back farthest") for must in (BOUND_MS, FREE_MS)),
        Bar("chart API cold, p95 of all answers", 1000 * _p95(cold), COLD_MS, "ms", at_least=False),
        Bar("chart API with ten viewers, p95", 1000 * _p95(found.answers), WARM_MS, "ms", at_least=False),
        Bar(
            "speed writer's batch with viewers / without", median(found.watched) / median(found.alone), SLOWED_BY,
            at_least=False,
        ),
    ]  # fmt: skip
    document = {
        "machine": lib_result.machine(),
        "input": {"stack": about, "days": size.days, "scale": size.scale, **found.filled},
        "tiles": {one.name: one.document() for one in opening},
        "tiles_looking_back_farthest": {one.name: one.document() for one in longest},
        "viewers": {
            "people": dashboard_viewers.VIEWERS,
            "every_seconds": dashboard_viewers.EVERY_SECONDS,
            "answers_ms": spread(found.answers),
            "answers_a_second": round(len(found.answers) / size.watch_seconds, 1),
        },
        "speed_writer": {"batch_ms_alone": spread(found.alone), "batch_ms_with_viewers": spread(found.watched)},
        "raw": {
            pair.name: {"rollups_ms": spread(pair.rollups), "raw_ms": spread(pair.raw), "rows": pair.rows}
            for pair in found.pairs
        },
        "select_1_ms": spread(found.bare),
        "answers_equal": True,
        "answers": "each question's rows by rollups equal those by raw events",
    }
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('dashboards', document, bars, is_quick=is_quick)}")
    return document


def _slowest(measured: Sequence[Measured], must: int, when: str) -> Bar:
    slowest = max((one for one in measured if one.must_ms == must), key=lambda one: _p95(one.sql))
    of = "on activity or tops" if must == BOUND_MS else "of the others"
    what = f"SQL p95 of the slowest tile {of}{when} ({slowest.name})"
    return Bar(what, 1000 * _p95(slowest.sql), must, "ms", at_least=False)


def _p95(values: Sequence[float]) -> float:
    return quantile(sorted(values), 0.95)


def _ms(values: Sequence[float]) -> list[float]:
    return [1000 * median(values), 1000 * _p95(values)]
