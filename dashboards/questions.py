"""Chart -> the SQL it comes to, for PostgreSQL to plan without running: what it cannot plan, no viewer will see.

Close to what Superset writes, not the same: enough to name every expression and column. The surprising thing: a
dataset that is a question itself (`datasets/virtual`) is a Jinja template, which asks what has been filtered.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2.sandbox import SandboxedEnvironment

from dashboards.operators import label, listed
from dashboards.query_context import BUILDERS, base
from dashboards.stories import Dataset

SINCE, UNTIL = "2026-01-01 00:00:00", "2026-01-01 01:00:00"


def rendered(sql: str, *, is_filtered: bool = False) -> str:
    """A virtual dataset's SQL with one hour as its time range, and no filter set, or all of them."""

    def chosen(*_: Any, **__: Any) -> list[None]:
        return [None] if is_filtered else []

    environment = SandboxedEnvironment(autoescape=False)
    environment.filters["where_in"] = lambda values: "(NULL)"
    template = environment.from_string(sql)
    return template.render(from_dttm=SINCE, to_dttm=UNTIL, filter_values=chosen, get_filters=chosen)


def _expression(of: Any, saved: Mapping[str, str]) -> str:
    if isinstance(of, dict):
        return f"({of['sqlExpression']})"
    return saved.get(of, f'"{of}"')


def relation(dataset: Dataset) -> str:
    """What stands after FROM."""
    return dataset.relation or f"({rendered(str(dataset.sql))}) AS asked"


def of_chart(form: dict[str, Any], dataset: Dataset) -> Iterator[str]:
    """Each question of a chart as a SELECT."""
    build = BUILDERS.get(form["viz_type"])
    queries = build(form, base(form)) if build else [base(form) | {"columns": listed(form.get("entity"))}]
    saved = {metric.name: f"({metric.sql})" for metric in dataset.metrics}
    for query in queries:
        columns = [_expression(column, {}) for column in query["columns"]]
        metrics = [_expression(metric, saved) for metric in listed(query["metrics"])]
        order = [f"{_expression(by, saved)} {'ASC' if up else 'DESC'}" for by, up in query.get("orderby") or []]
        shown = {label(column) for column in [*query["columns"], *listed(query["metrics"])]}
        order = [
            part for part, (by, _) in zip(order, query.get("orderby") or [], strict=True) if label(by) not in shown
        ]
        conditions = [f"({query['extras']['where']})"] if query["extras"].get("where") else []
        conditions += [f"\"{one['col']}\" >= '{SINCE}+00'" for one in query["filters"] if one["op"] == "TEMPORAL_RANGE"]
        yield "\n".join(
            part
            for part in (
                f"SELECT {', '.join([*columns, *metrics]) or '*'}",
                f"FROM {relation(dataset)}",
                f"WHERE {' AND '.join(conditions)}" if conditions else "",
                f"GROUP BY {', '.join(map(str, range(1, len(columns) + 1)))}" if metrics and columns else "",
                f"HAVING {query['extras']['having']}" if query["extras"].get("having") else "",
                f"ORDER BY {', '.join(order)}" if order else "",
                f"LIMIT {query.get('row_limit') or 1000}",
            )
            if part
        )
