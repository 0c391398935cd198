"""Holds the whole chain together before anything is imported: dashboard -> chart -> dataset -> column -> database.

`python -m dashboards.validate` looks at the files, with `--database` also at the real tables, as the reader role. The
surprising thing: it never stops at the first discrepancy; whoever renamed a column sees every chart that it hurts.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import cursor as Cursor  # psycopg2's class has a lower-case name

from dashboards import empty, filters, questions
from dashboards.bundle import form_of
from dashboards.habits import DIMENSION_KEYS, METRIC_KEYS, METRICS_KEYS, names
from dashboards.layout import WIDTH
from dashboards.query_context import BUILDERS, LEGACY
from dashboards.stories import Chart, Dataset, Stories, Story, load
from wikiweir import settings

NEEDS = {
    "big_number": ("metric",),
    "big_number_total": ("metric",),
    "heatmap_v2": ("x_axis", "groupby", "metric"),
    "treemap_v2": ("metric", "groupby"),
    "bubble_v2": ("entity", "x", "y", "size"),
    "world_map": ("entity", "metric"),
    "mixed_timeseries": ("metrics", "metrics_b"),
    **dict.fromkeys(("echarts_timeseries_line", "echarts_timeseries_bar", "echarts_area"), ("metrics",)),
}
EVER = "No filter"
LOOK_BACK = re.compile(r"^(No filter|Last \d+ (second|minute|day|week|month|year)s? : now|\d+ \w+ ago : now)$")
"""Superset knows no `Last 3 hours : now`, and a `Last day` without `: now` ends when the day does."""
LOOK_BACK_HELP = "expected `Last 60 minutes : now` (days, weeks, months), `3 hours ago : now` or `No filter`"
TYPES = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp"}


def _asked(chart: Chart, dataset: Dataset) -> Iterator[str]:
    """What a chart asks of its dataset that is not there."""
    for metric in names(chart.params, (*METRIC_KEYS, *METRICS_KEYS)):
        if isinstance(metric, str) and metric not in dataset.metric_by_name:
            yield f"dataset {chart.dataset} has no metric {metric}"
        if isinstance(metric, dict) and not {"label", "sql"} <= metric.keys():
            yield f"a metric of its own needs label and sql: {metric}"
    columns = [column for column in names(chart.params, DIMENSION_KEYS) if isinstance(column, str)]
    columns += [by[0] for by in chart.params.get("order_by_cols", []) if isinstance(by[0], str)]
    for column in [*columns, *([chart.link.column] if chart.link else [])]:
        if column not in dataset.column_by_name:
            yield f"dataset {chart.dataset} has no column {column}"
    if chart.time and chart.time != EVER and not dataset.time:
        yield f"dataset {chart.dataset} has no time column for time: {chart.time}"
    if chart.time and not LOOK_BACK.match(chart.time):
        yield f"time {chart.time}: {LOOK_BACK_HELP}"


def of_chart(chart: Chart, stories: Stories) -> Iterator[str]:
    """Discrepancies of one chart file."""
    if chart.viz not in BUILDERS and chart.viz not in LEGACY:
        yield f"viz {chart.viz} is none of {', '.join(sorted([*BUILDERS, *LEGACY]))}"
    for key in NEEDS.get(chart.viz, ()):
        if not chart.params.get(key):
            yield f"viz {chart.viz} needs params.{key}"
    if chart.viz == "table" and not any(chart.params.get(key) for key in ("all_columns", "groupby", "metrics")):
        yield "viz table needs params.all_columns, or groupby and metrics"
    if chart.link and chart.viz != "table":
        yield f"link is for viz table, not for {chart.viz}"
    if not chart.empty and chart.dataset not in empty.by_dataset():
        yield f"empty.yaml has no words for charts on {chart.dataset}, and the chart has none of its own (empty)"
    dataset = stories.datasets.get(chart.dataset)
    if dataset is None:
        yield f"there is no dataset {chart.dataset}"
    else:
        yield from _asked(chart, dataset)


def of_dashboard(story: Story, stories: Stories) -> Iterator[str]:
    """Discrepancies of one dashboard.yaml and the files beside it."""
    placed = Counter(story.dashboard.charts)
    for name, times in placed.items():
        if name not in story.charts:
            yield f"chart {name} has no file in the folder"
        if times > 1:
            yield f"chart {name} stands {times} times on the dashboard"
    for name in sorted(story.charts.keys() - placed.keys()):
        yield f"chart {name} is on no row"
    for place, row in enumerate(story.dashboard.rows, start=1):
        wide = sum(row.charts.values()) + (row.column.width if row.column else 0)
        if row.charts and wide != WIDTH:
            yield f"row {place} ({', '.join(row.charts)}) is {wide} wide, expected {WIDTH}"
    for one in story.dashboard.filters:
        if one.time and not LOOK_BACK.match(one.time):
            yield f"filter {one.name}: time {one.time}: {LOOK_BACK_HELP}"
        if one.dataset is not None and one.dataset not in stories.datasets:
            yield f"filter {one.name}: there is no dataset {one.dataset}"
        elif one.dataset is not None and one.column not in stories.datasets[one.dataset].column_by_name:
            yield f"filter {one.name}: dataset {one.dataset} has no column {one.column}"
        for name in one.except_:
            if name not in placed:
                yield f"filter {one.name}: names {name}, which is not on the dashboard"
        known = [(name, chart) for name, chart in story.placed() if chart.dataset in stories.datasets]
        if not any(filters.acts_on(one, name, chart, stories.datasets[chart.dataset]) for name, chart in known):
            yield f"filter {one.name} acts on no chart"


def check(stories: Stories) -> list[str]:
    """All discrepancies of the files among themselves."""
    told = list(stories.mistakes)
    for story in stories.stories:
        told += [f"{story.name}/dashboard.yaml: {what}" for what in of_dashboard(story, stories)]
        for name, chart in story.charts.items():
            told += [f"{story.name}/{name}.yaml: {what}" for what in of_chart(chart, stories)]
    used = {chart.dataset for story in stories.stories for chart in story.charts.values()}
    used |= {str(one.dataset) for story in stories.stories for one in story.dashboard.filters}
    told += [f"datasets/{name}.yaml: no chart and no filter uses it" for name in stories.datasets.keys() - used]
    if not any(story.charts for story in stories.stories):
        told.append("stories: there are none")
    return sorted(told)


def _real(cursor: Cursor, relation: str) -> dict[str, str]:
    cursor.execute(
        """
        SELECT a.attname, format_type(a.atttypid, NULL)
        FROM pg_attribute AS a
        WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
        """,
        (relation,),
    )
    return {name: TYPES.get(kind, kind) for name, kind in cursor.fetchall()}


def _users(column: str, dataset: str, stories: Stories) -> list[str]:
    """Charts of a dataset that a column's loss would hurt."""
    word = re.compile(rf"\b{re.escape(column)}\b")
    metrics = {metric.name: metric.sql for metric in stories.datasets[dataset].metrics}
    hurt = []
    for story in stories.stories:
        for name, chart in story.charts.items():
            asked = [
                metrics.get(each, "")
                for each in names(chart.params, (*METRIC_KEYS, *METRICS_KEYS))
                if isinstance(each, str)
            ]
            everything = f"{chart.params} {chart.where} {chart.having} {chart.link} {asked}"
            if chart.dataset == dataset and word.search(everything):
                hurt.append(f"{story.name}/{name}")
    return hurt


