"""Which hour is over for the producer."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.lib.hour_ends import hour_end
from wikiweir.hours import Hour
from wikiweir.records import Cursor

GRACE = timedelta(seconds=90)
TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def cursor(*seconds_after_ten: int) -> Cursor:
    marks = {(f"dc{n}", 0): ms(after) for n, after in enumerate(seconds_after_ten)}
    return Cursor(base_ms=ms(-7200), watermarks=marks)


def ms(after: int) -> int:
    return int((TEN + timedelta(seconds=after)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("after", "hour"),
    [(89, "2026-11-23T08"), (90, "2026-11-23T09"), (3689, "2026-11-23T09"), (3690, "2026-11-23T10")],
)
def test_an_hour_is_over_a_grace_after_its_end(after: int, hour: str) -> None:
    assert str(hour_end(cursor(after), {0: 5}, GRACE).hour) == hour


def test_the_data_centre_that_is_ahead_counts() -> None:
    assert hour_end(cursor(-9000, 100), {}, GRACE).cursor_at == TEN + timedelta(seconds=100)


def test_before_the_first_mark_the_base_counts() -> None:
    assert hour_end(cursor(), {}, GRACE).hour == Hour.parse("2026-11-23T06")
