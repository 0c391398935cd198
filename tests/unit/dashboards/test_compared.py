"""Whoever adds a chart says what the oracle would answer, or why nobody can."""

from dashboards.stories import load
from tests.oracle.tiles import NOT_COMPARED, TILES


def test_every_tile_is_compared_with_the_oracle_or_it_is_said_why_not() -> None:
    charts = {f"{story.name}/{name}" for story in load().stories for name in story.charts}
    excused = {chart for chart in charts if {chart, chart.split("/")[0]} & NOT_COMPARED.keys()}
    neither = charts - excused - TILES.keys()
    assert not neither, f"say in tests/oracle/stories what these should say: {', '.join(sorted(neither))}"
    assert not TILES.keys() - charts, "these are no charts any more"
    assert not TILES.keys() & excused
    named = charts | {story.name for story in load().stories}
    assert not NOT_COMPARED.keys() - named, "these are neither charts nor dashboards any more"