def _against(dataset: str, stories: Stories, real: dict[str, str]) -> Iterator[str]:
    it = stories.datasets[dataset]
    if not real:
        hurt = [
            f"{s.name}/{name}" for s in stories.stories for name, chart in s.charts.items() if chart.dataset == dataset
        ]
        yield f"the database has no {it.relation}; charts: {', '.join(hurt) or 'none'}"
        return
    for column in it.columns:
        found = real.get(column.name)
        if found is None:
            charts = ", ".join(_users(column.name, dataset, stories)) or "none"
            yield f"{it.relation} has no column {column.name}; charts: {charts}"
        elif found != column.type:
            yield f"{it.relation}.{column.name} is {found}, the dataset says {column.type}"


def check_database(stories: Stories, cursor: Cursor) -> list[str]:
    """All discrepancies between valid files and the tables; each question is planned, none is run."""
    told = []
    for name, dataset in sorted(stories.datasets.items()):
        if dataset.relation:
            told += [
                f"datasets/{name}.yaml: {what}" for what in _against(name, stories, _real(cursor, dataset.relation))
            ]
        elif error := _error(questions.rendered(str(dataset.sql), is_filtered=True), cursor):
            told.append(f"datasets/virtual/{name}.yaml: with all filters set, {error}")
    for story in stories.stories:
        for name, chart in story.placed():
            told += [f"{story.name}/{name}.yaml: {what}" for what in _unplannable(story, chart, stories, cursor)]
    return told


def _unplannable(story: Story, chart: Chart, stories: Stories, cursor: Cursor) -> Iterator[str]:
    dataset = stories.datasets[chart.dataset]
    for sql in questions.of_chart(form_of(story, chart, dataset), dataset):
        if error := _error(sql, cursor):
            yield f"{chart.title} {error}"
            return  # the chart's other questions are of the same expressions


def _error(sql: str, cursor: Cursor) -> str | None:
    """Why a question cannot be planned."""
    cursor.execute("SAVEPOINT question")
    try:
        cursor.execute(f"EXPLAIN {sql}")
    except psycopg2.Error as error:
        cursor.execute("ROLLBACK TO SAVEPOINT question")
        return str(error).splitlines()[0]
    return None


def main(arguments: list[str]) -> int:
    """Exit code 1 and a list if there is a discrepancy."""
    parser = argparse.ArgumentParser(prog="dashboards.validate", description=__doc__)
    parser.add_argument("--database", action="store_true", help="also look at the real tables")
    options = parser.parse_args(arguments)
    stories = load()
    told = check(stories)
    if options.database and not told:
        with psycopg2.connect(settings.load().postgres_dsn("reader")) as connected, connected.cursor() as cursor:
            told = check_database(stories, cursor)
    charts = sum(len(story.charts) for story in stories.stories)
    known = f"{len(stories.stories)} dashboards, {charts} charts, {len(stories.datasets)} datasets"
    print(f"{known}: {len(told)} discrepancies")
    print("\n".join(told))
    return bool(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
