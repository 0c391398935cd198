"""Our questions are the front-end's: held against what a browser sent to a Superset 6.1 for charts of every viz type.

`tests/fixtures/front_end_queries.json` was recorded from POST bodies of /api/v1/chart/data, each with the part of its
form that the questions depend on.
"""

import json
from typing import Any

import pytest

from dashboards.operators import label
from dashboards.query_context import BUILDERS, base, build
from wikiweir.settings import PROJECT

RECORDED = json.loads((PROJECT / "tests" / "fixtures" / "front_end_queries.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["form_data"]["viz_type"])
def test_the_same_questions_as_a_browser(recorded: dict[str, Any]) -> None:
    context = build(recorded["form_data"])
    assert context
    assert json.loads(json.dumps(context["queries"])) == recorded["queries"]


def test_what_was_recorded_covers_what_the_dashboards_use() -> None:
    seen = {recorded["form_data"]["viz_type"] for recorded in RECORDED}
    assert BUILDERS.keys() <= seen


def test_a_legacy_chart_has_no_query_context() -> None:
    assert build({"viz_type": "world_map", "metric": "edits"}) is None


def test_a_filter_of_the_dashboard_replaces_the_charts_own_time() -> None:
    time = {"expressionType": "SIMPLE", "clause": "WHERE", "subject": "window_start", "operator": "TEMPORAL_RANGE"}
    wiki = {"col": "wiki", "op": "IN", "val": ["dewiki"]}
    form = {
        "viz_type": "big_number_total",
        "metric": "edits",
        "adhoc_filters": [time | {"comparator": "Last 60 minutes : now"}],
        "extra_form_data": {"time_range": "Last 5 minutes : now", "filters": [wiki]},
    }
    query = base(form)
    assert query["time_range"] == "Last 5 minutes : now"
    assert query["filters"][0] == wiki


def test_metrics_called_the_same_are_asked_once_and_stay_in_order() -> None:
    own = {"label": "bots", "expressionType": "SQL", "sqlExpression": "SUM(1)"}
    form = {"viz_type": "table", "query_mode": "aggregate", "metrics": ["edits", own, "events", "edits"]}
    assert [label(metric) for metric in base(form)["metrics"]] == ["edits", "bots", "events"]


def test_an_order_comes_from_json_too() -> None:
    form = {"viz_type": "table", "query_mode": "raw", "all_columns": ["a"], "order_by_cols": ['["a", false]']}
    assert base(form)["orderby"] == [["a", False]]
