"""Back-off: bounded, jittered, honest about what the server asks for."""

import random
from datetime import UTC, datetime

import pytest

from ingestion.backoff import LONGEST_RETRY_AFTER_SECONDS, LONGEST_SECONDS, Backoff, Cause, parse_retry_after

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def backoff(seed: int = 1) -> Backoff:
    return Backoff(random.Random(seed))


def test_a_planned_cut_is_answered_at_once_however_often() -> None:
    made = backoff()
    assert [made.delay(Cause.PLANNED_CUT, healthy=True) for _ in range(5)] == [0.0] * 5


def test_ceilings_double_from_one_second_to_sixty_and_are_fully_jittered() -> None:
    series = []
    for seed in range(400):
        made = backoff(seed)
        series.append([made.delay(Cause.HTTP_5XX, healthy=False) for _ in range(10)])
    for attempt, delays in enumerate(zip(*series, strict=True)):
        ceiling = min(LONGEST_SECONDS, 2.0**attempt)
        assert max(delays) <= ceiling
        assert max(delays) > ceiling * 0.9
        assert min(delays) < ceiling * 0.1


def test_only_a_healthy_period_resets_it() -> None:
    made, calm = backoff(), []
    for _ in range(8):
        made.delay(Cause.CONNECT, healthy=False)
    for seed in range(200):
        made._chance = random.Random(seed)
        made.delay(Cause.CONNECT, healthy=False)
        calm.append(made.delay(Cause.RESET, healthy=True))
    assert max(calm) <= 1.0


def test_429_without_a_time_waits_long() -> None:
    delays = [backoff(seed).delay(Cause.HTTP_429, healthy=False) for seed in range(100)]
    assert 30 <= min(delays) <= max(delays) <= 60


@pytest.mark.parametrize("cause", [Cause.HTTP_429, Cause.HTTP_5XX])
def test_retry_after_is_honoured_with_a_jitter_after_it(cause: Cause) -> None:
    delays = [backoff(seed).delay(cause, healthy=False, retry_after=7) for seed in range(50)]
    assert 7 <= min(delays) <= max(delays) <= 8
    assert len(set(delays)) > 10


def test_retry_after_is_bounded() -> None:
    assert backoff().delay(Cause.HTTP_5XX, healthy=False, retry_after=1e9) <= LONGEST_RETRY_AFTER_SECONDS + 1


def test_retry_field_is_a_lower_bound_of_every_wait() -> None:
    made = backoff()
    made.server_retry_seconds = 2.5
    assert made.delay(Cause.PLANNED_CUT, healthy=True) == 2.5
    assert made.delay(Cause.RESET, healthy=True) >= 2.5


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120.0),
        ("Mon, 23 Nov 2026 09:02:00 GMT", 120.0),
        ("Mon, 23 Nov 2026 08:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
        ("-5", None),
    ],
)
def test_retry_after_header(header: str | None, expected: float | None) -> None:
    assert parse_retry_after(header, NOW) == expected
