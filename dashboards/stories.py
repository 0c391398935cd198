"""Reads `stories/` and `datasets/`: dashboards, their charts and what both stand on, as they are written.

A story is a folder: `dashboard.yaml` and one file a chart; names are file names. The surprising thing: reading stops at
no mistake. What a file says wrongly is told in `Stories.mistakes`, together with all others.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid5

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dashboards.reading import read_yaml
from dashboards.styles import written_out

HERE = Path(__file__).resolve().parent
NAMESPACE = UUID("6c1f2f0e-8f0b-5d39-9a1f-0f6f2b8d7a11")
"""Of all our identifiers in Superset; never changed, or everything would be there twice."""


def identity(kind: str, name: str) -> str:
    """The uuid (version 5) of a database, dataset, chart or dashboard of that name, the same on every machine."""
    return str(uuid5(NAMESPACE, f"{kind}/{name}"))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """A column of a dataset."""

    name: str
    label: str
    help: str
    type: str


class Metric(_Strict):
    """A saved metric of a dataset; `sql` is an aggregate over its columns."""

    name: str
    label: str
    help: str
    sql: str
    format: str = ""


class Dataset(_Strict):
    """A relation of `serving` or `ops`, or (by hand, in `datasets/virtual`) a question whose answer is one.

    `time` is the column the time filter acts on.
    """

    schema_: str = Field(alias="schema", default="serving")
    table: str | None = None
    sql: str | None = None
    about: str
    time: str | None = None
    columns: tuple[Column, ...]
    metrics: tuple[Metric, ...]

    @model_validator(mode="after")
    def _one_kind(self) -> "Dataset":
        if (self.table is None) == (self.sql is None):
            raise ValueError("give either schema and table, or sql")
        return self

    @property
    def relation(self) -> str | None:
        """Its table or view; none where it is a question."""
        return f"{self.schema_}.{self.table}" if self.table else None

    @cached_property
    def column_by_name(self) -> Mapping[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def metric_by_name(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric in self.metrics}


class Link(_Strict):
    """A column of a table that opens an address: `column` holds it, `text` is what is shown, `label` the heading."""

    column: str
    text: str
    label: str


class Chart(_Strict):
    """One chart file, written out. `time`: its own time range; `where`: a condition over its rows, `having` over its
    groups; `empty`: what its tile says where there is nothing to show.
    """

    title: str = Field(pattern=r"^[^<>]+$")
    about: str
    dataset: str
    viz: str
    time: str | None = None
    where: str | None = None
    having: str | None = None
    empty: str | None = None
    link: Link | None = None
    params: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, file: Any) -> Any:
        return written_out(file) if isinstance(file, dict) else file


class Filter(_Strict):
    """A filter of a dashboard: of the time range, or of a column's values."""

    name: str
    time: str | None = None
    column: str | None = None
    dataset: str | None = None
    default: tuple[str | int | bool, ...] = ()
    multiple: bool = True
    required: bool = False
    where: str | None = None
    about: str = ""
    except_: tuple[str, ...] = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _one_kind(self) -> "Filter":
        if (self.time is None) == (self.column is None) or (self.column is None) != (self.dataset is None):
            raise ValueError("give either time, or column and dataset")
        return self


class Stack(_Strict):
    """Charts one above the other at the end of a row, with their heights."""

    width: int
    charts: dict[str, int]


class Row(_Strict):
    """A line of a dashboard: a heading, or charts with their widths (of 12); a `column` stacks some."""

    heading: str | None = None
    height: int = 10
    charts: dict[str, int] = Field(default_factory=dict)
    column: Stack | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Row":
        if (self.heading is not None) == bool(self.charts):
            raise ValueError("give either heading or charts")
        return self


class Dashboard(_Strict):
    """One dashboard.yaml."""

    title: str = Field(pattern=r"^[^<>]+$")
    about: str
    refresh_seconds: int = 0
    filters: tuple[Filter, ...] = ()
    rows: tuple[Row, ...]

    @property
    def charts(self) -> Iterator[str]:
        """Names of its charts, in reading order."""
        for row in self.rows:
            yield from row.charts
            yield from row.column.charts if row.column else ()


@dataclass(frozen=True, slots=True)
class Story:
    """A folder: its dashboard, and the charts that lie in it by name."""

    name: str
    dashboard: Dashboard
    charts: Mapping[str, Chart]

    def placed(self) -> Iterator[tuple[str, Chart]]:
        """The charts that stand on the dashboard, in reading order."""
        return ((name, self.charts[name]) for name in self.dashboard.charts if name in self.charts)


@dataclass(frozen=True, slots=True)
class Stories:
    """All there is, and what could not be read."""

    stories: tuple[Story, ...]
    datasets: Mapping[str, Dataset]
    mistakes: tuple[str, ...] = field(default=())


Model = TypeVar("Model", bound=BaseModel)


def _read(model: type[Model], path: Path, mistakes: list[str]) -> Model | None:
    where = f"{path.parent.name}/{path.name}"
    try:
        return model.model_validate(read_yaml(path))
    except yaml.YAMLError as error:
        mistakes.append(f"{where}: not YAML: {str(error).splitlines()[0]}")
    except ValidationError as error:
        mistakes += [f"{where}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
    return None


def _named(model: type[Model], paths: Iterable[Path], mistakes: list[str]) -> dict[str, Model]:
    read = {path.stem: _read(model, path, mistakes) for path in sorted(paths)}
    return {name: each for name, each in read.items() if each is not None}


def load(root: Path = HERE) -> Stories:
    """Everything under `root`/stories and `root`/datasets; a dataset is named like its file, also in `virtual`."""
    mistakes: list[str] = []
    datasets = _named(Dataset, (root / "datasets").rglob("*.yaml"), mistakes)
    stories = []
    for folder in sorted(path for path in (root / "stories").glob("*") if path.is_dir()):
        page = folder / "dashboard.yaml"
        charts = _named(Chart, (path for path in folder.glob("*.yaml") if path != page), mistakes)
        if not page.is_file():
            mistakes.append(f"{folder.name}: has no dashboard.yaml")
        elif dashboard := _read(Dashboard, page, mistakes):
            stories.append(Story(folder.name, dashboard, charts))
    return Stories(tuple(stories), datasets, tuple(mistakes))
