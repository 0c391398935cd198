"""Post-processing that Superset's front-end asks for beside a chart's SQL: pivot, rolling sums, comparisons, shares.

Its backend does this with pandas after the query. A time series without its pivot would be other data. The surprising
thing: rules that a form does not ask for are None here, and are dropped when the question is complete.
"""

from typing import Any

Form = dict[str, Any]
Query = dict[str, Any]
Rule = dict[str, Any] | None

ROLLINGS = ("sum", "mean", "std")


def listed(value: Any) -> list[Any]:
    """A value as a list; nothing is the empty one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def label(of: Any) -> str:
    """How a metric or a column is called in the answer."""
    if isinstance(of, dict):
        return str(of.get("label") or of.get("sqlExpression"))
    return str(of)


def offsets(form: Form, query: Query) -> dict[str, str]:
    """Column of a compared period -> metric it is of."""
    return {
        f"{label(m)}__{shift}": label(m) for m in listed(query["metrics"]) for shift in listed(form.get("time_compare"))
    }


def series(query: Query) -> list[Any]:
    """What the lines are told apart by; an empty list of series is one, too."""
    series = query.get("series_columns")
    return listed(query["columns"] if series is None else series)


def is_compared(form: Form, query: Query) -> bool:
    """Whether lines of another time stand beside those of now, as values; no chart of ours shows differences."""
    return form.get("comparison_type") == "values" and bool(offsets(form, query))


def axis(form: Form) -> Any:
    return form.get("x_axis") or ("__timestamp" if form.get("granularity_sqla") else None)


def extra_metrics(form: Form) -> list[Any]:
    """The metric a categorical axis is sorted by, where it is none of those shown."""
    by, sort = (listed(form.get("timeseries_limit_metric")) or [None])[0], form.get("x_axis_sort")
    shown = [label(metric) for metric in listed(form.get("metrics"))]
    return [by] if by and not form.get("groupby") and label(by) == sort and sort not in shown else []


def pivot(form: Form, query: Query) -> Rule:
    metrics = [label(metric) for metric in [*listed(query["metrics"]), *extra_metrics(form)]]
    if is_compared(form, query):
        shifted = offsets(form, query)
        metrics = [*dict.fromkeys([*shifted.values(), *shifted])]
    if axis(form) is None or not metrics:
        return None
    options = {
        "index": [label(axis(form))],
        "columns": [label(column) for column in series(query)],
        "aggregates": {metric: {"operator": "mean"} for metric in metrics},
        "drop_missing_columns": not form.get("show_empty_columns"),
    }
    return {"operation": "pivot", "options": options}


def rolling(form: Form, query: Query) -> Rule:
    shifted = offsets(form, query)
    compared = [*dict.fromkeys([*shifted.values(), *shifted])]
    metrics = compared if is_compared(form, query) else [label(metric) for metric in listed(query["metrics"])]
    columns, kind = {metric: metric for metric in metrics}, form.get("rolling_type")
    if kind == "cumsum":
        return {"operation": "cum", "options": {"operator": "sum", "columns": columns}}
    if kind not in ROLLINGS:
        return None
    window, least = int(form.get("rolling_periods") or 1), int(form.get("min_periods") or 0)
    options = {"rolling_type": kind, "window": window, "min_periods": least, "columns": columns}
    return {"operation": "rolling", "options": options}


def resample(form: Form) -> Rule:
    method, rule = form.get("resample_method"), form.get("resample_rule")
    if not method or not rule:
        return None
    is_filled = method == "zerofill"
    options = {"method": "asfreq" if is_filled else method, "rule": rule, "fill_value": 0 if is_filled else None}
    return {"operation": "resample", "options": options}


def rename(form: Form, query: Query) -> Rule:
    metrics, shifts = listed(query["metrics"]), listed(form.get("time_compare"))
    lines, compared = series(query), is_compared(form, query)
    if not metrics or axis(form) is None:
        return None
    if not compared and not ((lines or len(shifts) > 1) and form.get("truncate_metric")):
        return None
    columns = {}
    if compared:
        for column, metric in offsets(form, query).items():
            shift = next(shift for shift in shifts if shift in column)
            columns[column] = f"{metric}, {shift}" if len(metrics) > 1 else shift
    if len(metrics) == 1 and not columns:
        columns[label(metrics[0])] = None
    return {"operation": "rename", "options": {"columns": columns, "level": 0, "inplace": True}} if columns else None


def sort(form: Form) -> Rule:
    by, ascending = form.get("x_axis_sort"), form.get("x_axis_sort_asc")
    on = label(axis(form)) if axis(form) is not None else None
    known = [on, *(label(metric) for metric in [*listed(form.get("metrics")), *extra_metrics(form)])]
    if by is None or ascending is None or by not in known or form.get("groupby"):
        return None
    options = {"is_sort_index": True, "ascending": ascending} if by == on else {"by": by, "ascending": ascending}
    return {"operation": "sort", "options": options}


FLATTEN: Rule = {"operation": "flatten"}


def ordered(query: Query) -> list[Any] | None:
    """An explicit order, or by the limiting or the first metric."""
    if query["orderby"]:
        return list(query["orderby"])
    by = query["series_limit_metric"] or (listed(query["metrics"]) or [None])[0]
    return [[by, not query["order_desc"]]] if by else None
