"""All discrepancies are told, at once, each with its file."""

from pathlib import Path

import pytest

from dashboards import stories
from dashboards.validate import check
from tests.unit.dashboards import support


def told(charts: dict[str, stories.Chart], **more: object) -> str:
    return "\n".join(check(support.stories(charts, **more)))


def test_what_agrees_is_silent() -> None:
    assert told({"edits": support.chart()}) == ""


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [
        ({"dataset": "gone"}, "pulse/edits.yaml: there is no dataset gone"),
        ({"empty": None}, "empty.yaml has no words for charts on pages"),
        ({"viz": "speedometer"}, "pulse/edits.yaml: viz speedometer is none of"),
        ({"params": {"metric": "lost"}}, "dataset pages has no metric lost"),
        ({"params": {}}, "viz big_number_total needs params.metric"),
        ({"viz": "table", "params": {"all_columns": ["lost"]}}, "dataset pages has no column lost"),
        ({"viz": "table", "params": {"all_columns": ["title"], "order_by_cols": [["lost", True]]}}, "no column lost"),
        ({"params": {"metric": {"sql": "1"}}}, "needs label and sql"),
        ({"time": "Last 3 hours : now"}, "time Last 3 hours : now: expected"),
        ({"link": {"column": "url", "text": "x", "label": "X"}}, "link is for viz table"),
    ],
)
def test_each_mistake_of_a_chart_is_told(spoiled: dict[str, object], expected: str) -> None:
    assert expected in told({"edits": support.chart(**spoiled)})


def test_each_mistake_of_a_dashboard_is_told_at_once() -> None:
    rows = [{"charts": {"edits": 7}}, {"charts": {"edits": 6, "lost": 6}}]
    filters = [
        {"name": "Wiki", "column": "lost", "dataset": "pages"},
        {"name": "Time", "time": "Last 60 minutes : now", "except": ["nobody", "edits"]},
    ]
    found = told({"edits": support.chart(), "spare": support.chart()}, rows=rows, filters=filters)
    for part in (
        "row 1 (edits) is 7 wide, expected 12",
        "chart edits stands 2 times",
        "chart lost has no file",
        "chart spare is on no row",
        "filter Wiki: dataset pages has no column lost",
        "filter Time: names nobody",
        "filter Time acts on no chart",
    ):
        assert part in found


def test_what_cannot_be_read_is_told_with_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "stories" / "pulse"
    folder.mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    (folder / "dashboard.yaml").write_text("title: Pulse\nabout: …\nrows: []\n", encoding="utf-8")
    (folder / "broken.yaml").write_text("title: [", encoding="utf-8")
    (folder / "odd.yaml").write_text("title: A <b>\nabout: …\ncolour: red\n", encoding="utf-8")
    found = "\n".join(stories.load(tmp_path).mistakes)
    for part in ("pulse/broken.yaml: not YAML", "pulse/odd.yaml: title", "pulse/odd.yaml: colour", "odd.yaml: params"):
        assert part in found
