"""The tops and editors of weeks and months from 31 days of totals, against ranking and counting in plain Python."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection
from psycopg2.extras import execute_values

from tests.conftest import Postgres

FIRST = datetime(2031, 1, 1, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(31)]
WIKIS = ("enwiki", "dewiki", "")
"""The last one's name came empty: it has no numbers of its own, and counts in those of all."""
Totals = dict[tuple[str, str], Counter[Any]]
"""(start of the period, scope) -> edits by page or editor."""


@pytest.fixture(scope="module")
def batch(postgres: Postgres) -> Iterator[connection]:
    with closing(postgres.connect("batch")) as connected:
        yield connected


def ask(batch: connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with batch.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def publish(batch: connection, day: datetime, pages: list[tuple[Any, ...]], users: list[tuple[Any, ...]]) -> None:
    """Days as `jobs.lib.publish` leaves them."""
    ask(batch, "SELECT batch.ensure_partitions(%s)", [day])
    for table in ("page_activity_daily", "user_activity_daily"):
        ask(batch, f"DELETE FROM batch.{table} WHERE window_start = %s", day)
    with batch.cursor() as cursor:
        execute_values(cursor, "INSERT INTO batch.page_activity_daily VALUES %s", pages)
        execute_values(cursor, "INSERT INTO batch.user_activity_daily VALUES %s", users)
    ask(
        batch,
        "INSERT INTO ops.published_days VALUES (%s, 1, 24, 24, %s, 'test')"
        " ON CONFLICT (day) DO UPDATE SET version = ops.published_days.version + 1",
        day,
        day + timedelta(days=1),
    )


def generate(day: datetime) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """400 pages and 300 editors of a day, many with equal edits; the same for the same day."""
    chance = random.Random(day.toordinal())
    pages, users = [], []
    for number in chance.sample(range(1200), 400):
        edits = chance.randrange(1, 6)
        title = f"Meadow {number} {chance.choice('äzA')}" if number % 7 == 0 else f"Meadow {number}"
        pages.append((day, WIKIS[number % 3], number % 2, title, edits, edits, 0, 0, day, 1))
    for number in chance.sample(range(900), 300):
        user_class = "hidden" if number == 0 else ("bot", "registered")[number % 2]
        edits = 1000 if number == 0 else chance.randrange(1, 9)
        key = str(uuid.UUID(int=number // 5))  # one on several wikis, and of several classes on one
        users.append((day, WIKIS[number % 3], key, f"Heron {number // 5}", user_class, edits, 0, edits, 0, 0, 1))
    return pages, users


def ranked(totals: Totals) -> set[tuple[Any, ...]]:
    """(start, scope, place, name, edits) of the first hundred."""
    found = set()
    for at, edits in totals.items():
        first = sorted(edits.items(), key=lambda item: (-item[1], item[0]))[:100]
        found |= {(*at, place, name, n) for place, (name, n) in enumerate(first, 1)}
    return found


def counted(users: Totals) -> dict[tuple[str, str, str], int]:
    """(start, scope, user class or empty for all) -> different keys."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for at, edits in users.items():
        for key, user_class in edits:
            for of_class in (user_class, ""):
                found.setdefault((*at, of_class), set()).add(key)
    return {where: len(keys) for where, keys in found.items()}


def starts(day: datetime, grain: str) -> str:
    start = day - timedelta(days=day.weekday()) if grain == "week" else day.replace(day=1)
    return start.isoformat()


@pytest.mark.parametrize("grain", ["week", "month"])
def test_31_days_are_ranked(batch: connection, grain: str) -> None:
    pages: Totals = {}
    users: Totals = {}
    for day in DAYS:
        of_pages, of_users = generate(day)
        publish(batch, day, of_pages, of_users)
        for _, wiki, namespace, title, edits, *_ in of_pages:
            for scope in {wiki, ""}:
                pages.setdefault((starts(day, grain), scope), Counter())[wiki, namespace, title] += edits
        for _, wiki, key, _, user_class, edits, *_ in of_users:
            for scope in {wiki, ""} if user_class != "hidden" else ():
                users.setdefault((starts(day, grain), scope), Counter())[key, user_class] += edits
    ask(batch, "SELECT batch.rank_periods()")
    where = "FROM batch.{} WHERE grain = %s AND window_start >= '2030-12-01'"
    columns = "window_start, scope, place, wiki, namespace, title, edits"
    found = {
        (at.isoformat(), scope, place, (wiki, namespace, title), edits)
        for at, scope, place, wiki, namespace, title, edits in ask(
            batch, f"SELECT {columns} {where.format('top_pages')}", grain
        )
    }
    assert found == ranked(pages)
    columns = "window_start, scope, place, user_key, user_class, edits"
    editors = {
        (at.isoformat(), scope, place, (key, user_class), edits)
        for at, scope, place, key, user_class, edits in ask(
            batch, f"SELECT {columns} {where.format('top_editors')}", grain
        )
    }
    assert editors == ranked(users)
    assert len(found) >= 300
    columns = "window_start, scope, user_class, editors"
    counts = {
        (at.isoformat(), scope, user_class): n
        for at, scope, user_class, n in ask(batch, f"SELECT {columns} {where.format('editor_counts')}", grain)
    }
    assert counts == counted(users)
    assert any(
        counts[at, scope, ""] < counts[at, scope, "bot"] + counts[at, scope, "registered"]
        for at, scope, user_class in counts
        if user_class == "bot"
    ), "somebody is in two classes"


def test_only_what_has_changed_is_ranked_again(batch: connection) -> None:
    ask(batch, "SELECT batch.rank_periods()")
    assert ask(batch, "SELECT batch.rank_periods()") == [(0,)]
    publish(batch, DAYS[9], *generate(DAYS[9]))
    assert ask(batch, "SELECT batch.rank_periods()") == [(2,)], "its week and its month"
