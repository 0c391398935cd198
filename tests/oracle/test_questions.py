"""Questions answered by hand, and every way in which an answer can be wrong, told.

The surprising thing: what may differ is tested as much as what may not: ties for the last place, and a moving moment.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import measures as m
from tests.oracle.questions import Question, World, milliseconds, read

NOW = "2026-03-01T10:05:00.000000Z"
TEN = milliseconds("2026-03-01T10")


def activity(minute: str, wiki: str, edits: int, **more: Any) -> dict[str, Any]:
    start = f"2026-03-01T{minute}:00.000000Z"
    return {"window_start": start, "hour": start[:13], "wiki": wiki, "edits": edits, "user_class": "bot", **more}


ROWS = [
    activity("09:59", "dewiki", 1),
    activity("10:00", "dewiki", 4),
    activity("10:00", "enwiki", 7),
    activity("10:01", "dewiki", 2, user_class="registered"),
    activity("10:01", "frwiki", 6),
    activity("11:00", "dewiki", 8),
]
WORLD = World({"activity": ROWS}, "2026-03-01T10:00:00.000000Z", "2026-03-01T11:00:00.000000Z", NOW)
EDITS = {"edits": m.total("edits")}
BY_WIKI = Question(of="activity", by=m.named("wiki"), numbers=EDITS, order="edits", limit=2)
BY_CLASS = Question(of="activity", by={"window_start": m.minute}, spread="user_class", numbers=EDITS)


def wiki(name: str, edits: int) -> dict[str, Any]:
    return {"wiki": name, "edits": edits, "a column nobody asked for": 1}


def test_what_the_time_and_the_wiki_chosen_leave_is_grouped_and_counted() -> None:
    dewiki, enwiki, frwiki = (wiki(*one) for one in (("dewiki", 6), ("enwiki", 7), ("frwiki", 6)))
    assert {row["wiki"]: row["edits"] for row in BY_WIKI.answer(WORLD)} == {"dewiki": 6, "enwiki": 7, "frwiki": 6}
    assert BY_WIKI.answer(replace(WORLD, wiki="frwiki")) == [{"wiki": "frwiki", "edits": 6}]
    for tied in (dewiki, frwiki):  # either may have the last place
        assert BY_WIKI.differences([enwiki, tied], WORLD, WORLD) == []
    assert BY_CLASS.answer(WORLD) == [
        {"window_start": TEN, "bot": 11},
        {"window_start": TEN + m.MINUTE, "registered": 2, "bot": 6},
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([wiki("enwiki", 7)], "1 rows, the oracle has 2"),
        ([wiki("enwiki", 7), wiki("dewiki", 5)], "wiki 'dewiki', edits is 5, the oracle has 6"),
        ([wiki("dewiki", 6), wiki("enwiki", 7)], "place 1 has edits 6, the oracle 7"),
        ([wiki("enwiki", 7), wiki("itwiki", 6)], "wiki 'itwiki', not in the oracle"),
        ([wiki("enwiki", 7), wiki("enwiki", 7)], "wiki 'enwiki', once more than the oracle"),
    ],
)
def test_each_way_to_be_wrong_is_told(said: list[dict[str, Any]], told: str) -> None:
    assert told in "\n".join(BY_WIKI.differences(said, WORLD, WORLD))


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"bot": 6}, f"window_start {TEN + m.MINUTE}, registered is None, the oracle has 2"),
        ({"bot": 6, "registered": 2, "hidden": 1}, f"window_start {TEN + m.MINUTE}, hidden is 1, the oracle has None"),
    ],
)
def test_a_series_that_is_missing_or_too_much_is_told(second: dict[str, int], told: str) -> None:
    said = [{"window_start": TEN, "bot": 11}, {"window_start": TEN + m.MINUTE, **second}]
    assert BY_CLASS.differences(said, WORLD, WORLD) == [told]
    assert BY_CLASS.differences(said[:1], WORLD, WORLD) == [
        "1 rows, the oracle has 2",
        f"window_start {TEN + m.MINUTE}, not there",
    ]


def test_rows_themselves_may_be_there_twice() -> None:
    twice = replace(WORLD, tables={"activity": [ROWS[1], ROWS[1]]})
    rows = Question(of="activity", by=m.named("wiki", "edits"))
    assert rows.differences([wiki("dewiki", 4)] * 2, twice, twice) == []
    assert rows.differences([wiki("dewiki", 4)], twice, twice)
    assert rows.differences([wiki("dewiki", 4)] * 3, twice, twice)


def test_what_depends_on_the_moment_lies_between_before_and_after() -> None:
    def seconds(world: World) -> list[dict[str, Any]]:
        return [{"age": (milliseconds(world.now) - TEN) / 1000}]

    age, later = (
        Question(of=seconds, numbers={"age": m.total("age")}),
        replace(WORLD, now=NOW.replace("05:00", "05:02")),
    )
    assert age.differences([{"age": 301.5}], WORLD, later) == []
    assert age.differences([{"age": 299.9}], WORLD, later) == ["age is 299.9, the oracle has 300.0"]
    assert age.differences([{"age": 302.1}], WORLD, later)


def test_signs_nobody_sees_are_no_difference() -> None:
    steps = Question(of=lambda _: [{"step": "3–4"}], by=m.named("step"), numbers={"editors": m.count()})
    assert steps.differences([{"step": "\u200b\u200b\u200b3–4", "editors": 1}], WORLD, WORLD) == []


def test_lines_are_means_of_five_and_sums_so_far() -> None:
    rows = [{"window_start": n, "edits": n} for n in range(1, 8)]
    assert [row["edits"] for row in m.mean_of_five("edits")(rows)] == [1, 1.5, 2, 2.5, 3, 4, 5]
    some = [{"window_start": 1, "log": 2}, {"window_start": 2, "edit": 3}, {"window_start": 3, "log": 1, "edit": 1}]
    assert [(row["edit"], row["log"]) for row in m.added_up(some)] == [(0, 2), (3, 2), (4, 3)]


def test_a_published_hour_is_read_from_what_it_was_built_from(tmp_path: Path) -> None:
    for folder, edits in (("live", 5), ("built", 3)):
        (tmp_path / folder).mkdir()
        for table in ("activity", "user_activity", "page_activity", "edit_sizes", "recent_changes"):
            time = "event_time" if table == "recent_changes" else "window_start"
            lines = [{"columns": [time, "wiki", "edits"], "key": 2}]
            rows = [[f"2026-03-01T{hour}:00:00.000000Z", "dewiki", edits] for hour in ("09", "10")]
            text = "\n".join(map(json.dumps, [*lines, *rows]))
            (tmp_path / folder / f"{table}.ndjson").write_text(text, encoding="utf-8")
    tables = read(tmp_path / "live", {"2026-03-01T09": tmp_path / "built"}, {"dewiki": {"project": "wikipedia"}})
    told = [(row["hour"][-2:], row["edits"], row["layer"], row["project"]) for row in tables["activity"]]
    assert sorted(told) == [("09", 3, "batch", "wikipedia"), ("10", 5, "speed", "wikipedia")]
    assert [row["edits"] for row in tables["recent_changes"]] == [5, 5]


def test_a_minute_without_edits_has_no_share_and_is_not_on_the_line() -> None:
    rows = [activity("10:00", "dewiki", 0), activity("10:01", "dewiki", 4), activity("10:02", "dewiki", 0)]
    shares = [{"share": m.share("edits", lambda _: True)([row])} for row in rows]
    assert shares == [{"share": None}, {"share": 1}, {"share": None}]
    assert m.mean_of_five("share")(shares) == [{"share": 1}]


def test_hours_without_a_row_are_nought() -> None:
    rows = [{"window_start": TEN, "edits": 4}, {"window_start": TEN + 2 * 3_600_000, "edits": 8}]
    between = {"window_start": TEN + 3_600_000, "edits": 0}
    assert m.every_hour("edits")(rows) == [rows[0], between, rows[1]]
    assert m.every_hour("edits")([]) == []
