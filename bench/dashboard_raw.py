"""Some of the dashboards' questions, asked of the rollups and of raw events: the same answers, and their prices.

Raw: `bench.raw_events`, one row an event of the last hours, with an index by time, as dashboards over raw events would
have it. The surprising thing: each pair of answers is compared row for row before a time counts, distinct editors too.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg2

from bench.dashboard_sql import SCHEMA
from bench.dashboard_tiles import CLOCK
from bench.lib_result import UnequalAnswersError
from wikiweir.settings import Settings

RAW = f"{SCHEMA}.raw_events"
_BYTES = (
    "sum(greatest(bytes_changed, 0)) FILTER (WHERE is_edit), sum(greatest(-bytes_changed, 0)) FILTER (WHERE is_edit)"
)
_BUCKET = (
    "CASE WHEN bytes_changed IS NULL THEN 'unknown' WHEN bytes_changed = 0 THEN '0' ELSE"
    " CASE WHEN bytes_changed > 0 THEN '+' ELSE '-' END || CASE WHEN abs(bytes_changed) < 10 THEN '1'"
    " WHEN abs(bytes_changed) < 100 THEN '10' WHEN abs(bytes_changed) < 1000 THEN '100'"
    " WHEN abs(bytes_changed) < 10000 THEN '1k' WHEN abs(bytes_changed) < 100000 THEN '10k' ELSE '100k' END END"
)


@dataclass(frozen=True, slots=True)
class Question:
    """The same question in two ways; `hours`: how far it looks back from the last full minute."""

    name: str
    hours: float
    rollups: str
    raw: str


def _rolled(columns: str, table: str, rest: str = "") -> str:
    return f"SELECT {columns} FROM serving.{table} WHERE window_start >= %(since)s AND window_start < %(until)s {rest}"


def _raw(columns: str, rest: str = "", condition: str = "") -> str:
    return f"SELECT {columns} FROM {RAW} WHERE event_time >= %(since)s AND event_time < %(until)s {condition} {rest}"


QUESTIONS = (
    Question(
        "events, edits, bytes of an hour",
        1,
        _rolled("sum(events), sum(edits), sum(bytes_added), sum(bytes_removed)", "activity"),
        _raw(f"count(*), count(*) FILTER (WHERE is_edit), {_BYTES}"),
    ),
    Question(
        "events a minute by type, an hour",
        1,
        _rolled("window_start, type, sum(events)", "activity", "GROUP BY 1, 2"),
        _raw("date_trunc('minute', event_time), type, count(*)", "GROUP BY 1, 2"),
    ),
    Question(
        "the 20 pages with most edits, an hour",
        1,
        _rolled(
            "wiki, namespace, title, sum(edits) AS edits",
            "page_activity",
            'GROUP BY 1, 2, 3 ORDER BY edits DESC, 1, 2, title COLLATE "C" LIMIT 20',
        ),
        _raw(
            "wiki, namespace, title, count(*) AS edits",
            'GROUP BY 1, 2, 3 ORDER BY edits DESC, 1, 2, title COLLATE "C" LIMIT 20',
            "AND is_edit",
        ),
    ),
    Question(
        "editors of an hour, distinct",
        1,
        _rolled("count(DISTINCT user_key)", "user_activity", "AND user_class <> 'hidden'"),
        _raw("count(DISTINCT user_key)", "", "AND is_edit AND user_class <> 'hidden'"),
    ),
    Question(
        "edits by size, 3 hours",
        3,
        _rolled("size_bucket, sum(edits)", "edit_sizes", "GROUP BY 1"),
        _raw(f"{_BUCKET}, count(*)", "GROUP BY 1", "AND is_edit"),
    ),
    Question(
        "edits of bots and of all by hour, a day",
        24,
        _rolled(
            "window_start, sum(edits) FILTER (WHERE user_class = 'bot'), sum(edits)", "activity_hourly", "GROUP BY 1"
        ),
        _raw(
            "date_trunc('hour', event_time), count(*) FILTER (WHERE is_edit AND user_class = 'bot'),"
            " count(*) FILTER (WHERE is_edit)",
            "GROUP BY 1",
        ),
    ),
    Question(
        "the 20 wikis with most edits, a day",
        24,
        _rolled("wiki, sum(edits) AS edits", "activity_hourly", "GROUP BY 1 ORDER BY edits DESC, 1 LIMIT 20"),
        _raw("wiki, count(*) FILTER (WHERE is_edit) AS edits", "GROUP BY 1 ORDER BY edits DESC, 1 LIMIT 20"),
    ),
    Question(
        "editors by class of a published day, exact",
        0,
        "SELECT user_class, editors FROM serving.editors_by_period"
        " WHERE grain = 'day' AND window_start = %(day)s AND scope = '' AND user_class NOT IN ('', 'hidden')",
        f"SELECT user_class, count(DISTINCT user_key) FROM {RAW} WHERE event_time >= %(day)s"
        " AND event_time < (SELECT as_of FROM ops.published_days WHERE day = %(day)s) AND is_edit"
        " AND user_class <> 'hidden' GROUP BY 1",
    ),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A question's seconds by rollups and by raw events, a run each."""

    name: str
    rollups: list[float]
    raw: list[float]
    rows: int


def ask(settings: Settings, until: datetime, rounds: int) -> list[Pair]:
    """Every question both ways, in turn; `UnequalAnswersError` if two answers differ. `until`: where they look from."""
    found = []
    with closing(psycopg2.connect(settings.postgres_dsn("reader"))) as reader, reader.cursor() as cursor:
        reader.autocommit = True
        cursor.execute("SELECT max(day) FROM ops.published_days WHERE day <= %s", (until - timedelta(hours=4),))
        day = (cursor.fetchone() or (None,))[0]
        for question in QUESTIONS:
            since = until - timedelta(hours=question.hours)
            if question.hours >= 24:
                since, end = (at.replace(minute=0, second=0, microsecond=0) for at in (since, until))
            else:
                end = until
            values = {"since": since, "until": end, "day": day}
            times: dict[str, list[float]] = {question.rollups: [], question.raw: []}
            answers: dict[str, list[tuple[Any, ...]]] = {}
            for _ in range(rounds):
                for statement in times:
                    began = CLOCK.monotonic()
                    cursor.execute(statement, values)
                    rows = cursor.fetchall()
                    times[statement].append(CLOCK.monotonic() - began)
                    answers[statement] = sorted(rows, key=repr)
            _compare(question, answers[question.rollups], answers[question.raw])
            found.append(Pair(question.name, times[question.rollups], times[question.raw], len(rows)))
    return found


def _compare(question: Question, rolled: Sequence[Any], raw: Sequence[Any]) -> None:
    if not raw or list(rolled) != list(raw):
        different = [pair for pair in zip(rolled, raw, strict=False) if pair[0] != pair[1]]
        raise UnequalAnswersError(
            f"{question.name}: {len(rolled)} rows by rollups, {len(raw)} by raw events; first different {different[:1]}"
        )


def bare(settings: Settings, rounds: int) -> list[float]:
    """Seconds of SELECT 1: what asking costs, whatever is asked."""
    found = []
    with closing(psycopg2.connect(settings.postgres_dsn("reader"))) as reader, reader.cursor() as cursor:
        reader.autocommit = True
        for _ in range(rounds):
            began = CLOCK.monotonic()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            found.append(CLOCK.monotonic() - began)
    return found
