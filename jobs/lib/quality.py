"""The gate before an hour is published: Great Expectations over its rollups, the laws between them, its volume.

What was found stands in `ops.quality_results`, also of an hour that was kept back. The surprising thing: it looks at
the very rows that are about to be published, in this process's memory; nothing is staged where a reader could find it.
"""

import logging
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from expectations import suites
from expectations.judge import Verdict, judge
from expectations.suites import Band
from jobs.lib import ledger
from jobs.lib.postgres import transaction
from jobs.lib.publish import Accounting, Source
from wikiweir.rollups import ROLLUPS

log = logging.getLogger(__name__)

INCIDENT = "hour_blocked"
WEEKS, ENOUGH_WEEKS = 8, 4
SLACK = 0.5
"""An hour may have this part less than the least, and more than the most, of the same hour in past weeks."""

_SAME_HOUR = """\
SELECT count(*), min(o.records), max(o.records)
FROM ops.hour_outcomes AS o
WHERE o.outcome = 'fact' AND o.hour = ANY (ARRAY(
    SELECT %(hour)s::timestamptz - w * interval '7 days' FROM generate_series(1, %(weeks)s) AS w
))"""


class HourBlockedError(RuntimeError):
    """A critical expectation failed: nothing of the hour was published."""


def check(
    connection: Connection,
    source: Source,
    tables: Mapping[str, pa.Table],
    accounting: Accounting,
    bronze_rows: int,
) -> list[Verdict]:
    """Judge the rows of an hour and write down what was found. Raises `HourBlockedError`."""
    frames = {rollup.name: _frame(tables[rollup.name], source) for rollup in ROLLUPS}
    with connection.cursor() as cursor:
        band = _band(cursor, source)
    found = judge(
        [
            *(suites.of_rollup(rollup, frames[rollup.name]) for rollup in ROLLUPS),
            suites.of_laws(frames, accounting, bronze_rows),
            suites.of_volume(accounting.get(("fact", ""), 0), band),
        ]
    )
    failed = [verdict for verdict in found if not verdict.success]
    blocking = [verdict for verdict in failed if verdict.blocks]
    for verdict in failed:
        level = logging.ERROR if verdict.blocks else logging.WARNING
        log.log(level, "hour %s: %s: %s %s", source.hour, verdict.suite, _law(verdict), verdict.observed)
    with transaction(connection) as cursor:
        _write(cursor, source, found)
        ledger.close_incidents(cursor, INCIDENT, str(source.hour))
        if blocking:
            _tell(cursor, source, blocking)
    if blocking:
        raise HourBlockedError(
            f"hour {source.hour} is kept back: {len(blocking)} of {len(found)} expectations failed; its last version"
            f" keeps being served. docs/runbooks/{INCIDENT}.md says what to do"
        )
    return found


def _frame(rows: pa.Table, source: Source) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas()
    since = frame.pop("window_start") - pd.Timestamp(source.hour.start)
    frame["minute"] = since.dt.total_seconds() / 60
    return frame


def _band(cursor: Cursor, source: Source) -> Band | None:
    cursor.execute(_SAME_HOUR, {"hour": source.hour.start, "weeks": WEEKS})
    weeks, least, most = cursor.fetchone() or (0, None, None)
    return Band(int(least * (1 - SLACK)), int(most * (1 + SLACK))) if weeks >= ENOUGH_WEEKS else None


def _law(verdict: Verdict) -> str:
    return f"{verdict.description} ({verdict.expectation})" if verdict.description else verdict.expectation


def _write(cursor: Cursor, source: Source, found: list[Verdict]) -> None:
    cursor.execute(
        "DELETE FROM ops.quality_results WHERE hour = %s AND run_id = %s", (source.hour.start, source.run_id)
    )
    cursor.executemany(
        "INSERT INTO ops.quality_results"
        " (run_id, hour, suite, expectation, severity, success, observed, description)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                source.run_id, source.hour.start, verdict.suite, verdict.expectation, verdict.severity,
                verdict.success, Json(verdict.observed), verdict.description,
            )
            for verdict in found
        ],
    )  # fmt: skip


def _tell(cursor: Cursor, source: Source, blocking: list[Verdict]) -> None:
    failed = {f"{verdict.suite}: {_law(verdict)}": verdict.observed for verdict in blocking}
    message = f"hour {source.hour} was not published, because what must hold of it does not"
    details = {"failed": failed, "run": source.run_id, "bronze version": source.bronze_version}
    ledger.open_incident(cursor, INCIDENT, str(source.hour), message, details)
