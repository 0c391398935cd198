"""The gate before an hour or a day is published: Great Expectations over its rows, the laws between them, its volume.

What was found stands in `ops.quality_results`, also of what was kept back. The surprising thing: it looks at
the very rows that are about to be published, in this process's memory; nothing is staged where a reader could find it.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from expectations import suites
from expectations.judge import Verdict, judge
from expectations.suites import Band, Suite
from jobs.lib import ledger
from jobs.lib.postgres import transaction
from jobs.lib.postgres_retention import KEPT
from jobs.lib.publish import Accounting, PublishedHours, Source, Tables
from wikiweir.hours import Day, Hour
from wikiweir.rollups import ROLLUPS, Grain, Rollup
from wikiweir.settings import Lifetimes

log = logging.getLogger(__name__)

INCIDENT = "hour_blocked"
WEEKS, ENOUGH_WEEKS = 8, 4
SLACK = 0.5
"""An hour may have this part less than the least, and more than the most, of the same hour in past weeks."""

_LEFT_IN_ARROW = {kind: pd.ArrowDtype(kind) for kind in (pa.string(), pa.binary())}
"""Types that would become Python objects, a hundred bytes each."""

_SAME_HOUR = """\
SELECT count(*), min(o.records), max(o.records)
FROM ops.hour_outcomes AS o
WHERE o.outcome = 'fact' AND o.hour = ANY (ARRAY(
    SELECT %(hour)s::timestamptz - w * interval '7 days' FROM generate_series(1, %(weeks)s) AS w
))"""


class BlockedError(RuntimeError):
    """A critical expectation failed: nothing of the hour or day was published."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is judged, and by which run."""

    period: Hour | Day
    run_id: str
    rows_in: str
    """Where in the lake that which it was made of can be found."""
    bronze_rows: int | None = None
    """How many rows of bronze an hour was made of: the next run sees by them that nothing has changed."""

    @property
    def name(self) -> str:
        return f"{'hour' if isinstance(self.period, Hour) else 'day'} {self.period}"


def check_hour(connection: Connection, source: Source, tables: Tables, accounting: Accounting) -> list[Verdict]:
    """Judge the minutes and the hour rows of an hour, and write down what was found. Raises `BlockedError`."""
    minutes = {rollup: _frame(tables[rollup.table("minute")], source.hour, "minute") for rollup in ROLLUPS}
    with connection.cursor() as cursor:
        band, published = _band(cursor, source), _published_rows(cursor, source)
    found = judge(
        [
            *(suites.of_rollup(rollup, "minute", rows) for rollup, rows in minutes.items()),
            *_of_rollups(tables, source.hour, "hour"),
            suites.of_laws(
                {rollup.name: rows for rollup, rows in minutes.items()}, accounting, source.bronze_rows, published
            ),
            suites.of_totals("totals", _sums(tables, "minute"), _sums(tables, "hour")),
            suites.of_volume(accounting.get(("fact", ""), 0), band),
        ]
    )
    where = f"bronze version {source.bronze_version}, event_hour {source.hour}"
    return _settle(connection, Judged(source.hour, source.run_id, where, source.bronze_rows), found)


def check_day(
    connection: Connection, made_of: PublishedHours, tables: Tables, run_id: str, keep: Lifetimes, now: datetime
) -> list[Verdict]:
    """Judge the rows of a day against those of its published hours, as long as these live. Raises `BlockedError`.

    Of a day whose hours have lived long enough, a late event leaves one hour alone: nothing can be held against that.
    """
    comparable = [rollup for rollup in ROLLUPS if made_of.day.end > now - getattr(keep, KEPT[rollup.table("hour")])]
    with connection.cursor() as cursor:
        of_hours = _sums_of_hours(cursor, made_of.day, comparable)
    totals = suites.of_totals("totals_daily", of_hours, _sums(tables, "day", comparable))
    found = judge(chain(_of_rollups(tables, made_of.day, "day"), [totals]))
    where = f"silver/facts, event_hour from {made_of.hours[0]} to {made_of.hours[-1]}"
    return _settle(connection, Judged(made_of.day, run_id, where), found)


