"""Gaps: the source's history is shorter than the interruption."""

from ingestion.cursor import resume_point
from ingestion.gaps import FIRST_EVENTS, GapWatch
from tests.unit.ingestion.support import CODFW, EQIAD, T0
from wikiweir.records import Cursor

HOUR = 3_600_000
REACHED = T0 + 10 * HOUR


def watch(cursor: Cursor) -> GapWatch:
    return GapWatch(resume_point(cursor, 120_000), now_ms=T0 + 20 * HOUR)


def test_history_that_reaches_back_is_none() -> None:
    made = watch(Cursor(T0, {EQIAD: REACHED}))
    assert made.missing_ms(EQIAD, REACHED - 119_000) == 0
    assert not made.is_watching
    assert made.missing_ms(EQIAD, REACHED + HOUR) == 0, "only the first event of a connection is asked"


def test_history_that_begins_later_is_one() -> None:
    assert watch(Cursor(T0, {EQIAD: REACHED})).missing_ms(EQIAD, REACHED + HOUR) == HOUR


def test_the_idle_data_centre_says_nothing() -> None:
    made = watch(Cursor(T0, {EQIAD: REACHED, CODFW: T0}))
    assert made.missing_ms(CODFW, REACHED + HOUR) == 0
    assert made.is_watching


def test_a_first_start_in_the_past_is_judged_by_the_earliest_of_many() -> None:
    made = watch(Cursor(T0, {}))
    assert made.missing_ms(CODFW, T0 + HOUR) == 0
    assert [made.missing_ms(EQIAD, T0 + n) for n in range(FIRST_EVENTS)] == [0] * FIRST_EVENTS
    made = watch(Cursor(T0, {}))
    found = [made.missing_ms(EQIAD, T0 + HOUR + n) for n in range(FIRST_EVENTS)]
    assert found == [0] * (FIRST_EVENTS - 1) + [HOUR]


def test_a_first_start_now_is_not_watched() -> None:
    assert not GapWatch(resume_point(Cursor(T0, {}), 120_000), now_ms=T0 + 1).is_watching
    assert not GapWatch(resume_point(Cursor(0, {}), 120_000), now_ms=T0).is_watching, "asked for all there is"
