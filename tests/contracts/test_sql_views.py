"""What readers see: one key in one row, published hours from batch and the others from speed, and the named views."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from psycopg2.extensions import connection

from sql.serving import PLACES
from tests.conftest import Postgres
from tests.contracts.queries import rows
from wikiweir.rollups import SUFFIXES, Grain, Rollup

ANNA, BERT, NOBODY = (f"00000000-0000-0000-0000-{n:012}" for n in (1, 2, 0))


@pytest.fixture(scope="module")
def reader(postgres: Postgres, hour: datetime) -> Iterator[connection]:
    """Two hours: the one before last is published by batch, the last is open; a shadow generation has other numbers."""
    with closing(postgres.connect("stream")) as stream, closing(postgres.connect("batch")) as batch:
        rows(stream, "SELECT speed.ensure_generation(2)")
        hours = [hour, hour - timedelta(hours=1), hour - timedelta(hours=30)]
        for generation in (1, 2):
            rows(
                stream,
                "SELECT speed.ensure_partitions(%s, %s::timestamptz[], '{}', %s::timestamptz[])",
                generation, hours, [*hours, hour - timedelta(hours=4)],
            )  # fmt: skip
        rows(batch, "SELECT batch.ensure_partitions(%s::timestamptz[])", hours)
        for schema, connected, prefix, edits in (
            ("speed", stream, "1, ", 10),
            ("speed", stream, "2, ", 999),
            ("batch", batch, "", 11),
        ):
            for start in hours if schema == "speed" else hours[1:2]:
                fill(connected, schema, prefix, start, edits)
                if schema == "speed":
                    account = f"INSERT INTO ops.stream_outcomes VALUES ({prefix}%s, 'fact', '', %s)"
                    rows(stream, account, start, edits + 3)
        published = hours[1]
        fill(batch, "batch", "", published, 11, suffix="_hourly", distinct=", 7")
        fill(batch, "batch", "", published.replace(hour=0), 11, suffix="_daily", distinct=", 7")
        for age in (timedelta(minutes=1), timedelta(hours=4)):
            rows(
                stream,
                "INSERT INTO speed.recent_changes VALUES (1, %s, gen_random_uuid(), %s, 'testwiki', 'edit', 0,"
                " 'A page', %s, 'Anna', 'registered', 'major', -10000, false, false, 41, 42)",
                hour - age, hour - age, ANNA,
            )  # fmt: skip
        rows(batch, "INSERT INTO ops.published_hours VALUES (%s, 1, 1, '{}', 'invented')", published)
        rows(
            batch,
            "INSERT INTO ops.published_days VALUES (%s, 1, 1, 1, %s, 'invented')",
            published.replace(hour=0),
            hour,
        )
        for _ in range(2):
            rows(batch, "SELECT batch.rank_tops('hour', %s), batch.total_hour(%s)", published, published)
        for grain in ("day", "week", "month"):
            rows(batch, "SELECT batch.rank_tops(%s, date_trunc(%s, %s::timestamptz, 'UTC'))", grain, grain, published)
        rows(stream, "INSERT INTO speed.wikis VALUES ('testwiki', 'pt.wikipedia.org', 'wikipedia', 'pt')")
    with closing(postgres.connect("reader")) as connected:
        yield connected


def fill(
    connected: connection, schema: str, prefix: str, hour: datetime, edits: int, suffix: str = "", distinct: str = ""
) -> None:
    """One window in every rollup."""
    table = f"INSERT INTO {schema}."
    rows(
        connected,
        f"{table}activity{suffix} VALUES"
        f" ({prefix}%s, 'testwiki', 'edit', 0, 'bot', %s, %s, 0, 0, 5, 6, 0, 0{distinct})",
        hour,
        edits,
        edits,
    )
    rows(
        connected,
        f"{table}activity{suffix} VALUES ({prefix}%s, 'testwiki', 'log', 0, 'bot', 3, 0, 0, 0, 0, 0, 0, 0{distinct})",
        hour,
    )
    for user, name, kind, count in (
        (ANNA, "Anna", "registered", edits),
        (BERT, "Bert", "bot", 1),
        (NOBODY, "hidden", "hidden", 50),
    ):
        rows(
            connected,
            f"{table}user_activity{suffix} VALUES ({prefix}%s, 'testwiki', %s, %s, %s, %s, 0, 5, 6, 0{distinct})",
            hour, user, name, kind, count,
        )  # fmt: skip
    for title, count in (("One", edits), ("Two", 1)):
        rows(
            connected,
            f"{table}page_activity{suffix} VALUES ({prefix}%s, 'testwiki', 0, %s, %s, 5, 6, 0, %s{distinct})",
            hour,
            title,
            count,
            hour,
        )
    rows(connected, f"{table}edit_sizes{suffix} VALUES ({prefix}%s, 'testwiki', 'bot', '+1', %s)", hour, edits)


@pytest.mark.parametrize("rollup", ["activity", "user_activity", "page_activity", "edit_sizes"])
def test_a_key_is_in_one_row_of_one_layer(reader: connection, hour: datetime, rollup: str) -> None:
    found = rows(reader, f"SELECT window_start, layer, max(edits) FROM serving.{rollup} GROUP BY 1, 2 ORDER BY 1 DESC")
    top = 50 if rollup == "user_activity" else None
    assert found == [
        (hour, "speed", top or 10),
        (hour - timedelta(hours=1), "batch", top or 11),
        (hour - timedelta(hours=30), "speed", top or 10),
    ]


def test_an_hour_has_one_total_a_user_class(reader: connection, hour: datetime) -> None:
    columns = "window_start, user_class, edits, new_pages, bytes_added, bytes_removed, layer"
    assert rows(reader, f"SELECT {columns} FROM serving.hour_totals ORDER BY window_start DESC") == [
        (hour, "bot", 10, 0, 5, 6, "speed"),
        (hour - timedelta(hours=1), "bot", 11, 0, 5, 6, "batch"),
        (hour - timedelta(hours=30), "bot", 10, 0, 5, 6, "speed"),
    ]


def test_a_minute_has_one_total_a_user_class_with_all_that_happened_in_it(reader: connection, hour: datetime) -> None:
    columns = "window_start, user_class, events, edits, bytes_added, bytes_removed, reverts, layer"
    assert rows(reader, f"SELECT {columns} FROM serving.minute_totals ORDER BY window_start DESC") == [
        (hour, "bot", 13, 10, 5, 6, 0, "speed"),
        (hour - timedelta(hours=1), "bot", 14, 11, 5, 6, 0, "batch"),
        (hour - timedelta(hours=30), "bot", 13, 10, 5, 6, 0, "speed"),
    ]


@pytest.mark.parametrize(
    ("rollup", "distinct"),
    [("activity", "editors"), ("user_activity", "pages"), ("page_activity", "editors"), ("edit_sizes", "1")],
)
def test_an_hour_is_exact_or_the_sum_of_its_live_minutes(
    reader: connection, hour: datetime, rollup: str, distinct: str
) -> None:
    columns = f"window_start, layer, max(edits), max({distinct})"
    found = rows(reader, f"SELECT {columns} FROM serving.{rollup}_hourly GROUP BY 1, 2 ORDER BY 1 DESC")
    top = 50 if rollup == "user_activity" else None
    batch, speed = (1, 1) if distinct == "1" else (7, None)
    assert found == [
        (hour, "speed", top or 10, speed),
        (hour - timedelta(hours=1), "batch", top or 11, batch),
        (hour - timedelta(hours=30), "speed", top or 10, speed),
    ]


def test_a_day_says_how_much_of_it_there_is(reader: connection, hour: datetime) -> None:
    day = (hour - timedelta(hours=1)).replace(hour=0)
    found = rows(reader, "SELECT window_start, type, events, editors, hours, as_of FROM serving.activity_daily")
    assert sorted(found) == [(day, "edit", 11, 7, 1, hour), (day, "log", 3, 7, 1, hour)]


def test_editors_are_counted_in_open_hours_too(reader: connection, hour: datetime) -> None:
    found = rows(reader, "SELECT window_start, user_class, editors, layer FROM serving.editors_hourly ORDER BY 1, 2")
    assert found == [
        (at, user_class, 1, layer)
        for at, layer in (
            (hour - timedelta(hours=30), "speed"),
            (hour - timedelta(hours=1), "batch"),
            (hour, "speed"),
        )
        for user_class in ("bot", "registered")
    ]


def test_tops_of_every_period(reader: connection, hour: datetime) -> None:
    """Of each wiki and of all together, hidden users left out; weeks and months from their days."""
    published = hour - timedelta(hours=1)
    day = published.replace(hour=0)
    starts = {"hour": published, "day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
    columns = "grain, window_start, scope, place"
    pages = rows(reader, f"SELECT {columns}, title, edits, as_of FROM serving.top_pages_by_period")
    editors = rows(reader, f"SELECT {columns}, user_name, edits, as_of FROM serving.top_editors_by_period")
    for found, first, second in ((pages, "One", "Two"), (editors, "Anna", "Bert")):
        assert sorted(found) == sorted(
            (grain, start, scope, place, name, edits, hour)
            for grain, start in starts.items()
            for scope in ("", "testwiki")
            for place, name, edits in ((1, first, 11), (2, second, 1))
        )


def test_the_newest_tops_of_each_grain(reader: connection, hour: datetime) -> None:
    """The week and the month are not known to be ranked yet."""
    pages = rows(reader, "SELECT grain, wiki, project, language, title, edits FROM serving.newest_top_pages")
    assert sorted(pages) == [
        (grain, "testwiki", "wikipedia", "pt", title, edits)
        for grain in ("day", "hour")
        for title, edits in (("One", 11), ("Two", 1))
    ]
    columns = "window_start, as_of, wiki, project, language, user_name, edits"
    editors = rows(reader, f"SELECT {columns} FROM serving.newest_top_editors WHERE grain = 'hour'")
    assert sorted(editors) == [
        (hour - timedelta(hours=1), hour, *place, name, edits)
        for place in (("", "", ""), ("testwiki", "wikipedia", "pt"))
        for name, edits in (("Anna", 11), ("Bert", 1))
    ]


def test_editors_of_every_period(reader: connection, hour: datetime) -> None:
    """Anna and the bot Bert, of the wiki and of all; the hidden one is counted nowhere."""
    columns = "scope, user_class, editors, as_of"
    for grain in ("hour", "day", "week", "month"):
        found = rows(reader, f"SELECT {columns} FROM serving.editors_by_period WHERE grain = %s ORDER BY 1, 2", grain)
        assert found == [
            (scope, user_class, n, hour)
            for scope in ("", "testwiki")
            for user_class, n in (("", 2), ("bot", 1), ("registered", 1))
        ]


def test_recent_changes_are_of_three_hours(reader: connection) -> None:
    assert rows(reader, "SELECT user_name FROM serving.recent_changes") == [("Anna",)]


@pytest.mark.parametrize(("rollup", "grain"), PLACES)
def test_a_rollup_by_place_is_the_rollup(reader: connection, rollup: Rollup, grain: Grain) -> None:
    """Row for row, whatever metrics there are."""
    plain, placed = rollup.table(grain), f"{rollup.name}_places{SUFFIXES[grain]}"
    found, expected = (rows(reader, f"SELECT * FROM serving.{view} ORDER BY 1, 2, 3, 4, 5") for view in (placed, plain))
    assert found == [(*row, "wikipedia", "pt", None, None) for row in expected]
    assert found


def test_a_change_to_be_looked_at_has_a_link(reader: connection) -> None:
    found = rows(reader, "SELECT user_name, project, language, is_large, diff_url FROM serving.patrol_changes")
    link = "https://pt.wikipedia.org/w/index.php?diff=42&oldid=41"
    assert found == [("Anna", "wikipedia", "pt", True, link)]


def test_named_views(reader: connection, hour: datetime) -> None:
    """By hand: the open hour from speed (10 and 1), the published from batch (11 and 1), none older than 24 h."""
    assert rows(
        reader, "SELECT user_name, edits, wikis, bytes_added FROM serving.user_edit_counts ORDER BY 2 DESC"
    ) == [
        ("Anna", 21, 1, 10),
        ("Bert", 2, 1, 10),
    ]
    assert rows(reader, "SELECT namespace, wikis, edits FROM serving.namespace_edit_counts") == [(0, 1, 21)]
    assert rows(reader, "SELECT type, wikis, events FROM serving.event_type_counts ORDER BY 3") == [
        ("log", 1, 6),
        ("edit", 1, 21),
    ]
    assert rows(reader, "SELECT place, title, edits, last_edit_at FROM serving.top_pages") == [
        (1, "One", 21, hour),
        (2, "Two", 2, hour),
    ]
    assert rows(reader, "SELECT hour, place, user_name, edits FROM serving.top_contributors_hourly ORDER BY 1, 2") == [
        (hour - timedelta(hours=1), 1, "Anna", 11),
        (hour - timedelta(hours=1), 2, "Bert", 1),
        (hour, 1, "Anna", 10),
        (hour, 2, "Bert", 1),
    ]
    assert rows(reader, "SELECT user_name, edits FROM serving.recent_user_activity ORDER BY 1") == [
        ("Anna", 10),
        ("Bert", 1),
    ]
    assert rows(reader, "SELECT wiki, language FROM serving.dim_wiki") == [("testwiki", "pt")]


@pytest.fixture(scope="module")
def filled(postgres: Postgres, reader: connection, hour: datetime) -> Iterator[connection]:
    """So many live rows that it matters how they are found; taken back at the end."""
    with closing(postgres.connect("owner", autocommit=False)) as connected:
        for start in (hour, hour - timedelta(hours=1), hour - timedelta(hours=30)):
            rows(
                connected,
                "INSERT INTO speed.activity SELECT 1, %s, 'wiki' || n, 'edit', 0, 'bot', 1, 1, 0, 0, 0, 0, 0, 0"
                " FROM generate_series(1, 3000) AS n",
                start,
            )
        rows(connected, "ANALYZE speed.activity")
        yield connected


@pytest.mark.parametrize("view", ["activity", "activity_places", "activity_hourly", "activity_places_hourly"])
def test_a_bounded_question_reads_only_its_leaves(filled: connection, hour: datetime, view: str) -> None:
    plan = executed(filled, f"SELECT sum(edits) FROM serving.{view} WHERE window_start >= %s", hour)
    of_speed = [line for line in plan if " on activity_g" in line]
    assert of_speed
    assert all(f"activity_g1_{hour:%Y%m%d}" in line for line in of_speed), "\n".join(plan)


@pytest.mark.parametrize("view", ["activity", "activity_hourly"])
def test_an_hour_that_is_published_is_not_looked_for_among_live_rows(
    filled: connection, hour: datetime, view: str
) -> None:
    published = hour - timedelta(hours=1)
    asked = f"SELECT sum(edits) FROM serving.{view} WHERE window_start >= %s AND window_start < %s"
    plan = executed(filled, asked, published, hour)
    assert [line for line in plan if f" on {view}_{published:%Y%m}" in line]
    assert not [line for line in plan if " on activity_g" in line and "rows=0" not in line], "\n".join(plan)


def test_hours_of_edits_are_read_from_their_index_alone(postgres: Postgres, hour: datetime) -> None:
    with closing(postgres.connect("owner")) as owner:
        rows(owner, "VACUUM batch.activity_hourly")
        rows(owner, "SET enable_seqscan = off")
        asked = "SELECT wiki, sum(edits) FROM serving.activity_hourly WHERE window_start >= %s AND edits > 0 GROUP BY 1"
        plan = executed(owner, asked, hour - timedelta(hours=1))
    assert [line for line in plan if "Index Only Scan" in line and "on activity_hourly_" in line], "\n".join(plan)


def test_recent_changes_of_minutes_are_read_from_their_hours(reader: connection, hour: datetime) -> None:
    for view in ("recent_changes", "patrol_changes"):
        plan = executed(reader, f"SELECT count(*) FROM serving.{view} WHERE received_at >= %s", hour)
        leaves = [line for line in plan if " on recent_changes_g" in line]
        assert leaves
        assert not [line for line in leaves if f"_{hour - timedelta(hours=1):%Y%m%d%H}" in line], "\n".join(plan)


def executed(reader: connection, statement: str, *values: object) -> list[str]:
    """Lines of the plan that were carried out."""
    plan = (line for (line,) in rows(reader, f"EXPLAIN (ANALYZE, COSTS OFF) {statement}", *values))
    return [line for line in plan if "never executed" not in line]
