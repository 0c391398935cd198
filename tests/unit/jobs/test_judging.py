"""Which records of a batch count: order of judgement, first copies, the floor."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from jobs.lib.judging import Floor, Judged, distinct_days, distinct_hours, first_copies, in_order, judge, later_copies

HOUR = datetime(2026, 11, 23, 9, tzinfo=UTC)


def table(*rows: dict[str, Any]) -> pa.Table:
    """Records, each with what is not said filled in."""
    whole = [
        {
            "partition": 0,
            "offset": number,
            "event_id": f"id{number}",
            "key_hour": HOUR,
            "event_hour": HOUR,
            "outcome": "fact",
            "reason": "",
            **row,
        }
        for number, row in enumerate(rows)
    ]
    instant = pa.timestamp("us", "UTC")
    types = {"partition": pa.int32(), "offset": pa.int64(), "key_hour": instant, "event_hour": instant}
    names = list(whole[0])
    return pa.table({n: pa.array([row[n] for row in whole], types.get(n, pa.string())) for n in names})


def judged(records: pa.Table, known: set[str] = frozenset(), floor: Floor = Floor()) -> Judged:  # type: ignore[assignment]  # noqa: B008
    ordered = in_order(records)
    later = later_copies(ordered)
    ids = first_copies(ordered, later)
    numbers = [n for n, name in zip(ids["n"].to_pylist(), ids["id"].to_pylist(), strict=True) if name in known]
    return judge(ordered, later, ids, numbers, floor)


def outcomes(found: Judged) -> list[str]:
    return list(found.records["outcome"].to_pylist())


def test_the_first_copy_by_partition_and_offset_counts() -> None:
    found = judged(table({"event_id": "a", "offset": 7}, {"event_id": "a", "offset": 3}, {"event_id": "b"}))
    assert found.records["offset"].to_pylist() == [2, 3, 7]
    assert outcomes(found) == ["fact", "fact", "duplicate"]
    assert found.facts["offset"].to_pylist() == [2, 3]
    assert found.new_ids["id"].to_pylist() == ["a", "b"]


def test_one_id_in_two_key_hours_is_two_ids() -> None:
    found = judged(table({"event_id": "a"}, {"event_id": "a", "key_hour": HOUR + timedelta(hours=1)}))
    assert outcomes(found) == ["fact", "fact"]


def test_records_without_an_id_are_never_copies() -> None:
    nameless = {"event_id": None, "outcome": "rejected", "reason": "no_meta_id"}
    found = judged(table(nameless, nameless))
    assert outcomes(found) == ["rejected", "rejected"]
    assert found.new_ids.num_rows == 0
    assert found.facts.num_rows == 0


def test_a_first_copy_that_is_rejected_makes_the_good_second_a_duplicate() -> None:
    found = judged(table({"event_id": "a", "outcome": "rejected", "reason": "title_too_long"}, {"event_id": "a"}))
    assert outcomes(found) == ["rejected", "duplicate"]
    assert found.records["reason"].to_pylist() == ["title_too_long", ""]
    assert found.new_ids["id"].to_pylist() == ["a"]


def test_canaries_take_part() -> None:
    canary = {"event_id": "c", "outcome": "canary"}
    assert outcomes(judged(table(canary, canary))) == ["canary", "duplicate"]
    assert outcomes(judged(table(canary), {"c"})) == ["duplicate"]


def test_below_the_floor_is_left_to_the_batch_unless_it_is_known() -> None:
    floor = Floor("2026-11-23 09:00:00+00", int(HOUR.timestamp() * 1_000_000))
    rows = table(
        {"event_id": "old"},
        {"event_id": "known"},
        {"event_id": "young", "key_hour": HOUR + timedelta(hours=1)},
        {"event_id": None, "outcome": "rejected", "reason": "no_meta_id"},
    )
    found = judged(rows, {"known"}, floor)
    assert outcomes(found) == ["left_to_batch", "duplicate", "fact", "rejected"]
    assert found.new_ids["id"].to_pylist() == ["young"]
    assert found.remembered(floor)["event_id"].to_pylist() == ["young"]


def test_the_account_by_hour_closes() -> None:
    rows = table(
        {"event_id": "a"}, {"event_id": "a"}, {"event_id": None, "outcome": "rejected", "reason": "no_meta_id"}
    )
    counted = {(r["outcome"], r["reason"]): r["records"] for r in judged(rows).outcomes().to_pylist()}
    assert counted == {("fact", ""): 1, ("duplicate", ""): 1, ("rejected", "no_meta_id"): 1}


def test_hours_and_days_of_instants_before_and_after_1970() -> None:
    instants = [datetime(1969, 12, 31, 23, 59, tzinfo=UTC), HOUR + timedelta(minutes=59)]
    column = pa.chunked_array([pa.array(instants, pa.timestamp("us", "UTC"))])
    assert distinct_hours(column) == [datetime(1969, 12, 31, 23, tzinfo=UTC), HOUR]
    assert distinct_days(column) == [datetime(1969, 12, 31, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 29))
def test_any_cut_into_two_batches_counts_the_same(ids: list[int], cut: int) -> None:
    rows = [{"event_id": f"i{number}", "offset": at} for at, number in enumerate(ids)]
    whole = judged(table(*rows))
    first = judged(table(*rows[:cut]))
    seen = set(first.facts["event_id"].to_pylist())
    second = outcomes(judged(table(*rows[cut:]), seen)) if rows[cut:] else []
    assert outcomes(first) + second == outcomes(whole)
