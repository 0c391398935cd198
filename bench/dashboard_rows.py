"""Fills a migrated database with invented rows of any number of hours, without Kafka and Spark.

For developers' dashboards and for `./weir bench dashboards`.
One invented hour (`bench.dashboard_facts`) is added up once, at each level of traffic, and copied to hour after hour;
the last two are left to the speed layer. The surprising thing: every number is exact all the same, distinct counts of
days too, so whatever compares rows of one table with those of another finds them equal.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

from bench import dashboard_facts, dashboard_sql
from bench import dashboard_ledgers as ledgers
from bench.dashboard_facts import LEVELS
from bench.dashboard_ledgers import Totals
from bench.dashboard_sql import SCHEMA
from jobs.lib.copying import copy
from jobs.lib.wikis import wiki_row
from sql.migrate import migrate
from wikiweir.clock import SystemClock
from wikiweir.rollups import ROLLUPS
from wikiweir.settings import Settings, load

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIVE_HOURS = 2
"""The running one and the one before it: not published yet."""
RECENT_HOURS = 3
AT_A_TIME = 2
"""Days that are filled side by side."""


class OtherDataError(RuntimeError):
    """The database holds rows that this program has not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How far back each kind of row reaches."""

    now: datetime
    """A whole minute."""
    hours: int
    """Hours and days."""
    minutes: int
    """Minutes by wiki and class, in hours."""
    key_minutes: int
    """Minutes by user and page, in hours."""
    speed: int
    """Live minutes, in hours."""
    seed: int = 1
    scale: float = 1.0
    is_hostile: bool = True
    raw: int = 0
    """Hours of raw events beside them, which the benchmark asks the same questions."""

    @property
    def running(self) -> datetime:
        """Beginning of the hour that is not over."""
        return self.now.replace(minute=0, second=0, microsecond=0)

    @property
    def last_published(self) -> datetime:
        return self.running - LIVE_HOURS * HOUR

    def newest(self, count: int) -> list[datetime]:
        """The newest published hours, oldest first."""
        count = min(count, self.hours)
        return [self.last_published - number * HOUR for number in reversed(range(count))]

    def days(self) -> dict[datetime, list[datetime]]:
        """Published hours by their day."""
        found: dict[datetime, list[datetime]] = {}
        for hour in self.newest(self.hours):
            found.setdefault(hour.replace(hour=0), []).append(hour)
        return found

    def live(self) -> list[datetime]:
        """Hours that the speed layer holds, oldest first."""
        return [self.running - number * HOUR for number in reversed(range(self.speed + LIVE_HOURS))]

    def recent(self) -> list[datetime]:
        """Hours of which it holds single changes."""
        return self.live()[-RECENT_HOURS - 1 :]

    def values(self, hour: datetime) -> dict[str, Any]:
        """What the statements that copy an hour are told of it."""
        number = dashboard_facts.level(hour)
        return {
            "start": hour,
            "now": self.now,
            "level": number,
            "part": LEVELS[number],
            "word": dashboard_facts.own_word(hour),
            "digits": dashboard_facts.own_digits(hour),
        }

    @property
    def run_id(self) -> str:
        return f"invented-{self.seed}"


def of_days(days: int, now: datetime, **more: Any) -> Plan:
    """What a database holds that has run for so long, with the lifetimes of `wikiweir.settings`."""
    hours = days * 24
    return Plan(now=now, hours=hours, minutes=hours, key_minutes=min(hours, 72), speed=min(hours, 50), **more)


def of_hours(hours: int, history_days: int, now: datetime, **more: Any) -> Plan:
    """Everything of the last hours, and hours and days of a longer history."""
    return Plan(now=now, hours=max(hours, history_days * 24), minutes=hours, key_minutes=hours, speed=hours, **more)


def fill(settings: Settings, plan: Plan, *, is_forced: bool = False, tell: Any = print) -> None:
    """Empty the database of invented rows and fill it by the plan, some days at a time."""
    with _filler(settings, plan) as filler:
        _empty(filler.cursor, is_forced)
        tell(filler.invent())
        totals = ledgers.totals(filler.cursor)
        filler.make_leaves()

    def alone(step: Callable[[_Filler], str]) -> str:
        with _filler(settings, plan, totals) as filler:
            return step(filler)

    steps = [_Filler.live, *(partial(_Filler.day, day=day, hours=hours) for day, hours in plan.days().items())]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for told in pool.map(alone, steps):
            tell(told)
    tell(alone(_Filler.finish))
    with closing(psycopg2.connect(settings.postgres_dsn("owner"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("ANALYZE")
        # autovacuum would have come by in all that time; an index is read alone only where its rows have been vacuumed
        cursor.execute("VACUUM batch.activity_hourly, batch.editor_counts, batch.top_pages, batch.top_editors")


@contextmanager
def _filler(settings: Settings, plan: Plan, totals: Totals | None = None) -> Iterator["_Filler"]:
    """On a connection of its own; commits when it is done."""
    connecting = closing(psycopg2.connect(settings.postgres_dsn("owner")))
    with connecting as connection, connection, connection.cursor() as cursor:
        # nothing here is worth waiting for the disk
        cursor.execute("SET synchronous_commit = off; SET work_mem = '64MB'; SET timezone = 'UTC'")
        yield _Filler(cursor, plan, totals or {})


def _empty(cursor: Cursor, is_forced: bool) -> None:
    cursor.execute(
        "SELECT (SELECT count(*) FROM ops.published_hours AS p WHERE p.run_id NOT LIKE 'invented-%')"
        " + (SELECT count(*) FROM ops.stream_batches AS b WHERE b.checkpoint_id NOT LIKE 'invented-%')"
    )
    if (cursor.fetchone() or (0,))[0] and not is_forced:
        raise OtherDataError(
            "expected an empty database or one that this program filled, found published hours or batches of others;"
            " use another state folder (WIKIWEIR_HOME), or --force to empty this one"
        )
    cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    cursor.execute(
        "SELECT format('%%I.%%I', c.relnamespace::regnamespace, c.relname) FROM pg_class AS c"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND (c.relnamespace IN ('batch'::regnamespace, 'speed'::regnamespace)"
        "  OR c.relnamespace = 'ops'::regnamespace AND c.relname = ANY (%s))",
        (list(ledgers.TABLES),),
    )
    cursor.execute(f"TRUNCATE {', '.join(name for (name,) in cursor.fetchall())}")


class _Filler:
    """Steps, each with a line for people about what it made."""

    def __init__(self, cursor: Cursor, plan: Plan, totals: Totals) -> None:
        self.cursor, self.plan, self.totals = cursor, plan, totals
        cursor.execute("SELECT generation FROM ops.generations WHERE state = 'live'")
        self.generation = int((cursor.fetchone() or (1,))[0])

    def _do(self, statement: str, **values: Any) -> None:
        self.cursor.execute(statement, values)

    def invent(self) -> str:
        """The invented hour, and what it adds up to at each level."""
        plan = self.plan
        events = dashboard_facts.make(plan.seed, plan.scale, is_hostile=plan.is_hostile)
        self._do(f"CREATE SCHEMA {SCHEMA}")
        self._do(dashboard_sql.events_table())
        copy(self.cursor, {f"{SCHEMA}.events": events})
        self._do(f"ANALYZE {SCHEMA}.events")
        for rollup in ROLLUPS:
            for statement in dashboard_sql.add_up(rollup, LEVELS):
                self._do(statement)
        wikis = Counter(zip(events["wiki"].to_pylist(), events["server_name"].to_pylist(), strict=True))
        self.cursor.executemany(
            "INSERT INTO speed.wikis (wiki, server_name, project, language, language_name, territory)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [wiki_row(*pair) for pair in sorted(wikis)],
        )
        return f"invented {events.num_rows:,} events of {len(wikis)} wikis"

    def make_leaves(self) -> None:
        """Of everything, before several steps want them at once."""
        plan = self.plan
        self._do("SELECT batch.ensure_partitions(%(windows)s::timestamptz[])", windows=plan.newest(plan.hours))
        self._do("SELECT batch.ensure_partitions(%(days)s::timestamptz[])", days=list(plan.days()))
        self._do(
            "SELECT speed.ensure_partitions(%(g)s, %(windows)s::timestamptz[], '{}', %(received)s::timestamptz[])",
            g=self.generation, windows=plan.live(), received=plan.recent(),
        )  # fmt: skip

    def day(self, day: datetime, hours: Sequence[datetime]) -> str:
        """Its published hours: their minutes, as far back as those reach, and themselves. Then the day as they are:
        names that change hour by hour, the others once.
        """
        plan = self.plan
        for hour in hours:
            age = (plan.last_published - hour) // HOUR
            for rollup in ROLLUPS:
                by_key = bool(dashboard_sql.flags(rollup))
                if age < (plan.key_minutes if by_key else plan.minutes):
                    self._do(dashboard_sql.copy_minutes(rollup, f"batch.{rollup.name}"), **plan.values(hour))
                self._do(dashboard_sql.copy_hour(rollup), **plan.values(hour))
                if by_key:
                    self._do(dashboard_sql.copy_to_day(rollup), day=day, **plan.values(hour))
            ledgers.publish_hour(self.cursor, self.totals, plan.run_id, hour, plan.now)
            self._do("SELECT batch.rank_tops('hour', %(start)s), batch.total_hour(%(start)s)", start=hour)
        levels = Counter(map(dashboard_facts.level, hours))
        last = {dashboard_facts.level(hour): hour for hour in hours}
        values = {"levels": list(levels), "times": list(levels.values()), "last": [last[number] for number in levels]}
        for rollup in ROLLUPS:
            self._do(dashboard_sql.add_up_day(rollup), day=day, **values)
        ledgers.publish_day(self.cursor, plan.run_id, day, hours)
        self._do("SELECT batch.rank_tops('day', %(start)s)", start=day)
        return f"{day:%Y-%m-%d}: {len(hours)} published hours"

    def live(self) -> str:
        """What the speed layer holds: older minutes of published hours, the open hours, recent changes; raw events of
        the last hours, where they are asked for.
        """
        plan = self.plan
        for hour in plan.live():
            values = plan.values(hour)
            for rollup in ROLLUPS:
                self._do(dashboard_sql.copy_minutes(rollup, f"speed.{rollup.name}", self.generation), **values)
            if hour in plan.recent():
                statement = dashboard_sql.recent_changes("speed.recent_changes", self.generation)
                self._do(statement, since=plan.now - RECENT_HOURS * HOUR, **values)
            ledgers.took_in(self.cursor, self.totals, self.generation, hour, plan.now)
        ledgers.running(self.cursor, self.generation, plan.run_id, plan.now)
        if plan.raw:
            self._raw_events()
        return f"{len(plan.live())} hours of the speed layer, up to {plan.now:%H:%M:%S}"

    def _raw_events(self) -> None:
        plan = self.plan
        self._do(dashboard_sql.raw_table())
        for number in reversed(range(plan.raw)):
            hour = plan.running - number * HOUR
            statement = dashboard_sql.recent_changes(f"{SCHEMA}.raw_events", self.generation, is_whole=True)
            self._do(statement, since=hour, **plan.values(hour))
        self._do(f"CREATE INDEX ON {SCHEMA}.raw_events (event_time)")
        self._do(f"GRANT USAGE ON SCHEMA {SCHEMA} TO wikiweir_reader")
        self._do(f"GRANT SELECT ON {SCHEMA}.raw_events TO wikiweir_reader")

    def finish(self) -> str:
        """Tops of weeks and months; then the invented hour has done its work."""
        self._do("SELECT batch.rank_periods()")
        if self.plan.raw:
            self._do(f"DROP TABLE {', '.join(f'{SCHEMA}.{name}' for name in dashboard_sql.scaffolding())}")
        else:
            self._do(f"DROP SCHEMA {SCHEMA} CASCADE")
        return "weeks and months"


def main(arguments: Sequence[str] | None = None) -> None:
    """See --help."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard_rows", description=__doc__)
    parser.add_argument("--hours", type=int, default=26, help="everything of so many hours (default 26)")
    parser.add_argument("--history-days", type=int, default=8, help="hours and days of a longer history (default 8)")
    parser.add_argument("--days", type=int, help="instead: a database that has run so long, e.g. 31")
    parser.add_argument("--scale", type=float, default=1.0, help="part of true volume (default 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tame", action="store_true", help="without hostile titles")
    parser.add_argument("--raw-hours", type=int, default=0, help="also a table of raw events, in schema bench")
    parser.add_argument("--force", action="store_true", help="also where others' data are, which are deleted")
    args = parser.parse_args(arguments)
    settings = load()
    migrate(settings)
    now = SystemClock().now().replace(second=0, microsecond=0)
    more = {"seed": args.seed, "scale": args.scale, "is_hostile": not args.tame, "raw": args.raw_hours}
    plan = of_days(args.days, now, **more) if args.days else of_hours(args.hours, args.history_days, now, **more)
    try:
        fill(settings, plan, is_forced=args.force, tell=lambda line: print(line, flush=True))
    except OtherDataError as problem:
        sys.exit(f"dashboard_rows: {problem}")


if __name__ == "__main__":
    main()
