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


EACH_MINUTE = (
    "CASE WHEN MIN(window_start) < date_trunc('minute', now()) THEN {so_far}"
    " ELSE ROUND(60 * {so_far} / GREATEST(EXTRACT(EPOCH FROM now() - MIN(window_start)) - 2, 3)) END"
)
"""The running minute at its rate so far: the newest two seconds are on their way, and the first few say little."""


def _metric(value: Any) -> Any:
    """A metric with its `sql`: `complete_minutes: SQL with {complete}` or `each_minute: SQL` say it shorter."""
    if not isinstance(value, dict) or "sql" in value:
        return value
    rest = dict(value)
    if (asked := rest.pop("complete_minutes", None)) is not None:
        complete, running = asked.replace("{complete}", COMPLETE), asked.replace("{complete}", "TRUE")
        return rest | {"sql": WHOLE_OR_RUNNING.format(complete=complete, running=running)}
    if (asked := rest.pop("each_minute", None)) is not None:
        return rest | {"sql": EACH_MINUTE.format(so_far=asked)}
    return value


def written_out(chart: Mapping[str, Any]) -> dict[str, Any]:
    """The chart file without its short forms. Raises ValueError for a style that is none."""
    told = dict(chart)
    style = told.pop("style", None)
    if style is not None and style not in STYLES:
        raise ValueError(f"style {style} is none of {', '.join(sorted(STYLES))}")
    if style is None and "params" not in told:
        return told
    shared, own = STYLES.get(style, {}), told.get("params", {})
    params = {
        key: [_metric(each) for each in value] if key == "metrics" else _metric(value)
        for key, value in (shared | own).items()
    }
    if columns := shared.get("column_config"):
        more = own.get("column_config", {})
        params["column_config"] = columns | {name: columns.get(name, {}) | given for name, given in more.items()}
    return told | {"params": params}
