"""What is published, looked at as readers see it: coarser grains are their finer ones, and each fact is one event.

An hour is judged before it is published (`jobs.lib.quality`); this looks at what stands there since, and through
`serving`, so a fault of a view or of a hand shows as well. The surprising thing: nothing of it is mended here.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from expectations import suites
from expectations.judge import judge
from expectations.suites import PARTS
from jobs.lib import ledger
from jobs.lib.postgres import transaction
from jobs.lib.quality import law, write_down
from wikiweir.hours import Hour
from wikiweir.rollups import ROLLUPS, Grain

log = logging.getLogger(__name__)

INCIDENT = "published_differs"

_HOURS = "SELECT p.hour AS window_start FROM ops.published_hours AS p WHERE p.hour >= %(since)s"
_DAYS = """\
SELECT d.day AS window_start
FROM ops.published_days AS d
JOIN ops.published_hours AS p ON p.hour >= d.day AND p.hour < d.day + interval '1 day' AND p.lake_versions <> '{}'
WHERE d.day >= %(since)s
GROUP BY d.day
HAVING sum(p.version) = d.hour_versions"""
"""Days that are published as their hours are; the others are built next."""
_FACTS = """\
SELECT o.hour AS window_start, sum(o.records)::bigint AS facts
FROM ops.hour_outcomes AS o
WHERE o.outcome = 'fact' AND o.hour >= %(since)s
GROUP BY o.hour"""

_OPEN = """\
SELECT p.period
FROM ops.incidents AS i CROSS JOIN LATERAL jsonb_array_elements_text(i.details -> 'of') AS p (period)
WHERE i.kind = %s AND i.closed_at IS NULL
ORDER BY 1
LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Published:
    """A frame for each suite: a row an hour or day, by its start; sums beside the sums of what they are made of."""

    hours: pd.DataFrame
    days: pd.DataFrame


def look(reader: Connection, since: datetime) -> Published:
    """What is published of this time and later, in one snapshot. The connection is the reader role's."""
    with transaction(reader) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

        def frame(statement: str) -> pd.DataFrame:
            cursor.execute(statement, {"since": since})
            names = [column.name for column in cursor.description or ()]
            found = pd.DataFrame(cursor.fetchall(), columns=names)
            return found.set_index(pd.to_datetime(found.pop("window_start"), utc=True)).astype("Int64")

        def beside(periods: str, whole: Grain, parts: Grain, where: str) -> pd.DataFrame:
            found = frame(periods)
            for rollup in ROLLUPS:
                summed = [metric.name for metric in rollup.additive if metric.merge == "sum"]
                for grain, suffix, which in ((whole, "", "TRUE"), (parts, PARTS, where)):
                    sums = ", ".join(f'sum({name})::bigint AS "{rollup.name}.{name}{suffix}"' for name in summed)
                    found = found.join(
                        frame(
                            f"SELECT date_trunc('{whole}', s.window_start, 'UTC') AS window_start, {sums}"
                            f" FROM serving.{rollup.table(grain)} AS s WHERE s.window_start >= %(since)s AND {which}"
                            " GROUP BY 1"
                        )
                    )
            return found

        hours = beside(_HOURS, "hour", "minute", "TRUE").join(frame(_FACTS))
        hours[f"facts{PARTS}"] = hours["activity.events"]
        return Published(hours.fillna(0), beside(_DAYS, "day", "hour", "s.layer = 'batch'").fillna(0))


def oldest_differing(cursor: Cursor) -> datetime | None:
    """The oldest hour or day that contradicted itself when it was last looked at: kept in sight until it is mended."""
    cursor.execute(_OPEN, (INCIDENT,))
    row = cursor.fetchone()
    return Hour.parse(row[0]).start if row else None


def check(batch: Connection, found: Published, run_id: str) -> bool:
    """Judge it, write down what was found, tell of it while it lasts. Whether all holds."""
    if found.hours.empty:
        log.info("nothing is published of that time")
        return True
    frames = {"published_hours": found.hours, "published_days": found.days}
    verdicts = judge([suites.of_parts(name, rows.reset_index(drop=True)) for name, rows in frames.items() if len(rows)])
    newest = Hour.of(found.hours.index.max().to_pydatetime())
    with transaction(batch) as cursor:
        write_down(cursor, newest, run_id, verdicts)
        for name, rows in frames.items():
            asked = [verdict for verdict in verdicts if verdict.suite == name]
            failed = [verdict for verdict in asked if not verdict.success]
            log.info(
                "%s: %s of them, %s of %s expectations hold", name, len(rows), len(asked) - len(failed), len(asked)
            )
            where = differing(rows) if failed else []
            message = f"what is served of {len(where)} {name.replace('_', ' ')} contradicts itself" if where else None
            if message:
                log.error("%s: %s", message, ", ".join(where))
            details = {"failed": {law(verdict): verdict.observed for verdict in failed}, "of": where, "run": run_id}
            ledger.settle_incident(cursor, INCIDENT, name, message, details)
    return all(verdict.success for verdict in verdicts)


def differing(rows: pd.DataFrame) -> list[str]:
    """Which hours or days have a sum that is not that of its parts."""
    pairs = [rows[name] != rows[f"{name}{PARTS}"] for name in suites.made_of_parts(rows)]
    differs = pd.concat(pairs, axis=1).any(axis=1)
    return [f"{start:%Y-%m-%dT%H}" for start in sorted(rows.index[differs])]
