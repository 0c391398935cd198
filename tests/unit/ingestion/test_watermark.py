"""Watermarks: never back, never ahead of unacknowledged data, unmoved by outliers."""

from hypothesis import given
from hypothesis import strategies as st

from ingestion.relay import Relay
from ingestion.watermark import WINDOW, Watermarks
from tests.unit.ingestion.support import CODFW, EQIAD, T0, MemorySink, an_event, data, event_id, relay

DAY = 86_400_000


def test_no_mark_before_the_window_is_full() -> None:
    marks = Watermarks()
    for n in range(WINDOW - 1):
        marks.advance(EQIAD, T0 + n)
    assert marks.marks == {}
    marks.advance(EQIAD, T0 + WINDOW)
    assert marks.marks == {EQIAD: T0}


@given(st.lists(st.integers(0, 10 * DAY), max_size=200), st.integers(0, 10 * DAY))
def test_it_never_goes_back_and_is_the_time_of_an_event(times: list[int], mark: int) -> None:
    marks = Watermarks({EQIAD: mark})
    before = mark
    for n, at in enumerate(times):
        marks.advance(EQIAD, at)
        now = marks.marks[EQIAD]
        assert now >= before
        assert now == mark or now in times[: n + 1]
        before = now


@given(
    st.lists(st.integers(0, 1_000), min_size=40, max_size=80).map(sorted),
    st.integers(0, 79),
    st.sampled_from([-3650 * DAY, 3650 * DAY]),
    st.integers(1, WINDOW - 1),
)
def test_outliers_do_not_move_it_beyond_the_ordinary(steps: list[int], place: int, off: int, count: int) -> None:
    times = [T0 + step for step in steps]
    odd = [*times[:place], *([T0 + off] * count), *times[place:]]
    marks = Watermarks()
    for at in odd:
        marks.advance(EQIAD, at)
    found = marks.marks.get(EQIAD, T0)
    assert min(times) <= found <= max(times)
    if off < 0:  # events dated in the past must not have taken it back from where it was before them
        ordinary = Watermarks()
        for at in times[:place]:
            ordinary.advance(EQIAD, at)
        assert found >= ordinary.marks.get(EQIAD, T0)


@given(st.permutations(range(40)), st.integers(0, 40))
def test_any_order_of_acknowledgement_leaves_it_behind_what_is_unacknowledged(order: list[int], done: int) -> None:
    sink = MemorySink(is_eager=False)
    made, _, _ = relay(sink)
    submit(made, range(40))
    for number in order[:done]:
        sink.sent[number].is_done = True
        made.poll()
    unacknowledged = sorted(set(range(40)) - set(order[:done]))
    mark = made.cursor.watermarks.get(EQIAD, T0)
    if unacknowledged:
        assert mark <= T0 + unacknowledged[0]
    else:
        assert mark == T0 + 40 - WINDOW


def test_left_out_it_runs_ahead() -> None:
    """The counter-proof: with progress at submission the property above is false."""
    made, _, _ = relay(MemorySink(is_eager=False), is_progress_acknowledged=False)
    submit(made, range(40))
    assert made.cursor.watermarks[EQIAD] > T0


def submit(made: Relay, numbers: range) -> None:
    for n in numbers:
        assert made.submit(an_event(data(n), event_id((EQIAD, T0 + n), (CODFW, -1))), T0)
