"""form_data -> query_context: the questions that Superset's own front-end asks for a chart, built the same way here.

A chart without them cannot be asked for its data by a program, and one asked otherwise has another cache key, so that
it would not be warm for the next viewer. Each viz type's rules are those of its plugin's buildQuery in Superset 6.1;
where a name looks odd it is theirs, and tests/fixtures/front_end_queries.json has what a browser really sent. The
surprising thing: `None` stands for JavaScript's `undefined`, and is left out at the end.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from dashboards.operators import (
    FLATTEN,
    Form,
    Query,
    axis,
    extra_metrics,
    is_compared,
    label,
    listed,
    ordered,
    pivot,
    rename,
    resample,
    rolling,
    sort,
)

LEGACY = frozenset({"world_map"})
"""Viz types whose data Superset computes from form_data alone: they have no query context."""
ALIASES = {
    **dict.fromkeys(("metric", "metric_2", "secondary_metric", "x", "y", "size"), "metrics"),
    "all_columns": "columns",
    "series": "groupby",
    "order_by_cols": "orderby",
}
"""Where viz types keep their metrics, columns and order, if not under these names."""
OVERRIDES = {
    "granularity": "granularity",
    "granularity_sqla": "granularity",
    "time_range": "time_range",
    "time_column": "time_column",
    "time_grain": "time_grain",
    "time_compare": "time_compare",
}
"""What filters may put in the place of the chart's own."""


def _unique(values: Iterable[Any]) -> list[Any]:
    """The first of those that are called the same."""
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(label(value), value)
    return list(found.values())


def _fields(form: Form) -> dict[str, Any]:
    """Metrics, columns and order, collected from wherever a viz type keeps them, in the form's order."""
    mode = form.get("query_mode")
    found: dict[str, list[Any]] = {"metrics": [], "columns": [], "orderby": []}
    for key, value in form.items():
        name = ALIASES.get(key, key)
        if value is None or (mode == "aggregate" and name == "columns"):
            continue
        if mode == "raw" and name in ("groupby", "metrics"):
            continue
        name = "columns" if name == "groupby" else name
        if name in found:
            found[name] += listed(value)
    order = [json.loads(item) if isinstance(item, str) else item for item in found["orderby"]]
    return {
        "columns": _unique(column for column in found["columns"] if column != ""),
        "metrics": None if mode == "raw" else _unique(found["metrics"]),
        "orderby": order or None,
    }


def base(form: Form) -> Query:
    """What the questions of all viz types have in common."""
    extra = form.get("extra_form_data") or {}
    filters: list[dict[str, Any]] = list(extra.get("filters", []))
    where: list[str] = []
    having: list[str] = []
    for each in [*form.get("adhoc_filters", []), *extra.get("adhoc_filters", [])]:
        if each["expressionType"] == "SIMPLE":
            if each["clause"] == "WHERE":
                clause = {"col": each["subject"], "op": each["operator"], "val": each.get("comparator")}
                filters.append({key: value for key, value in clause.items() if value is not None})
        else:
            (where if each["clause"] == "WHERE" else having).append(f"({each['sqlExpression']})")
    extras = {
        "time_grain_sqla": form.get("time_grain_sqla"),
        "having": " AND ".join(having),
        "where": " AND ".join(where),
    } | {key: extra[key] for key in ("relative_start", "relative_end", "time_grain_sqla") if key in extra}
    limit = form.get("series_limit")
    query = {
        "time_range": form.get("time_range"),
        "granularity": form.get("granularity") or form.get("granularity_sqla"),
        "filters": filters,
        "extras": {key: value for key, value in extras.items() if value is not None},
        "applied_time_extras": {},
        **_fields(form),
        "annotation_layers": form.get("annotation_layers", []),
        "row_limit": form.get("row_limit") and int(form["row_limit"]),
        "row_offset": form.get("row_offset"),
        "series_columns": form.get("series_columns"),
        "series_limit": limit if limit is not None else int(form.get("limit") or 0),
        "series_limit_metric": form.get("series_limit_metric") or form.get("timeseries_limit_metric"),
        "group_others_when_limit_reached": form.get("group_others_when_limit_reached", False),
        "order_desc": form.get("order_desc", True),
        "url_params": form.get("url_params", {}),
        "custom_params": form.get("custom_params", {}),
    }
    query |= {ours: extra[theirs] for theirs, ours in OVERRIDES.items() if theirs in extra}
    return query | {"custom_form_data": extra.get("custom_form_data", {})}


def _timeseries(form: Form, query: Query) -> list[Query]:
    shifts = listed(form.get("time_compare")) if is_compared(form, query) else []
    share = form.get("contributionMode") and {
        "operation": "contribution",
        "options": {"orientation": form["contributionMode"], "time_shifts": shifts},
    }
    return [
        query
        | {
            "metrics": [*listed(query["metrics"]), *extra_metrics(form)],
            "columns": [*listed(axis(form)), *listed(form.get("groupby"))],
            "series_columns": form.get("groupby"),
            "orderby": ordered(query),
            "time_offsets": shifts,
            "post_processing": [
                pivot(form, query),
                resample(form),
                rolling(form, query),
                rename(form, query),
                share,
                sort(form),
                FLATTEN,
            ],
        }
    ]


