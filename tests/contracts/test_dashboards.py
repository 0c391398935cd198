"""The dashboards against a migrated database: every column is there, every question can be planned, and what breaks is
told with every chart that it hurts.
"""

from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection

from dashboards import bundle, checks, datasets, stories, sync, validate
from dashboards.client import Answer
from tests.conftest import Postgres

STORIES = stories.load()


@pytest.fixture
def owner(postgres: Postgres) -> Iterator[connection]:
    """The owner's connection; nothing that a test does stays."""
    connected = postgres.connect("owner", autocommit=False)
    yield connected
    connected.rollback()
    connected.close()


def hurt(connected: connection, change: str) -> list[str]:
    """What is told after a change of the tables."""
    with connected.cursor() as cursor:
        cursor.execute(change)
        return validate.check_database(STORIES, cursor)


def charts_of(*names: str) -> list[str]:
    return [f"{s.name}/{name}.yaml" for s in STORIES.stories for name, chart in s.placed() if chart.dataset in names]


def test_the_files_agree_with_each_other() -> None:
    told = validate.check(STORIES)
    assert not told, "\n" + "\n".join(told)


def test_generated_datasets_are_current() -> None:
    assert not datasets.stale(), "run python -m dashboards.datasets and commit"


def test_the_reader_can_be_asked_everything(postgres: Postgres) -> None:
    with postgres.connect("reader", autocommit=False) as connected, connected.cursor() as cursor:
        told = validate.check_database(STORIES, cursor)
    assert not told, "\n" + "\n".join(told)


def test_a_renamed_column_is_told_with_every_chart_it_hurts(owner: connection) -> None:
    told = hurt(owner, "ALTER VIEW serving.disk_usage RENAME COLUMN bytes TO octets")
    assert [
        line for line in told if line.startswith("datasets/disk_usage.yaml: serving.disk_usage has no column bytes")
    ]
    for chart in charts_of("disk_usage"):
        assert any(line.startswith(chart) and '"bytes"' in line for line in told), chart
    assert any(chart.removesuffix(".yaml") in told[0] for chart in charts_of("disk_usage"))


def test_a_column_of_another_type_is_told(owner: connection) -> None:
    told = hurt(owner, "ALTER TABLE ops.dashboard_checks ALTER COLUMN seconds TYPE numeric")
    assert "datasets/dashboard_checks.yaml: ops.dashboard_checks.seconds is numeric" in "\n".join(told)


def test_a_lost_relation_is_told_with_its_charts(owner: connection) -> None:
    told = hurt(owner, "DROP VIEW serving.disk_usage")
    assert "datasets/disk_usage.yaml: the database has no serving.disk_usage" in told[0]
    assert {line.split(":")[0] for line in told[1:]} == set(charts_of("disk_usage"))


def test_what_was_imported_is_remembered(postgres: Postgres) -> None:
    connected = postgres.connect("batch", autocommit=False)
    assert sync.recorded(connected) is None
    for record in (
        sync.Record("a", "b", frozenset()),
        sync.Record("c", "d", frozenset({stories.identity("chart", "a")})),
    ):
        sync.record(connected, record)
        assert sync.recorded(connected) == record
    connected.close()


def test_a_check_is_written_down_and_written_over(postgres: Postgres) -> None:
    connected = postgres.connect("batch", autocommit=False)
    for error in ("column lost does not exist", None):
        checks.written(connected, "run", checks.Checked("pulse", "edits", "How many?", Answer(3, 0.5, error)))
    with connected, connected.cursor() as cursor:
        cursor.execute("SELECT dashboard, chart, rows, seconds, error FROM ops.dashboard_checks WHERE run_id = 'run'")
        assert cursor.fetchall() == [("pulse", "edits", 3, 0.5, None)]
    connected.close()


def test_every_chart_can_be_imported_and_asked() -> None:
    """A chart without a query context could not be warmed; the legacy viz type is asked otherwise."""
    files = bundle.files(STORIES, "127.0.0.1:5432/wikiweir", None)
    without = [name for name, content in files.items() if name.startswith("charts/") and not content["query_context"]]
    assert {files[name]["viz_type"] for name in without} <= {"world_map"}
