"""What a chart gets without saying it."""

from datetime import UTC, datetime
from typing import Any

from dashboards.habits import TIME_AXIS, form_data
from dashboards.stories import load
from tests.unit.dashboards.support import chart, dataset

LINK = {"column": "url", "text": "diff", "label": "Diff"}


def test_a_chart_follows_the_dashboards_time_unless_it_has_its_own() -> None:
    follows = form_data(chart(), dataset(), "Last 60 minutes : now")
    keeps = form_data(chart(time="Last 7 days : now"), dataset(), "Last 60 minutes : now")
    assert follows["adhoc_filters"][0]["comparator"] == "Last 60 minutes : now"
    assert keeps["adhoc_filters"][0]["comparator"] == "Last 7 days : now"


def test_conditions_are_of_rows_and_of_groups() -> None:
    told = form_data(chart(where="edits > 0", having="SUM(edits) > 3"), dataset())["adhoc_filters"]
    assert [each["clause"] for each in told] == ["WHERE", "WHERE", "HAVING"]


def test_what_a_chart_says_wins() -> None:
    params = {"metrics": ["edits"], "time_grain_sqla": "PT5M"}
    assert form_data(chart(viz="echarts_area", params=params), dataset())["time_grain_sqla"] == "PT5M"


def test_a_number_is_written_as_its_metric_says() -> None:
    assert form_data(chart(), dataset())["y_axis_format"] == ",d"


def test_short_forms_become_superset_s() -> None:
    params = {"metric": {"label": "Many", "sql": "SUM(edits) * 2"}, "groupby": [{"label": "W", "sql": "upper(wiki)"}]}
    told = form_data(chart(viz="treemap_v2", params=params), dataset())
    assert told["metric"]["sqlExpression"] == "SUM(edits) * 2"
    assert told["groupby"] == [{"expressionType": "SQL", "sqlExpression": "upper(wiki)", "label": "W"}]


def test_a_bubble_chart_takes_the_largest() -> None:
    params = {"entity": "title", "x": "edits", "y": "edits", "size": "edits", "limit": 30}
    told = form_data(chart(viz="bubble_v2", params=params), dataset())
    assert told["orderby"]["sqlExpression"] == "SUM(edits)"
    assert (told["row_limit"], "limit" in told) == (30, False)


def test_a_table_without_links_shows_no_html() -> None:
    params = {"all_columns": ["title", "edits"]}
    assert form_data(chart(viz="table", params=params), dataset())["allow_render_html"] is False


def test_beside_a_link_nothing_else_can_be_html() -> None:
    params = {"all_columns": ["window_start", "title", "edits"]}
    told = form_data(chart(viz="table", params=params, link=LINK), dataset())
    time, title, edits, link = told["all_columns"]
    assert (time, edits) == ("window_start", "edits")
    assert title["sqlExpression"] == "replace(title, '<', '<' || chr(8203))"
    assert link["sqlExpression"].startswith("COALESCE('<a href=\"' || url")


def test_labels_of_every_time_axis_fit_beside_its_end() -> None:
    there = load()
    day = datetime(2026, 11, 28, 22, 30, tzinfo=UTC)
    seen = 0
    for story in there.stories:
        for name, placed in story.placed():
            told = form_data(placed, there.datasets[placed.dataset])
            if told.get("echart_options") == TIME_AXIS:
                label = day.strftime(told["x_axis_time_format"])
                assert all(len(line) <= 6 for line in label.splitlines()), f"{story.name}/{name}: {label}"
                seen += 1
    assert seen > 10


def test_every_axis_of_time_is_labelled_as_one() -> None:
    def labels(axis: str) -> Any:
        asked = chart(viz="echarts_area", params={"metrics": ["edits"], "x_axis": axis})
        return form_data(asked, dataset(time=None)).get("echart_options")

    assert labels("window_start") == TIME_AXIS
    assert labels("wiki") is None
