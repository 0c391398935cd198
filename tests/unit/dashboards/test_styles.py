"""Short forms of chart files."""

import pytest

from dashboards.styles import STYLES, written_out
from tests.unit.dashboards.support import chart


def test_a_style_gives_what_the_file_does_not_say() -> None:
    made = chart(style="minutes_number", params={"metric": "edits", "compare_lag": 60})
    assert made.params == STYLES["minutes_number"] | {"metric": "edits", "compare_lag": 60}


def test_a_column_keeps_what_its_style_says_of_it() -> None:
    made = chart(style="single_changes", params={"column_config": {"event_time": {"showCellBars": True}}})
    shared = STYLES["single_changes"]["column_config"]
    assert made.params["column_config"] == shared | {"event_time": shared["event_time"] | {"showCellBars": True}}


def test_a_number_of_complete_minutes_counts_the_running_one_only_where_there_is_no_other() -> None:
    metric = {"label": "Edits", "format": ",d", "complete_minutes": "SUM(edits) FILTER (WHERE {complete})"}
    told = written_out({"params": {"metric": metric}})["params"]["metric"]
    assert told == {
        "label": "Edits",
        "format": ",d",
        "sql": "CASE WHEN MIN(window_start) < date_trunc('minute', now())"
        " THEN SUM(edits) FILTER (WHERE window_start < date_trunc('minute', now()))"
        " WHEN COUNT(*) OVER () = 1 THEN SUM(edits) FILTER (WHERE TRUE) END",
    }


def test_a_line_of_minutes_ends_with_the_rate_of_the_running_one() -> None:
    told = written_out({"params": {"metrics": ["events", {"label": "Edits", "each_minute": "SUM(edits)"}]}})
    assert told["params"]["metrics"] == [
        "events",
        {
            "label": "Edits",
            "sql": "CASE WHEN MIN(window_start) < date_trunc('minute', now()) THEN SUM(edits)"
            " ELSE ROUND(60 * SUM(edits) / GREATEST(EXTRACT(EPOCH FROM now() - MIN(window_start)) - 2, 3)) END",
        },
    ]


def test_a_style_that_is_none_is_a_mistake_of_the_file() -> None:
    with pytest.raises(ValueError, match="style nice is none of minutes_number"):
        chart(style="nice")
