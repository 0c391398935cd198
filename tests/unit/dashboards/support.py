"""A small world of dashboards, to be spoiled by tests."""

from typing import Any

from dashboards.stories import Chart, Dashboard, Dataset, Stories, Story


def dataset(**more: Any) -> Dataset:
    columns = [
        ("window_start", "timestamptz"),
        ("wiki", "text"),
        ("title", "text"),
        ("edits", "bigint"),
        ("url", "text"),
    ]
    told = {
        "schema": "serving",
        "table": "page_activity",
        "about": "Edits by page.",
        "time": "window_start",
        "columns": [{"name": name, "label": name.capitalize(), "help": "…", "type": kind} for name, kind in columns],
        "metrics": [{"name": "edits", "label": "Edits", "help": "…", "sql": "SUM(edits)", "format": ",d"}],
    }
    return Dataset.model_validate(told | more)


def chart(**more: Any) -> Chart:
    told = {"title": "How many edits?", "about": "…", "dataset": "pages", "viz": "big_number_total"}
    told |= {"empty": "No edits"}
    return Chart.model_validate(told | {"params": {"metric": "edits"}} | more)


def stories(charts: dict[str, Chart], **more: Any) -> Stories:
    """One dashboard, named pulse, with these charts side by side."""
    widths = dict.fromkeys(charts, 12 // len(charts))
    told = {"title": "Pulse", "about": "…", "rows": [{"height": 20, "charts": widths}]}
    page = Dashboard.model_validate(told | more)
    return Stories((Story("pulse", page, charts),), {"pages": dataset()})
