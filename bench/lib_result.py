"""What every benchmark ends with: medians and ratios of interleaved runs, the machine they ran on, one JSON, one table.

The surprising thing: a result whose answers were not equal is never written, because a fast wrong answer is no figure.
"""

import json
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from local import toolchain
from wikiweir.clock import SystemClock
from wikiweir.settings import home

RESULTS = Path(__file__).resolve().parent / "results"
"""Figures that are committed."""

console = Console()

Document = dict[str, Any]


class UnequalAnswersError(AssertionError):
    """Two variants gave different answers: their times must not be compared."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that the project promises; `at_least` false: it is an upper bound."""

    what: str
    value: float
    bound: float
    unit: str = "×"
    at_least: bool = True

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def document(self) -> Document:
        """As it stands in the result file."""
        sign = ">=" if self.at_least else "<="
        return {"what": self.what, "value": round(self.value, 3), "bar": f"{sign} {self.bound:g}", "met": self.is_met}


def _first_line(command: Sequence[str]) -> str:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    return ((done.stdout or done.stderr).splitlines() or ["unknown"])[0]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    return version(package)


def machine() -> Document:
    """The machine line: without it a figure says nothing. `load_1m` tells whether somebody else was using it."""
    git = shutil.which("git")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "java": _first_line([str(toolchain.java()), "-version"]),
        "packages": {
            name: _version(name)
            for name in ("pyspark", "kafka-python", "sseclient-py", "requests", "duckdb", "msgspec")
        },
        "commit": _first_line([git, "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]) if git else "unknown",
        "load_1m": round(os.getloadavg()[0], 2),
        "measured_at": SystemClock().now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def summary(values: Sequence[float], digits: int = 3) -> Document:
    """Median with all runs beside it, so that the spread can be judged."""
    return {"median": round(median(values), digits), "runs": [round(value, digits) for value in values]}


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the sorted values do not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("expected at least one value, found none; nothing was measured")
    rank = math.ceil(share * len(ordered) - 1e-9)  # 0.95 * 100 is a little more than 95 in binary
    return ordered[max(rank, 1) - 1]


def write(name: str, document: Document, bars: Sequence[Bar], *, is_quick: bool) -> Path:
    """Write the result; a quick run's goes into the state folder, never over a committed figure."""
    if document.get("answers_equal") is not True:
        raise UnequalAnswersError(f"{name}: the answers were not shown to be equal; nothing is written")
    folder = home() / "bench" if is_quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    whole = {"bench": name, "quick": is_quick, **document, "bars": [bar.document() for bar in bars]}
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: first column text, the others figures."""
    table = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,.3g}" if isinstance(cell, float) and cell < 100 else _cell(cell) for cell in row))
    console.print(table)


def _cell(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def show_bars(bars: Sequence[Bar]) -> None:
    """Each promise, and whether this run keeps it."""
    for bar in bars:
        sign = "≥" if bar.at_least else "≤"
        mark = "[green]met[/]" if bar.is_met else "[red]not met[/]"
        console.print(f"  {mark}  {bar.what}: {bar.value:,.2f} {bar.unit} (bar {sign} {bar.bound:,g} {bar.unit})")


def flat(runs: Sequence[Mapping[str, float]], key: str) -> list[float]:
    """One figure of every run."""
    return [run[key] for run in runs]
