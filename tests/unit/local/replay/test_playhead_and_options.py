"""The log's idea of now, and what the command line makes of its words."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.replay.__main__ import Memory, duration_s, parse_faults, parser, switch_at
from local.replay.faults import Faults, changed
from local.replay.playhead import Playhead


class FakeClock:
    """Time that stands until it is moved."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


def test_true_rate_is_the_time_of_day() -> None:
    clock = FakeClock(5000)
    playhead = Playhead(clock)
    playhead.start()
    clock.sleep(1)
    assert playhead.now_ms() == 6000


def test_a_fast_clock_catches_up_with_the_time_of_day_and_stays() -> None:
    clock = FakeClock(100_000)
    playhead = Playhead(clock, speed=60, begin_ms=40_000)
    clock.sleep(10)
    assert playhead.now_ms() == 40_000, "it waits for the first client"
    playhead.start()
    clock.sleep(0.5)
    assert playhead.now_ms() == 70_000
    clock.sleep(5)
    assert playhead.now_ms() == clock.now_ms()


def test_a_slow_clock_without_history_falls_behind() -> None:
    clock = FakeClock(100_000)
    playhead = Playhead(clock, speed=0.5)
    playhead.start()
    clock.sleep(10)
    assert playhead.now_ms() == 105_000


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("26h", 93_600), ("2d", 172_800)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


def test_wrong_words_are_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no duration"):
        duration_s("soon")
    with pytest.raises(argparse.ArgumentTypeError, match="eqiad, codfw"):
        switch_at("2h:esams")
    with pytest.raises(ValueError, match="expected NAME=VALUE"):
        parse_faults(["cut_after_s"])


def test_faults_from_the_command_line() -> None:
    given = parse_faults(["cut_after_s=3", "cut_mode=half_utf8", "retry_after=7", "silence=false", "cuts=null"])
    assert given == Faults(cut_after_s=3.0, cut_mode="half_utf8", retry_after="7")
    assert changed(given, {"cut_after_s": None}).cut_after_s is None


def test_help_names_every_fault() -> None:
    text = " ".join(parser().format_help().split())
    for name in Faults.__dataclass_fields__:
        assert f" {name}: " in text


def test_memory_recalls_and_refuses(tmp_path: Path) -> None:
    path = tmp_path / "run" / "state.json"
    first = Memory(path)
    assert first.recall("seed", 7, 1) == 7
    assert first.recall("rate", None, 37.0) == 37.0
    first.save(changes={"switches": []})
    assert json.loads(path.read_text()) == {"seed": 7, "rate": 37.0, "changes": {"switches": []}}
    again = Memory(path)
    assert again.recall("seed", None, 1) == 7
    with pytest.raises(ValueError, match="remembers seed 7, found 8; leave the option out"):
        again.recall("seed", 8, 1)
