"""Saved metrics of datasets: what rollups.py declares as sums, and what `metrics.toml` says beyond that.

The surprising thing: a metric of metrics.toml names the columns it needs, not its datasets; a dataset gets whatever its
columns allow, so that a new view comes with the shares and rates of its kind.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from wikiweir.rollups import Metric

FILE = Path(__file__).with_name("metrics.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A metric of a dataset: SQL aggregate, how it is called, written and explained."""

    name: str
    label: str
    sql: str
    format: str
    help: str

    def told(self) -> dict[str, str]:
        """As the dataset's file has it."""
        shown = {"name": self.name, "label": self.label, "help": self.help, "sql": self.sql, "format": self.format}
        return {key: value for key, value in shown.items() if value}


@dataclass(frozen=True, slots=True)
class Extra:
    """A saved metric and where it belongs: every dataset with these columns, or only some tables."""

    saved: Saved
    needs: frozenset[str]
    tables: frozenset[str]

    def suits(self, table: str, columns: set[str]) -> bool:
        """Whether a dataset gets it."""
        return self.needs <= columns and (not self.tables or table in self.tables)


def of_rollup(metric: Metric) -> Saved:
    """The sum or maximum of a metric that rollups.py declares."""
    sql = f"{'MAX' if metric.merge == 'max' else 'SUM'}({metric.name})"
    number = "MEMORY_DECIMAL" if metric.name.startswith("bytes") else ",d"
    number = number if metric.merge == "sum" else ""
    return Saved(name=metric.name, label=metric.label, sql=sql, format=number, help=metric.help)


def extra() -> list[Extra]:
    """metrics.toml."""
    told = tomllib.loads(FILE.read_text(encoding="utf-8"))["metric"]
    return [
        Extra(
            Saved(
                name=each["name"],
                label=each["label"],
                sql=" ".join(each["sql"].split()),
                format=each["format"],
                help=each["help"],
            ),
            frozenset(each["needs"]),
            frozenset(each.get("tables", ())),
        )
        for each in told
    ]
