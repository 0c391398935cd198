"""What every chart gets without saying it: formats, UTC, limits, legends; and the short forms its file may use.

`form_data(chart, dataset, look_back)` is the chart as Superset's own forms would have saved it. What the chart's file
says wins. The surprising thing: a table renders cells that look like HTML as soon as one of its columns has to be a
link, so every other text of that table gets a zero-width space after each `<`, after which nothing is a tag.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dashboards.operators import listed
from dashboards.reading import read_yaml
from dashboards.stories import Chart, Dataset, identity

SCHEME = "wikiweir"
HABITS: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_suffix(".yaml"))
"""Viz type -> what its charts get."""

METRIC_KEYS = ("metric", "secondary_metric", "x", "y", "size", "timeseries_limit_metric", "series_limit_metric")
METRICS_KEYS = ("metrics", "metrics_b")
DIMENSION_KEYS = ("x_axis", "groupby", "groupby_b", "columns", "all_columns", "entity", "series")
GRAINS = {"_hourly": "PT1H", "_daily": "P1D"}
TIME_AXIS = "{ grid: { right: 28 }, xAxis: { splitNumber: 5, axisLabel: { showMaxLabel: false } } }"
"""With the usual ten labels, and one more at the axis' end, they touch at 1024 pixels."""
TIME_FORMATS = {"PT1M": "%H:%M", "PT5M": "%H:%M", "PT1H": "%H:00\n%a", "P1D": "%d %b"}
"""Labels of a time axis, by its grain. Half a line of six letters fits beside its end."""
MINUTES = ("serving.activity", "serving.user_activity", "serving.page_activity", "serving.edit_sizes")


def _adhoc_metric(short: dict[str, Any]) -> dict[str, Any]:
    name = short["label"]
    told = {"expressionType": "SQL", "sqlExpression": short["sql"], "label": name, "hasCustomLabel": True}
    return told | {"optionName": f"metric_{identity('metric', name + short['sql'])}"}


def _adhoc_column(short: dict[str, Any]) -> dict[str, Any]:
    return {"expressionType": "SQL", "sqlExpression": short["sql"], "label": short["label"]}


def _expanded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Short forms of metrics and dimensions, as Superset writes them."""
    told = dict(params)
    for keys, expand in (((*METRIC_KEYS, *METRICS_KEYS), _adhoc_metric), (DIMENSION_KEYS, _adhoc_column)):
        for key in keys:
            value = told.get(key)
            if isinstance(value, dict) and "sql" in value:
                told[key] = expand(value)
            elif isinstance(value, list):
                told[key] = [expand(each) if isinstance(each, dict) and "sql" in each else each for each in value]
    return told


def _formats(params: Mapping[str, Any], dataset: Dataset) -> dict[str, str]:
    """Label of each metric the chart asks for -> its number format."""
    found: dict[str, str] = {}
    for key in (*METRIC_KEYS[:1], *METRICS_KEYS, *METRIC_KEYS[1:]):
        for metric in listed(params.get(key)):
            if isinstance(metric, dict) and "format" in metric:
                found[metric["label"]] = metric["format"]
            elif isinstance(metric, str) and metric in dataset.metric_by_name:
                found[metric] = dataset.metric_by_name[metric].format
    return found


def grain(dataset: Dataset) -> str:
    """The time grain of a dataset's rows, for axes."""
    if dataset.sql or (dataset.relation or "").removesuffix("_places") in MINUTES:
        return "PT1M"
    return next((grain for suffix, grain in GRAINS.items() if (dataset.table or "").endswith(suffix)), "PT1H")


def _filters(chart: Chart, dataset: Dataset, look_back: str | None) -> list[dict[str, Any]]:
    """The time range and the condition."""
    told: list[dict[str, Any]] = []
    if dataset.time:
        told.append(
            {
                "clause": "WHERE",
                "comparator": chart.time or look_back or "No filter",
                "expressionType": "SIMPLE",
                "operator": "TEMPORAL_RANGE",
                "subject": dataset.time,
            }
        )
    if chart.where:
        told.append({"clause": "WHERE", "expressionType": "SQL", "sqlExpression": chart.where})
    if chart.having:
        told.append({"clause": "HAVING", "expressionType": "SQL", "sqlExpression": chart.having})
    return told


def _guarded(column: Any, dataset: Dataset) -> Any:
    """A text column of a table that renders HTML: what looks like a tag does not any more."""
    known = dataset.column_by_name.get(column) if isinstance(column, str) else None
    if known is None or known.type != "text":
        return column
    inert = f"replace({known.name}, '<', '<' || chr(8203))"
    return _adhoc_column({"label": known.label, "sql": inert})


