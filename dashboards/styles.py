"""What chart files may leave out because several say the same: a `style`, and numbers of complete minutes.

`written_out(chart)` is the chart as if its file had said everything. The surprising thing: a number of complete minutes
is one question for the whole look back and for each minute of its line, so its SQL asks which of the two it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dashboards.reading import read_yaml

STYLES: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_suffix(".yaml"))
"""Name -> `params` that a chart of that style has unless it says otherwise."""

COMPLETE = "window_start < date_trunc('minute', now())"
WHOLE_OR_RUNNING = (
    "CASE WHEN MIN(window_start) < date_trunc('minute', now()) THEN {complete}"
    " WHEN COUNT(*) OVER () = 1 THEN {running} END"
)
"""The running minute counts only where there is no other: a minute of the line has none beside it in its own group."""


def _metric(value: Any) -> Any:
    """`{label, complete_minutes: SQL with {complete}}` as a metric with its `sql`."""
    if not (isinstance(value, dict) and "complete_minutes" in value):
        return value
    asked = value["complete_minutes"]
    complete, running = asked.replace("{complete}", COMPLETE), asked.replace("{complete}", "TRUE")
    rest = {key: each for key, each in value.items() if key != "complete_minutes"}
    return rest | {"sql": WHOLE_OR_RUNNING.format(complete=complete, running=running)}


def written_out(chart: Mapping[str, Any]) -> dict[str, Any]:
    """The chart file without its short forms. Raises ValueError for a style that is none."""
    told = dict(chart)
    style = told.pop("style", None)
    if style is not None and style not in STYLES:
        raise ValueError(f"style {style} is none of {', '.join(sorted(STYLES))}")
    if style is None and "params" not in told:
        return told
    shared, own = STYLES.get(style, {}), told.get("params", {})
    params = {key: _metric(value) for key, value in (shared | own).items()}
    if columns := shared.get("column_config"):
        more = own.get("column_config", {})
        params["column_config"] = columns | {name: columns.get(name, {}) | given for name, given in more.items()}
    return told | {"params": params}
