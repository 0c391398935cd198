"""How a query is kept running, and which ends are final."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg2
import pytest

from jobs.lib.keeper import GIVE_UP_AFTER, BusyError, GaveUpError, Keeper
from jobs.lib.owner import FencedError, RefusedError, RetiredError
from jobs.lib.speed_sink import StoppedError


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Nobody waits."""


class Kept:
    """A keeper over lives that end as the list says; after the last one it is told to stop."""

    def __init__(self, *ends: BaseException | None) -> None:
        self.ends = list(ends)
        self.lives = 0
        self.states: list[str] = []
        self.final: list[Exception] = []
        self.retired = 0
        self.stop = threading.Event()

    def live_once(self) -> None:
        self.lives += 1
        end = self.ends.pop(0)
        if not self.ends:
            self.stop.set()
        if end is not None:
            raise end

    def on_retired(self) -> None:
        self.retired += 1

    def run(self) -> "Kept":
        kept = Keeper(
            "q",
            self.live_once,
            stop=self.stop,
            clock=StillClock(),
            on_state=lambda state, _: self.states.append(state),
            on_final=self.final.append,
            on_retired=self.on_retired,
            first_pause=0.0,
        )
        kept.start()
        kept.thread.join(20)
        assert not kept.thread.is_alive()
        return self


def test_a_failed_life_is_followed_by_another() -> None:
    kept = Kept(ValueError("odd"), None, ValueError("odd"), None).run()
    assert kept.lives == 4
    assert kept.states[-1] == "stopped"
    assert kept.final == []


@pytest.mark.parametrize("make", [FencedError, RefusedError])
def test_some_ends_are_final(make: Callable[[str], Exception]) -> None:
    kept = Kept(make("the end"), None, None).run()
    assert kept.lives == 1
    assert [type(final) for final in kept.final] == [make]


def test_a_retired_generation_is_let_go_and_the_next_life_begins_at_once() -> None:
    kept = Kept(RetiredError("old"), None).run()
    assert (kept.lives, kept.retired) == (2, 1)


def test_it_gives_up_on_a_query_that_fails_again_and_again() -> None:
    kept = Kept(*[ValueError("odd")] * (GIVE_UP_AFTER + 5)).run()
    assert kept.lives == GIVE_UP_AFTER
    assert isinstance(kept.final[0], GaveUpError)


@pytest.mark.parametrize("away", [psycopg2.OperationalError("down"), BusyError("locked"), ConnectionRefusedError()])
def test_it_waits_as_long_as_it_takes_for_what_is_away(away: Exception) -> None:
    kept = Kept(*[away] * (GIVE_UP_AFTER + 5)).run()
    assert kept.lives == GIVE_UP_AFTER + 5
    assert kept.final == []


def test_a_query_that_was_stopped_is_not_started_again() -> None:
    assert Kept(StoppedError("stop"), None).run().lives == 1
