"""The invented rows of `bench.dashboard_rows`: exact in every table, whichever way they come; others' are left alone.

Truth is the table of raw events that the generator can leave beside them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench import dashboard_facts, dashboard_rows
from bench.dashboard_rows import OtherDataError, Plan, fill
from bench.dashboard_writer import Writer
from jobs.lib.postgres import connect
from tests.conftest import Postgres
from wikiweir.clock import SystemClock
from wikiweir.rollups import ROLLUPS

SCALE = 0.004
NOW = datetime.now(UTC).replace(minute=20, second=0, microsecond=0)
PLAN = Plan(now=NOW, hours=30, minutes=30, key_minutes=4, speed=3, scale=SCALE, raw=34)
PUBLISHED = "date_trunc('hour', event_time) IN (SELECT hour FROM ops.published_hours)"
TRUTHS = {
    "activity": "wiki, type, namespace, user_class, count(*), count(*) FILTER (WHERE is_edit),"
    " count(DISTINCT user_key) FILTER (WHERE is_edit AND user_class <> 'hidden')",
    "user_activity": "wiki, user_key, user_name, user_class, count(*), count(DISTINCT (namespace, title))",
    "page_activity": "wiki, namespace, title, count(*), max(event_time),"
    " count(DISTINCT user_key) FILTER (WHERE user_class <> 'hidden')",
    "edit_sizes": "wiki, user_class, count(*)",
}
COLUMNS = {
    "activity": "wiki, type, namespace, user_class, events, edits, editors",
    "user_activity": "wiki, user_key, user_name, user_class, edits, pages",
    "page_activity": "wiki, namespace, title, edits, last_edit_at, editors",
    "edit_sizes": "wiki, user_class, sum(edits)",
}


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Postgres:
    fill(postgres.settings, PLAN, tell=lambda line: None)
    return postgres


def rows(postgres: Postgres, query: str) -> list[tuple[Any, ...]]:
    connection = postgres.connect("owner")
    with connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(query)
        found = cursor.fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("grain", ["hour", "day"])
@pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda rollup: rollup.name)
def test_hours_and_days_are_what_the_events_add_up_to(filled: Postgres, rollup: Any, grain: Any) -> None:
    truth, columns = TRUTHS[rollup.name], COLUMNS[rollup.name]
    keys = ", ".join(str(number) for number in range(1, 2 + truth.split(", count(")[0].count(",") + 1))
    where = f"{PUBLISHED} AND {rollup.where}"
    expected = rows(
        filled, f"SELECT date_trunc('{grain}', event_time), {truth} FROM bench.raw_events WHERE {where} GROUP BY {keys}"
    )
    grouped = f" GROUP BY {keys}" if "sum(" in columns else ""
    found = rows(filled, f"SELECT window_start, {columns} FROM batch.{rollup.table(grain)}{grouped}")
    assert len(found) == len(set(found)) > 0
    assert set(found) == set(expected)


def test_both_layers_and_all_rollups_tell_the_same_edits(filled: Postgres) -> None:
    by_hour = {
        rollup.name: rows(
            filled,
            f"SELECT window_start, sum(edits) FROM serving.{rollup.table('hour')} GROUP BY 1 ORDER BY 1",
        )
        for rollup in ROLLUPS
    }
    assert len({str(found) for found in by_hour.values()}) == 1
    assert len(by_hour["activity"]) == PLAN.hours + dashboard_rows.LIVE_HOURS


def test_the_writer_goes_on_as_the_generator_would_have(filled: Postgres) -> None:
    later = NOW + timedelta(minutes=3)
    events = dashboard_facts.make(PLAN.seed, PLAN.scale)
    connection = connect(filled.dsn("stream"), "test")
    writer = Writer(connection, events, SystemClock())
    at = writer.newest() + timedelta(seconds=1)  # the reporter tells the newest event's second
    assert at == NOW
    while at < later:
        writer.write(at, at + timedelta(seconds=20))
        at += timedelta(seconds=20)
    connection.close()
    written = speed_rows(filled)
    fill(filled.settings, Plan(now=later, hours=30, minutes=30, key_minutes=4, speed=3, scale=SCALE), tell=lambda _: 0)
    assert written == speed_rows(filled)


def speed_rows(postgres: Postgres) -> dict[str, list[tuple[Any, ...]]]:
    running = f"'{NOW.replace(minute=0, second=0)}'"
    return {
        rollup.name: rows(
            postgres,
            f"SELECT {', '.join(rollup.columns)} FROM speed.{rollup.name} WHERE window_start >= {running}"
            f" ORDER BY {', '.join(rollup.key)}",
        )
        for rollup in ROLLUPS
    }


def test_a_database_with_data_of_others_is_left_alone(filled: Postgres) -> None:
    owner = filled.connect("owner")
    with owner.cursor() as cursor:
        cursor.execute(
            "UPDATE ops.published_hours AS p SET run_id = 'scheduled'"
            " WHERE p.hour = (SELECT max(h.hour) FROM ops.published_hours AS h)"
        )
    with pytest.raises(OtherDataError, match="--force"):
        fill(filled.settings, PLAN, tell=lambda line: None)
    assert rows(filled, "SELECT count(*) FROM ops.published_hours") == [(PLAN.hours,)]
    owner.close()