def _link(link: Any) -> dict[str, Any]:
    text = link.text.replace("'", "''")
    sql = f"""COALESCE('<a href="' || {link.column} || '" target="_blank">{text}</a>', '')"""
    return _adhoc_column({"label": link.label, "sql": sql})


def _column_config(key: str, params: dict[str, Any], dataset: Dataset, formats: dict[str, str]) -> dict[str, Any]:
    """Number formats of a table's metrics and columns, and what the chart says of them itself."""
    numbers = {name: {"d3NumberFormat": text} for name, text in formats.items() if text}
    for column in listed(params.get(key)):
        known = dataset.column_by_name.get(column) if isinstance(column, str) else None
        if known and known.type == "bigint" and "revision" not in known.name:
            numbers[known.name] = {"d3NumberFormat": "MEMORY_DECIMAL" if known.name.startswith("bytes") else ",d"}
    return numbers | {name: numbers.get(name, {}) | given for name, given in params.pop("column_config", {}).items()}


def _table(chart: Chart, dataset: Dataset, params: dict[str, Any], formats: dict[str, str]) -> dict[str, Any]:
    """What a table gets by what it shows; with a link among its columns the others are guarded."""
    key = "all_columns" if params.get("all_columns") else "groupby"
    if chart.link:
        columns = [_guarded(column, dataset) for column in listed(params.get(key))]
        params[key] = [*columns, _link(chart.link)]
    return {
        "query_mode": "raw" if key == "all_columns" else "aggregate",
        "allow_render_html": chart.link is not None,
        "column_config": _column_config(key, params, dataset, formats),
    }


def _axis(chart: Chart, dataset: Dataset) -> dict[str, Any]:
    """The x axis of a time series is the dataset's time unless said otherwise; a categorical one has no time grain."""
    axis = chart.params.get("x_axis", dataset.time)
    known = dataset.column_by_name.get(axis) if isinstance(axis, str) else None
    is_time = known is not None and known.type == "timestamptz"
    labels = {"echart_options": TIME_AXIS} if is_time and chart.viz != "big_number" else {}
    if axis != dataset.time:
        return {"time_grain_sqla": None} | labels
    return {"x_axis": dataset.time, "time_grain_sqla": grain(dataset)} | labels


def _of_viz(chart: Chart, dataset: Dataset, params: dict[str, Any], formats: dict[str, str]) -> dict[str, Any]:
    """habits.yaml for the viz type, with the number format of the first metric."""
    number = next(iter(formats.values()), "") or "SMART_NUMBER"
    words = {
        "NUMBER": number,
        "AXIS": "SMART_NUMBER" if number == ",d" else number,
        "TIME": TIME_FORMATS.get(params.get("time_grain_sqla", grain(dataset)), "smart_date"),
    }
    told = {
        key: words.get(value, value) if isinstance(value, str) else value
        for key, value in HABITS.get(chart.viz, {}).items()
    }
    if "comparison_type" in told or chart.viz == "big_number":
        told |= _axis(chart, dataset)
    return told | (_table(chart, dataset, params, formats) if chart.viz == "table" else {})


def _by_size(params: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """A bubble chart takes the largest only where it is told the order, and only as a metric of its own."""
    size = params["size"]
    if isinstance(size, str):
        size = _adhoc_metric({"label": size, "sql": dataset.metric_by_name[size].sql})
    return {"orderby": size}


def form_data(chart: Chart, dataset: Dataset, look_back: str | None = None) -> dict[str, Any]:
    """The chart's form; `look_back` is its dashboard's time range, which the viewer can change."""
    params = dict(chart.params)
    formats = _formats(params, dataset)
    params = _expanded(params)
    if chart.viz == "bubble_v2":
        params |= _by_size(params, dataset)
        if "limit" in params:
            params["row_limit"] = params.pop("limit")
    habits = _of_viz(chart, dataset, params, formats)
    narrowed = _filters(chart, dataset, look_back)
    if chart.viz == "mixed_timeseries":  # the second question has filters of its own, none if they are not said
        habits["adhoc_filters_b"] = narrowed
    return {
        "datasource": "0__table",
        "viz_type": chart.viz,
        "adhoc_filters": narrowed,
        "color_scheme": SCHEME,
        "extra_form_data": {},
        **{key: value for key, value in habits.items() if value is not None},
        **params,  # a null that a chart says keeps the front-end from its own default
    }


def names(params: Mapping[str, Any], keys: tuple[str, ...]) -> list[Any]:
    """Everything the chart says under those keys, one by one."""
    return [each for key in keys for each in listed(params.get(key))]
