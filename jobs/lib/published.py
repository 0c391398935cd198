"""What is published, looked at as readers see it: coarser grains are their finer ones, and each fact is one event.

An hour is judged before it is published (`jobs.lib.quality`); this looks at what stands there since, and through
`serving`, so a fault of a view or of a hand shows as well. The surprising thing: nothing of it is mended here.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
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
from wikiweir.hours import Day, Hour
from wikiweir.rollups import ROLLUPS, Grain

log = logging.getLogger(__name__)

INCIDENT = "published_differs"

_HOURS = "SELECT p.hour AS window_start FROM ops.published_hours AS p WHERE {}"
_DAYS = """\
SELECT d.day AS window_start
FROM ops.published_days AS d
JOIN ops.published_hours AS p ON p.hour >= d.day AND p.hour < d.day + interval '1 day' AND p.lake_versions <> '{{}}'
WHERE {}
GROUP BY d.day
HAVING sum(p.version) = d.hour_versions"""
"""Days that are published as their hours are; the others are built next."""
_FACTS = """\
SELECT o.hour AS window_start, sum(o.records)::bigint AS facts
FROM ops.hour_outcomes AS o
WHERE o.outcome = 'fact' AND ({})
GROUP BY o.hour"""

_OPEN = """\
SELECT i.subject, array_agg(DISTINCT p.period)
FROM ops.incidents AS i CROSS JOIN LATERAL jsonb_array_elements_text(i.details -> 'of') AS p (period)
WHERE i.kind = %s AND i.closed_at IS NULL
GROUP BY i.subject"""


@dataclass(frozen=True, slots=True)
class Published:
    """A frame for each suite: a row an hour or day, by its start; sums beside the sums of what they are made of."""

    hours: pd.DataFrame
    days: pd.DataFrame


def look(reader: Connection, since: datetime, before: Mapping[str, Collection[str]]) -> Published:
    """What is published of this time and later, and of `before` (`differing_before`), in one snapshot.

    The connection is the reader role's.
    """
    hours_before = [Hour.parse(start) for start in before.get("published_hours", ())]
    days_before = [Day.of(Hour.parse(start).start) for start in before.get("published_days", ())]
    with transaction(reader) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

        def frame(statement: str) -> pd.DataFrame:
            cursor.execute(statement)
            names = [column.name for column in cursor.description or ()]
            found = pd.DataFrame(cursor.fetchall(), columns=names)
            return found.set_index(pd.to_datetime(found.pop("window_start"), utc=True)).astype("Int64")

        def beside(periods: str, whole: Grain, parts: Grain, within: str, where: str) -> pd.DataFrame:
            found = frame(periods)
            for rollup in ROLLUPS:
                summed = [metric.name for metric in rollup.summed]
                for grain, suffix, which in ((whole, "", "TRUE"), (parts, PARTS, where)):
                    sums = ", ".join(f'sum({name})::bigint AS "{rollup.name}.{name}{suffix}"' for name in summed)
                    found = found.join(
                        frame(
                            f"SELECT date_trunc('{whole}', s.window_start, 'UTC') AS window_start, {sums}"
                            f" FROM serving.{rollup.table(grain)} AS s WHERE ({within}) AND {which} GROUP BY 1"
                        )
                    )
            return found

        of_hours, of_days = (_in_sight("s.window_start", since, named) for named in (hours_before, days_before))
        hours = beside(_HOURS.format(_in_sight("p.hour", since, hours_before)), "hour", "minute", of_hours, "TRUE")
        hours = hours.join(frame(_FACTS.format(_in_sight("o.hour", since, hours_before))))
        hours[f"facts{PARTS}"] = hours["activity.events"]
        days = _DAYS.format(_in_sight("d.day", since, days_before))
        return Published(hours.fillna(0), beside(days, "day", "hour", of_days, "s.layer = 'batch'").fillna(0))


def _in_sight(column: str, since: datetime, before: Iterable[Hour | Day]) -> str:
    """Whether an instant is in what is looked at (SQL). Literals, by which PostgreSQL finds the leaves."""
    periods = (f"{column} >= '{each.start.isoformat()}' AND {column} < '{each.end.isoformat()}'" for each in before)
    return " OR ".join([f"{column} >= '{since.isoformat()}'", *periods])


def differing_before(cursor: Cursor) -> dict[str, list[str]]:
    """Suite -> hours or days that contradicted themselves when they were last looked at, kept in sight until mended."""
    cursor.execute(_OPEN, (INCIDENT,))
    return dict(cursor.fetchall())


def check(batch: Connection, found: Published, run_id: str) -> bool:
    """Judge it, write down what was found, tell of it until all that differed was seen to agree. Whether all holds."""
    if found.hours.empty:
        log.info("nothing is published of that time")
        return True
    frames = {"published_hours": found.hours, "published_days": found.days}
    verdicts = judge([suites.of_parts(name, rows.reset_index(drop=True)) for name, rows in frames.items() if len(rows)])
    newest = Hour.of(found.hours.index.max().to_pydatetime())
    with transaction(batch) as cursor:
        write_down(cursor, newest, run_id, verdicts)
        before = differing_before(cursor)
        for name, rows in frames.items():
            asked = [verdict for verdict in verdicts if verdict.suite == name]
            failed = [verdict for verdict in asked if not verdict.success]
            log.info(
                "%s: %s of them, %s of %s expectations hold", name, len(rows), len(asked) - len(failed), len(asked)
            )
            unseen = sorted(set(before.get(name, ())) - {_start(start) for start in rows.index})
            if unseen:
                log.warning("%s: could not be looked at again: %s", name, ", ".join(unseen))
            if unseen and not failed:
                continue
            where = sorted([*differing(rows), *unseen]) if failed else []
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
    return [_start(start) for start in sorted(rows.index[differs])]


def _start(start: pd.Timestamp) -> str:
    return str(Hour.of(start.to_pydatetime()))
