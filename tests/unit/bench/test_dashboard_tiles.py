"""What the dashboards benchmark makes of Superset's answers, and the rule that makes one invented hour any other."""

from datetime import UTC, datetime, timedelta

import pytest

from bench import dashboard_facts
from bench.dashboard_facts import LEVELS
from bench.dashboard_tiles import Tile, _statements

HOUR = timedelta(hours=1)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1;\n\nSELECT 2\nLIMIT 3;\n", ["SELECT 1", "SELECT 2\nLIMIT 3"]),
        ("SELECT 'a;b';", ["SELECT 'a;b'"]),
    ],
)
def test_questions_of_one_tile_are_told_apart(text: str, found: list[str]) -> None:
    assert list(_statements(text)) == found


@pytest.mark.parametrize(
    ("dataset", "is_bound"),
    [
        ("activity_places", True),
        ("minutes_of_activity", True),
        ("edit_sizes", True),
        ("newest_top_pages", True),
        ("activity_places_hourly", False),
        ("user_activity_places", False),
        ("patrol_changes", False),
    ],
)
def test_the_lower_bound_is_for_few_rows(dataset: str, is_bound: bool) -> None:
    assert Tile("pulse", "edits", "How many?", dataset, {}, None).is_bound is is_bound


def test_hours_differ_and_have_names_of_their_own() -> None:
    hours = [MONDAY + number * HOUR for number in range(24 * 31)]
    assert len({dashboard_facts.own_word(hour) for hour in hours}) == len(hours)
    assert len({dashboard_facts.own_digits(hour) for hour in hours}) == len(hours)
    parts = [LEVELS[dashboard_facts.level(hour)] for hour in hours]
    assert 0.70 < sum(parts[: 24 * 7]) / (24 * 7) < 0.82
    assert parts[4] < parts[15]  # more in the afternoon than at night


@pytest.mark.parametrize(
    ("change", "bucket"), [(None, "unknown"), (0, "0"), (9, "+1"), (-10, "-10"), (1000, "+1k"), (-250_000, "-100k")]
)
def test_sizes_are_those_of_the_definitions(change: int | None, bucket: str) -> None:
    assert dashboard_facts.size_bucket(change) == bucket
