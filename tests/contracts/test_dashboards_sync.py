"""`dashboards.sync` and `dashboards.checks` with the real files and tables, and a Superset in memory."""

import logging
from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection

from dashboards import checks, stories, sync
from dashboards.stories import Stories, identity
from tests.conftest import Postgres
from tests.contracts.superset_double import Double

STORIES = stories.load()
CHECKED = sync.checked
PLACED = [(story, name) for story in STORIES.stories for name, _ in story.placed()]
BY_HAND = "5f0c9a6e-7d2f-4c3b-9f0a-0f6f2b8d7a11"


@pytest.fixture
def superset(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Double:
    """With everything imported by a first run; that files and tables agree is what test_dashboards.py asks."""
    monkeypatch.setattr(sync, "checked", lambda _: STORIES)
    monkeypatch.setattr(checks, "load", lambda: STORIES)
    made = Double()
    with postgres.connect("owner") as connected, connected.cursor() as cursor:
        cursor.execute("DELETE FROM ops.dashboard_import")
    assert sync.run(postgres.settings, made) == sync.DONE
    return made


@pytest.fixture
def batch(postgres: Postgres) -> Iterator[connection]:
    connected = postgres.connect("batch", autocommit=False)
    yield connected
    connected.close()


def test_nothing_is_imported_twice(postgres: Postgres, superset: Double) -> None:
    assert sync.run(postgres.settings, superset) == sync.DONE
    assert superset.imports == 1


def test_what_was_changed_by_hand_is_put_back(postgres: Postgres, superset: Double) -> None:
    story, name = PLACED[0]
    superset.touch("chart", identity("chart", f"{story.name}/{name}"))
    assert sync.run(postgres.settings, superset) == sync.DONE
    assert superset.imports == 2


def test_what_was_deleted_by_hand_is_put_back(postgres: Postgres, superset: Double) -> None:
    uuid = identity("dashboard", PLACED[0][0].name)
    superset.delete(superset.things[uuid])
    assert sync.run(postgres.settings, superset) == sync.DONE
    assert uuid in superset.things


def test_what_left_the_files_leaves_superset_and_what_people_made_stays(postgres: Postgres, superset: Double) -> None:
    gone, theirs = (identity("chart", f"pulse/{name}") for name in ("a_chart_of_yesterday", "named_by_others"))
    for uuid in (gone, theirs, BY_HAND):
        superset.touch("chart", uuid)
    with postgres.connect("owner") as connected, connected.cursor() as cursor:
        cursor.execute("UPDATE ops.dashboard_import SET uuids = uuids || %s::uuid", (gone,))
    assert sync.run(postgres.settings, superset) == sync.DONE
    assert gone not in superset.things
    assert {theirs, BY_HAND} <= superset.things.keys()
    assert sync.run(postgres.settings, superset) == sync.DONE
    assert superset.imports == 2


def test_nothing_is_imported_while_something_is_wrong(
    postgres: Postgres, superset: Double, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mistakes = ("pulse/edits.yaml: title: missing", "pulse/pages.yaml: viz: missing")
    monkeypatch.setattr(sync, "checked", CHECKED)
    monkeypatch.setattr(sync, "load", lambda: Stories(STORIES.stories, STORIES.datasets, mistakes))
    assert sync.run(postgres.settings, superset) == sync.WRONG
    assert superset.imports == 1
    assert all(mistake in caplog.text for mistake in mistakes)


def test_people_read_the_numbers_and_strangers_only_where_they_may(postgres: Postgres, superset: Double) -> None:
    assert superset.roles == {"Public": set(), sync.ROLE: {7}}
    assert all(roles == set() for roles in superset.viewers().values())
    open_to_all = postgres.settings.model_copy(update={"superset_anonymous": True})
    assert sync.run(open_to_all, superset) == sync.DONE
    assert superset.roles["Public"] == set(), "strangers see dashboards, not datasets"
    superset.roles["Public"] = {7}
    assert sync.run(open_to_all, superset) == sync.DONE
    assert superset.roles["Public"] == set(), "also where somebody has let them"
    assert set(map(frozenset, superset.viewers().values())) == {frozenset({0, 1})}
    assert sync.run(postgres.settings, superset) == sync.DONE
    assert all(roles == set() for roles in superset.viewers().values())


def test_each_chart_is_asked_as_its_dashboard_opens_and_written_down(superset: Double, batch: connection) -> None:
    assert checks.run(superset, batch, "well") == sync.DONE
    with batch, batch.cursor() as cursor:
        cursor.execute("SELECT dashboard, chart, error FROM ops.dashboard_checks WHERE run_id = 'well'")
        assert sorted(cursor.fetchall()) == sorted((story.name, name, None) for story, name in PLACED)
    followed = [context for context in superset.asked if context["form_data"]["extra_form_data"].get("time_range")]
    assert followed
    assert all(query["time_range"] for context in followed for query in context["queries"])


def test_a_broken_chart_fails_the_run_and_names_itself_and_the_column(
    superset: Double, batch: connection, caplog: pytest.LogCaptureFixture
) -> None:
    story, name = PLACED[0]
    number = superset.things[identity("chart", f"{story.name}/{name}")].number
    superset.broken[number] = 'column "edits" does not exist'
    with caplog.at_level(logging.ERROR):
        assert checks.run(superset, batch, "broken") == sync.WRONG
    assert f'{story.name}/{name}.yaml: {story.charts[name].title} column "edits" does not exist' in caplog.text


def test_a_chart_that_was_never_imported_is_told(superset: Double, batch: connection) -> None:
    story, name = PLACED[-1]
    superset.delete(superset.things[identity("chart", f"{story.name}/{name}")])
    assert checks.run(superset, batch, "missing") == sync.WRONG
