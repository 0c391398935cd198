"""Hours: half open, UTC, one spelling."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wikiweir.hours import Hour

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(-62_135_596_800_000_000, 4_102_444_800_000_000).map(
    lambda micros: EPOCH + timedelta(microseconds=micros)
)


@given(INSTANTS)
def test_an_instant_lies_in_its_hour_and_the_spelling_is_its_own(instant: datetime) -> None:
    hour = Hour.of(instant)
    assert hour.start <= instant < hour.end
    assert hour.end - hour.start == timedelta(hours=1)
    assert Hour.parse(str(hour)) == hour


def test_an_hour_elsewhere_is_an_hour_of_utc() -> None:
    nepal = timezone(timedelta(hours=5, minutes=45))
    assert str(Hour.of(datetime(2026, 11, 23, 9, 10, tzinfo=nepal))) == "2026-11-23T03"


@pytest.mark.parametrize("text", ["2026-11-23", "2026-11-23T24", "2026-11-23T09:30", "yesterday", ""])
def test_another_spelling_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="2026-11-23T09"):
        Hour.parse(text)


@pytest.mark.parametrize("start", [datetime(2026, 11, 23, 9), datetime(2026, 11, 23, 9, 1, tzinfo=UTC)])  # noqa: DTZ001
def test_only_full_hours_of_utc(start: datetime) -> None:
    with pytest.raises(ValueError, match="start of an hour"):
        Hour(start)