def _mixed(form: Form, _: Query) -> list[Query]:
    suffix = "_b"
    second = {key.removesuffix(suffix): value for key, value in form.items() if key.endswith(suffix)}
    first = {key: value for key, value in form.items() if not key.endswith(suffix)}
    asked = []
    for half in (first, second | {key: value for key, value in first.items() if key not in second}):
        query = base(half)
        query |= {
            "columns": [*listed(axis(form)), *listed(half.get("groupby"))],
            "series_columns": half.get("groupby"),
        }
        rules = [
            pivot(half, query),
            resample(half),
            rolling(half, query),
            rename(half, query),
        ]
        shifts = listed(half.get("time_compare")) if is_compared(half, query) else []
        query |= {"orderby": ordered(query), "time_offsets": shifts, "post_processing": [*rules, FLATTEN]}
        query |= {"series_limit_metric": None, "order_desc": None}  # as normalizeOrderBy leaves them
        asked.append(query)
    return asked


def _big_number(form: Form, query: Query) -> list[Query]:
    rules = [pivot(form, query), resample(form), rolling(form, query), FLATTEN]
    asked = [query | {"columns": listed(axis(form)), "post_processing": rules}]
    if form.get("aggregation") == "raw":
        asked.append(query | {"columns": [], "is_timeseries": False, "post_processing": []})
    return asked


def _table(form: Form, query: Query) -> list[Query]:
    is_raw = form["query_mode"] == "raw"
    metrics, orderby = query["metrics"], query["orderby"] or []
    if not is_raw:
        by = (listed(form.get("timeseries_limit_metric")) or [None])[0]
        first = (listed(metrics) or [None])[0]
        if by or first:
            orderby = [[by, not form.get("order_desc", False)]] if by else [[first, False]]
    return [query | {"orderby": orderby, "post_processing": [], "time_offsets": []}]


def _heatmap(form: Form, query: Query) -> list[Query]:
    columns = [*listed(axis(form)), *listed(form.get("groupby"))]
    orderby = []
    for place, key in enumerate(("sort_x_axis", "sort_y_axis")):
        if sort := form.get(key):
            orderby.append([label(form["metric"]) if "value" in sort else columns[place], "asc" in sort])
    across = {"x": axis(form), "y": form.get("groupby")}.get(form.get("normalize_across", ""))
    options = {"metric": label(form["metric"])} | ({"group_by": label(across)} if across else {})
    return [
        query | {"columns": columns, "orderby": orderby, "post_processing": [{"operation": "rank", "options": options}]}
    ]


def _treemap(form: Form, query: Query) -> list[Query]:
    orderby = [[form["metric"], False]] if form.get("sort_by_metric") else []
    orderby += [[column, True] for column in form.get("groupby", []) if isinstance(column, str)]
    return [query | ({"orderby": orderby} if form.get("row_limit") and orderby else {})]


def _bubble(form: Form, query: Query) -> list[Query]:
    order = [[query["orderby"][0], not query["order_desc"]]] if query["orderby"] else None
    return [query | {"columns": [*listed(form.get("entity")), *listed(form.get("series"))], "orderby": order}]


def _plain(_: Form, query: Query) -> list[Query]:
    return [query]


BUILDERS: dict[str, Callable[[Form, Query], list[Query]]] = {
    **dict.fromkeys(("echarts_timeseries_line", "echarts_timeseries_bar", "echarts_area"), _timeseries),
    "mixed_timeseries": _mixed,
    "big_number": _big_number,
    "big_number_total": _plain,
    "table": _table,
    "heatmap_v2": _heatmap,
    "treemap_v2": _treemap,
    "bubble_v2": _bubble,
}


def _with_axis(form: Form, query: Query) -> Query:
    """The x axis among the columns, with its time grain."""
    on, columns = form.get("x_axis"), list(query["columns"])
    for place, column in enumerate(columns):
        if on is not None and column == on:
            shared = {"timeGrain": query["extras"].get("time_grain_sqla"), "columnType": "BASE_AXIS"}
            named = {"sqlExpression": on, "label": on, "expressionType": "SQL", "isColumnReference": True}
            told = shared | (column if isinstance(column, dict) else named)
            columns[place] = {key: value for key, value in told.items() if value is not None}
            return {key: value for key, value in query.items() if key != "is_timeseries"} | {"columns": columns}
    return query


def build(form: Form, datasource: int = 0) -> dict[str, Any] | None:
    """The query context of a chart on a dataset (Superset's number of it); none for a legacy viz type."""
    if form["viz_type"] in LEGACY:
        return None
    queries = []
    for query in BUILDERS[form["viz_type"]](form, base(form)):
        asked = _with_axis(form, query)
        asked = {key: value for key, value in asked.items() if value is not None}
        if "post_processing" in asked:
            asked["post_processing"] = [rule for rule in asked["post_processing"] if rule]
        queries.append(asked)
    return {
        "datasource": {"id": datasource, "type": "table"},
        "force": False,
        "queries": queries,
        "form_data": form,
        "result_format": "json",
        "result_type": "full",
    }
