"""Lag, age, and when a query counts as unwell; by a clock that is moved by hand."""

from datetime import UTC, datetime, timedelta

from jobs.lib.progress import STALL_SECONDS, QueryProgress


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def now_ms(self) -> int:
        return int(self.now().timestamp() * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def query(clock: HandClock) -> QueryProgress:
    found = QueryProgress(name="speed", clock=clock, trigger_seconds=1.0)
    found.set_state("running", "")
    return found


def commit(found: QueryProgress, end: int, records: int = 1) -> None:
    found.committed(checkpoint_id="c", batch_id=end, end_offsets={0: end}, records={"fact": records})


def lags(found: QueryProgress) -> tuple[int, float | None]:
    return found.lag, found.seconds_behind


def test_seconds_behind_is_the_age_of_the_newest_end_that_was_reached() -> None:
    clock = HandClock()
    found = query(clock)
    assert found.seconds_behind is None
    found.kafka_is_at({0: 10})
    clock.sleep(5)
    found.kafka_is_at({0: 20})
    assert lags(found) == (20, 5.0)
    commit(found, 10)
    clock.sleep(2)
    assert lags(found) == (10, 7.0)
    commit(found, 20)
    assert lags(found) == (0, 0.0)


def test_a_query_that_is_behind_and_commits_nothing_becomes_unwell_and_well_again() -> None:
    clock = HandClock()
    found = query(clock)
    commit(found, 10)
    found.kafka_is_at({0: 10})
    clock.sleep(1000)
    assert found.complaint() is None, "nothing to do is no illness"
    found.kafka_is_at({0: 11})
    clock.sleep(STALL_SECONDS + 5)
    assert "committed nothing" in str(found.complaint())
    commit(found, 11)
    assert found.complaint() is None


def test_a_state_other_than_running_is_told_with_its_reason() -> None:
    found = query(HandClock())
    found.set_state("waiting", "no PostgreSQL")
    assert found.complaint() == "speed is waiting: no PostgreSQL"
    assert found.row()["message"] == "no PostgreSQL"
    commit(found, 1)
    assert found.complaint() is None


def test_rate_is_over_the_last_half_minute() -> None:
    clock = HandClock()
    found = query(clock)
    commit(found, 1, records=300)
    assert found.rows_per_second == 10.0
    clock.sleep(31)
    assert found.rows_per_second == 0.0


def test_what_was_in_before_this_life_is_not_behind() -> None:
    clock = HandClock()
    found = query(clock)
    found.kafka_is_at({0: 10})
    found.stands_at(checkpoint_id="c", end_offsets={0: 10})
    clock.sleep(1000)
    assert (found.lag, found.seconds_behind, found.complaint()) == (0, 0.0, None)
    assert found.records == {}
