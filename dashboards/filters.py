"""Native filters of a dashboard: which charts each acts on, and what its default adds to their questions.

A filter of values acts on the charts whose dataset has its column; a filter of the time range on those whose dataset
has a time column, unless the chart keeps a time of its own. The surprising thing: the same default has to be told
twice to Superset, once for the control and once for the questions, and once more to whoever warms the cache.
"""

from collections.abc import Mapping
from typing import Any

from dashboards.stories import Chart, Dataset, Filter, Story, identity


def acts_on(one: Filter, name: str, chart: Chart, dataset: Dataset) -> bool:
    """Whether a filter is about a chart."""
    if name in one.except_:
        return False
    if one.time is not None:
        return dataset.time is not None and chart.time is None
    return one.column in dataset.column_by_name


def extra_form_data(one: Filter) -> dict[str, Any]:
    """What the filter's default adds to a chart's question."""
    if one.time is not None:
        return {"time_range": one.time}
    if not one.default:
        return {}
    return {"filters": [{"col": one.column, "op": "IN", "val": list(one.default)}]}


def defaults(story: Story, name: str, chart: Chart, dataset: Dataset) -> dict[str, Any]:
    """What all filters of the dashboard, untouched, add to a chart's question: as a viewer asks who has just come."""
    told: dict[str, Any] = {}
    for one in story.dashboard.filters:
        if acts_on(one, name, chart, dataset):
            extra = extra_form_data(one)
            if "time_range" in extra:
                told["time_range"] = extra["time_range"]
            told.setdefault("filters", []).extend(extra.get("filters", []))
    return {key: value for key, value in told.items() if value}


def look_back(story: Story) -> str | None:
    """The time range that the dashboard opens with."""
    return next((one.time for one in story.dashboard.filters if one.time is not None), None)


def native(story: Story, datasets: Mapping[str, Dataset], numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """`native_filter_configuration`; `numbers`: what stands for each chart until Superset numbers it."""
    return [_native(story, one, datasets, numbers) for one in story.dashboard.filters]


def _native(story: Story, one: Filter, datasets: Mapping[str, Dataset], numbers: Mapping[str, int]) -> dict[str, Any]:
    excluded = [
        numbers[name] for name, chart in story.placed() if not acts_on(one, name, chart, datasets[chart.dataset])
    ]
    told: dict[str, Any] = {
        "id": f"NATIVE_FILTER-{identity('filter', f'{story.name}/{one.name}')}",
        "name": one.name,
        "description": one.about,
        "type": "NATIVE_FILTER",
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": excluded},
    }
    if one.time is not None:
        return told | {
            "filterType": "filter_time",
            "targets": [{}],
            "controlValues": {},
            "defaultDataMask": {"extraFormData": extra_form_data(one), "filterState": {"value": one.time}},
        }
    state = {"value": list(one.default)} if one.default else {}
    return told | {
        "filterType": "filter_select",
        "targets": [{"datasetUuid": identity("dataset", str(one.dataset)), "column": {"name": one.column}}],
        "controlValues": {
            "enableEmptyFilter": one.required,
            "defaultToFirstItem": False,
            "multiSelect": one.multiple,
            "searchAllOptions": False,
            "inverseSelection": False,
            "sortAscending": True,
        },
        "adhoc_filters": [{"clause": "WHERE", "expressionType": "SQL", "sqlExpression": one.where}]
        if one.where
        else [],
        "defaultDataMask": {"extraFormData": extra_form_data(one), "filterState": state},
    }