def _settle(connection: Connection, judged: Judged, found: list[Verdict]) -> list[Verdict]:
    failed = [verdict for verdict in found if not verdict.success]
    blocking = [verdict for verdict in failed if verdict.blocks]
    for verdict in failed:
        level = logging.ERROR if verdict.blocks else logging.WARNING
        log.log(level, "%s: %s: %s %s", judged.name, verdict.suite, law(verdict), verdict.observed)
    with transaction(connection) as cursor:
        write_down(cursor, judged.period, judged.run_id, found)
        _tell(cursor, judged, blocking)
    if blocking:
        raise BlockedError(
            f"{judged.name} is kept back: {len(blocking)} of {len(found)} expectations failed; its last version"
            f" keeps being served. docs/runbooks/{INCIDENT}.md says what to do"
        )
    return found


def _of_rollups(tables: Tables, period: Hour | Day, grain: Grain) -> Iterator[Suite]:
    """Each is made when it is asked for: a day has a million pages."""
    for rollup in ROLLUPS:
        yield suites.of_rollup(rollup, grain, _frame(tables[rollup.table(grain)], period, grain))


def _frame(rows: pa.Table, period: Hour | Day, grain: Grain) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_LEFT_IN_ARROW.get, split_blocks=True)
    since = frame.pop("window_start") - pd.Timestamp(period.start)
    frame["window"] = since / pd.Timedelta(1, grain)
    return frame


def _sums(tables: Tables, grain: Grain, rollups: Iterable[Rollup] = ROLLUPS) -> dict[str, int]:
    """`rollup.metric` -> its sum over the rows, of every metric that adds up."""
    return {
        f"{rollup.name}.{metric.name}": pc.sum(tables[rollup.table(grain)][metric.name], min_count=0).as_py()
        for rollup in rollups
        for metric in rollup.summed
    }


def _sums_of_hours(cursor: Cursor, day: Day, rollups: Iterable[Rollup]) -> dict[str, int]:
    found: dict[str, int] = {}
    for rollup in rollups:
        names = [metric.name for metric in rollup.summed]
        wanted = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in names)
        cursor.execute(
            f"SELECT {wanted} FROM batch.{rollup.table('hour')} WHERE window_start >= %s AND window_start < %s",
            (day.start, day.end),
        )
        found |= {f"{rollup.name}.{name}": n for name, n in zip(names, cursor.fetchone() or (), strict=True)}
    return found


def _published_rows(cursor: Cursor, source: Source) -> int:
    """How many rows of bronze the hour was last published from."""
    cursor.execute(
        "SELECT coalesce(sum(o.records), 0)::bigint FROM ops.hour_outcomes AS o WHERE o.hour = %s", (source.hour.start,)
    )
    return int((cursor.fetchone() or (0,))[0])


def _band(cursor: Cursor, source: Source) -> Band | None:
    cursor.execute(_SAME_HOUR, {"hour": source.hour.start, "weeks": WEEKS})
    weeks, least, most = cursor.fetchone() or (0, None, None)
    return Band(int(least * (1 - SLACK)), int(most * (1 + SLACK))) if weeks >= ENOUGH_WEEKS else None


def law(verdict: Verdict) -> str:
    """What was expected, in words where there are some."""
    return f"{verdict.description} ({verdict.expectation})" if verdict.description else verdict.expectation


def write_down(cursor: Cursor, period: Hour | Day, run_id: str, found: list[Verdict]) -> None:
    """Keep what a run found of an hour, or of the day or days that begin with it."""
    suites_named = list({verdict.suite for verdict in found})  # an hour and its day may begin at the same instant
    cursor.execute(
        "DELETE FROM ops.quality_results WHERE hour = %s AND run_id = %s AND suite = ANY (%s)",
        (period.start, run_id, suites_named),
    )
    cursor.executemany(
        "INSERT INTO ops.quality_results"
        " (run_id, hour, suite, expectation, severity, success, observed, description)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                run_id, period.start, verdict.suite, verdict.expectation, verdict.severity,
                verdict.success, Json(verdict.observed), verdict.description,
            )
            for verdict in found
        ],
    )  # fmt: skip


def _tell(cursor: Cursor, judged: Judged, blocking: list[Verdict]) -> None:
    failed = {f"{verdict.suite}: {law(verdict)}": verdict.observed for verdict in blocking}
    message = f"{judged.name} was not published, because what must hold of it does not" if blocking else None
    details = {"failed": failed, "run": judged.run_id, "rows in": judged.rows_in, "bronze rows": judged.bronze_rows}
    ledger.settle_incident(cursor, INCIDENT, str(judged.period), message, details)
