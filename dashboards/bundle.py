"""Stories -> what `POST /api/v1/assets/import/` takes: a zip of YAML with stable ids, and the digest that names it.

The surprising thing: charts carry numbers (`chartId`, `0__table`) that mean nothing; Superset's import puts its own
there wherever it knows to look, and finds everything else by uuid.
"""

import hashlib
import io
import json
import zipfile
from typing import Any

from dashboards import empty, filters, habits, layout, query_context
from dashboards.colours import LABEL_COLOURS
from dashboards.stories import Chart, Dataset, Stories, Story, identity

VERSION = "1.0.0"
DATABASE = "Wikiweir"
DATABASE_FILE = "databases/Wikiweir.yaml"
TOP = "wikiweir"
"""Folder of the zip that everything lies in; Superset drops it."""
MASK = "X" * 10
"""Superset's sign for a password that comes beside the bundle."""
TIMEOUT_MS = 30_000
"""No tile may hold a connection for longer."""

REFRESH_SPREAD_MS = 9_000
"""A refresh asks for one tile after another over at least so long: ten viewers' tiles at once would wait in a line."""

UNREFRESHED = 300
"""Seconds after which the answers of a dashboard that does not refresh by itself are old."""

CSS = """
[data-test="slice-header"] .anticon-warning { display: none; }
[data-test="slice-header"] .filter-counts { display: none; }
.superset-chart-table td:not([title]) { overflow-wrap: anywhere; }
"""
"""Without the triangle that says a table has reached its row limit, as ours do on purpose (the first 100), nor
the count of filters, which stands on every tile. A word longer than its column goes on in the next line: Superset would
cut it, or let it lie on the next column. Numbers, which Superset gives a title, stay whole."""

Files = dict[str, dict[str, Any]]


def database(address: str) -> dict[str, Any]:
    """The one database, as the reader role at `host:port/name`; SQL Lab shows it, nothing may be written."""
    options = f"-c timezone=UTC -c statement_timeout={TIMEOUT_MS}"
    return {
        "database_name": DATABASE,
        "sqlalchemy_uri": f"postgresql+psycopg2://wikiweir_reader:{MASK}@{address}",
        "uuid": identity("database", DATABASE),
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_file_upload": False,
        "extra": {
            "allows_virtual_table_explore": True,
            "metadata_params": {},
            "engine_params": {"connect_args": {"options": options, "application_name": "superset"}},
        },
        "version": VERSION,
    }


def _column(name: str, dataset: Dataset) -> dict[str, Any]:
    column = dataset.column_by_name[name]
    return {
        "column_name": name,
        "verbose_name": column.label,
        "description": column.help,
        "type": column.type.upper(),
        "is_dttm": column.type == "timestamptz",
        "is_active": True,
        "groupby": True,
        "filterable": True,
    }


def dataset_file(name: str, dataset: Dataset) -> dict[str, Any]:
    """A dataset as the import wants it."""
    return {
        "table_name": dataset.table or name,
        "schema": dataset.schema_,
        "sql": dataset.sql,
        "main_dttm_col": dataset.time,
        "description": dataset.about,
        "filter_select_enabled": True,
        "uuid": identity("dataset", name),
        "database_uuid": identity("database", DATABASE),
        "columns": [_column(column, dataset) for column in dataset.column_by_name],
        "metrics": [
            {
                "metric_name": metric.name,
                "verbose_name": metric.label,
                "description": metric.help,
                "expression": metric.sql,
                "d3format": metric.format or None,
            }
            for metric in dataset.metrics
        ],
        "version": VERSION,
    }


def form_of(story: Story, chart: Chart, dataset: Dataset) -> dict[str, Any]:
    """A chart's form as it is stored: with the look back its dashboard opens with."""
    return habits.form_data(chart, dataset, filters.look_back(story))


def chart_file(story: Story, name: str, chart: Chart, dataset: Dataset) -> dict[str, Any]:
    """A chart as the import wants it."""
    form = form_of(story, chart, dataset)
    context = query_context.build(form)
    return {
        "slice_name": chart.title,
        "description": chart.about,
        "viz_type": chart.viz,
        "params": form,
        "query_context": context and json.dumps(context),
        "uuid": identity("chart", f"{story.name}/{name}"),
        "dataset_uuid": identity("dataset", chart.dataset),
        "cache_timeout": rows_seconds(story),
        "is_managed_externally": False,
        "version": VERSION,
    }


def rows_seconds(story: Story) -> int:
    """How long rows are taken for new. The answer made of them (`shared_answers`) is shown twice as long: a little less
    than until the dashboard asks the next time."""
    return max((story.dashboard.refresh_seconds or UNREFRESHED) // 2 - 1, 1)


def dashboard_file(story: Story, stories: Stories, notice: str | None) -> dict[str, Any]:
    """A dashboard as the import wants it."""
    numbers = {name: number for number, name in enumerate(story.dashboard.charts, start=1)}
    return {
        "dashboard_title": story.dashboard.title,
        "description": story.dashboard.about,
        "slug": story.name,
        "css": f"{CSS}{empty.css(story)}\n",
        "uuid": identity("dashboard", story.name),
        "published": True,
        "position": layout.positions(story, numbers, notice),
        "metadata": {
            "native_filter_configuration": filters.native(story, stories.datasets, numbers),
            "chart_configuration": {},
            "global_chart_configuration": {"scope": {"rootPath": ["ROOT_ID"], "excluded": []}, "chartsInScope": []},
            "cross_filters_enabled": False,
            "filter_bar_orientation": "HORIZONTAL",
            "refresh_frequency": story.dashboard.refresh_seconds,
            "stagger_refresh": True,
            "stagger_time": REFRESH_SPREAD_MS,
            "timed_refresh_immune_slices": [],
            "expanded_slices": {},
            "color_scheme": habits.SCHEME,
            "label_colors": LABEL_COLOURS,
            "shared_label_colors": [],
            "map_label_colors": LABEL_COLOURS,
            "color_scheme_domain": [],
            "default_filters": "{}",
        },
        "version": VERSION,
    }


def files(stories: Stories, address: str, notice: str | None) -> Files:
    """Every file of the bundle; stories must be valid."""
    told: Files = {
        "metadata.yaml": {"version": VERSION, "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00"},
        DATABASE_FILE: database(address),
    }
    for name, dataset in stories.datasets.items():
        told[f"datasets/{DATABASE}/{name}.yaml"] = dataset_file(name, dataset)
    for story in stories.stories:
        for name, chart in story.placed():
            told[f"charts/{story.name}/{name}.yaml"] = chart_file(story, name, chart, stories.datasets[chart.dataset])
        told[f"dashboards/{story.name}.yaml"] = dashboard_file(story, stories, notice)
    return told


def digest(told: Files, beside: list[Any]) -> str:
    """Hash of the bundle and of what goes with it (password, who may see it): another one has to be imported."""
    return hashlib.sha256(json.dumps([told, beside], sort_keys=True).encode()).hexdigest()


def zipped(told: Files) -> bytes:
    """The bundle, the same bytes for the same files; JSON is YAML, too, and quicker to write."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in told.items():
            entry = zipfile.ZipInfo(f"{TOP}/{name}", date_time=(2026, 1, 1, 0, 0, 0))
            bundle.writestr(entry, json.dumps(content, ensure_ascii=False))
    return packed.getvalue()
