"""Which hours a run builds; PostgreSQL's answers are given by a cursor that holds them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.lib.plan import Wish, plan
from jobs.lib.snapshot import Held
from wikiweir.hours import Hour

TOUCHED = Wish(touched=True)
NOW = datetime(2026, 11, 23, 12, 20, tzinfo=UTC)


def hour(number: int) -> Hour:
    return Hour(datetime(2026, 11, 23, number, tzinfo=UTC))


class Answers:
    """What `ops` says: accounted rows, what hours wait for, which are to be judged again, were kept back or pruned."""

    def __init__(
        self,
        accounted: dict[Hour, int],
        waiting: dict[Hour, str],
        pending: tuple[Hour, ...],
        blocked: dict[Hour, int],
        pruned: dict[Hour, datetime],
    ) -> None:
        self.accounted, self.waiting, self.pending = accounted, waiting, pending
        self.blocked, self.pruned = blocked, pruned
        self.rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str, values: tuple[list[datetime]] | None = None) -> None:
        if "pending" in statement:
            self.rows = [(each.start,) for each in self.pending]
        elif "hour_blocked" in statement:
            self.rows = [(str(each), rows) for each, rows in self.blocked.items()]
        elif "pruned" in statement:
            self.rows = [(each.start, pruned_at) for each, pruned_at in self.pruned.items()]
        elif values is None:
            self.rows = [(each.start, records) for each, records in self.accounted.items()]
        else:
            self.rows = [(start, self.waiting.get(Hour(start))) for start in values[0]]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows


def planned(
    held: dict[Hour, Held],
    accounted: dict[Hour, int],
    waiting: dict[Hour, str],
    *,
    pending: tuple[Hour, ...] = (),
    blocked: dict[Hour, int] | None = None,
    pruned: tuple[Hour, ...] = (),
    wish: Wish = TOUCHED,
    at_most: int = 9,
) -> Any:
    answers = Answers(accounted, waiting, pending, blocked or {}, dict.fromkeys(pruned, NOW))
    return plan(answers, held, wish, NOW, at_most=at_most)  # type: ignore[arg-type]


def test_hours_with_more_rows_than_are_accounted_for_newest_first() -> None:
    held = {hour(n): Held(rows=100 + n, files=1) for n in range(8, 12)}
    found = planned(held, {hour(8): 108, hour(9): 108, hour(10): 110}, {})
    assert found.hours == (hour(11), hour(9))


def test_the_running_hour_is_not_built() -> None:
    assert (
        planned({hour(12): Held(5, 1), Hour(NOW.replace(minute=0) + timedelta(hours=30)): Held(5, 1)}, {}, {}).hours
        == ()
    )


def test_an_hour_that_lost_rows_to_retention_is_left_alone() -> None:
    assert planned({hour(3): Held(2, 1)}, {hour(3): 100}, {}).hours == ()


def test_an_hour_that_waits_is_left_to_a_later_run() -> None:
    found = planned({hour(9): Held(1, 1), hour(11): Held(1, 1)}, {}, {hour(11): "the lake"})
    assert (found.hours, found.waiting) == ((hour(9),), {hour(11): "the lake"})


def test_an_hour_that_is_to_be_judged_again_is_built_again() -> None:
    held = {hour(n): Held(rows=5, files=1) for n in (8, 9)}
    assert planned(held, {hour(8): 5, hour(9): 5}, {}, pending=(hour(8), hour(2))).hours == (hour(8),)


def test_an_hour_that_was_kept_back_is_tried_again_when_there_is_more_of_it() -> None:
    held = {hour(n): Held(rows=5, files=1) for n in (8, 9)}
    found = planned(held, {}, {}, blocked={hour(8): 5, hour(9): 4})
    assert found.hours == (hour(9),)
    assert list(found.waiting) == [hour(8)]
    assert planned(held, {}, {}, blocked={hour(8): 5}, wish=Wish(hour=hour(8))).hours == (hour(8),), "it is asked for"


def test_a_catch_up_goes_on_in_the_next_run() -> None:
    found = planned({hour(n): Held(1, 1) for n in range(10)}, {}, {}, at_most=3)
    assert found.hours == (hour(9), hour(8), hour(7))
    assert found.later == 7


def test_the_hour_asked_for_comes_first_and_does_not_wait() -> None:
    held = {hour(n): Held(rows=5, files=1) for n in (8, 9)}
    found = planned(held, {}, {hour(8): "the lake"}, wish=Wish(hour=hour(8), touched=True))
    assert (found.hours, found.waiting) == ((hour(8), hour(9)), {})
    assert planned(held, {hour(8): 5}, {}, wish=Wish(hour=hour(8))).hours == (hour(8),), "though nothing has changed"


def test_an_hour_that_bronze_has_no_row_of_is_not_published() -> None:
    assert planned({}, {}, {}, wish=Wish(hour=hour(8))).hours == ()
    assert planned({}, {hour(8): 5}, {}, wish=Wish(hour=hour(8))).hours == (), "it had some: what is published stays"


def test_a_range_is_what_the_lake_holds_of_it() -> None:
    held = {hour(n): Held(rows=5, files=1) for n in (5, 7, 8, 9)}
    assert planned(held, {hour(8): 5}, {}, wish=Wish(first=hour(6), last=hour(8))).hours == (hour(8), hour(7))


def test_an_hour_whose_bronze_was_pruned_is_never_built_again() -> None:
    held = {hour(n): Held(rows=2, files=1) for n in (7, 8, 9)}  # late rows of 7 and 8, or all that a killed run left
    accounted = {hour(n): 100 for n in (6, 7)}
    reason = "its rows in bronze were pruned on 2026-11-23; what was published of it stays"
    gone = (hour(6), hour(7), hour(8))
    found = planned(held, accounted, {hour(8): "the lake"}, pruned=gone)
    assert (found.hours, found.waiting) == ((hour(9),), {hour(8): reason})
    found = planned(held, accounted, {}, pruned=gone, pending=(hour(7),), at_most=1)
    assert (found.hours, found.waiting, found.later) == ((hour(9),), {hour(8): reason, hour(7): reason}, 0)
    for asked in gone:
        found = planned(held, accounted, {}, pruned=gone, wish=Wish(hour=asked))
        assert (found.hours, found.waiting) == ((), {asked: reason})
    found = planned(held, accounted, {}, pruned=gone, wish=Wish(first=hour(5), last=hour(9)))
    assert (found.hours, set(found.waiting)) == ((hour(9),), {hour(7), hour(8)})
