"""Which charts a filter acts on, and what its default adds to their questions."""

from dashboards import filters
from tests.unit.dashboards import support

TIME = {"name": "Look back", "time": "Last 60 minutes : now"}
WIKI = {"name": "Wiki", "column": "wiki", "dataset": "pages", "default": ["dewiki"], "except": ["spare"]}


def test_defaults_are_those_of_the_filters_in_scope() -> None:
    charts = {"edits": support.chart(), "kept": support.chart(time="Last 7 days : now"), "spare": support.chart()}
    world = support.stories(charts, filters=[TIME, WIKI])
    story, dataset = world.stories[0], world.datasets["pages"]
    told = {name: filters.defaults(story, name, chart, dataset) for name, chart in story.placed()}
    wiki = [{"col": "wiki", "op": "IN", "val": ["dewiki"]}]
    assert told["edits"] == {"time_range": "Last 60 minutes : now", "filters": wiki}
    assert told["kept"] == {"filters": wiki}
    assert told["spare"] == {"time_range": "Last 60 minutes : now"}


def test_charts_out_of_scope_are_excluded_by_number() -> None:
    charts = {"edits": support.chart(), "kept": support.chart(time="Last 7 days : now")}
    world = support.stories(charts, filters=[TIME, WIKI | {"except": []}])
    time, wiki = filters.native(world.stories[0], world.datasets, {"edits": 1, "kept": 2})
    assert time["scope"]["excluded"] == [2]
    assert wiki["scope"]["excluded"] == []
    assert wiki["defaultDataMask"]["filterState"] == {"value": ["dewiki"]}
