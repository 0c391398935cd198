"""The endless log: any position can be made again, and always the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.replay.invent import Mixture
from local.replay.log import Line, Record
from local.replay.seconds import Recipe
from local.replay.synthetic import TOPICS, SyntheticLog

EPOCH = 1_795_480_000
RECIPE = Recipe(seed=7, epoch_s=EPOCH, rate=12.0, duplicates=0.05, mixture=Mixture(late=0.01, odd=0.01))
EQIAD, CODFW = TOPICS


def log(seconds: float = 120.0, recipe: Recipe = RECIPE, changes: dict[str, Any] | None = None) -> SyntheticLog:
    return SyntheticLog(recipe, now_ms=int((EPOCH + seconds) * 1000), changes=changes)


def everything(of: SyntheticLog) -> list[Record]:
    out: list[Record] = []
    while more := of.read(len(out), 1000):
        out += more
    return out


WHOLE = everything(log(1000))


def test_same_recipe_same_records() -> None:
    assert everything(log(1000)) == WHOLE
    assert everything(log(1000, Recipe(seed=8, epoch_s=EPOCH, rate=12.0))) != WHOLE


def test_a_longer_history_only_adds() -> None:
    shorter = everything(log(300))
    assert shorter == WHOLE[: len(shorter)]


def test_offsets_and_places_have_no_hole() -> None:
    assert [r.seq for r in WHOLE] == list(range(len(WHOLE)))
    for topic, first in ((EQIAD, 6_512_000_000), (CODFW, 2_043_000_000)):
        offsets = [r.offset for r in WHOLE if r.topic == topic]
        assert offsets == list(range(first, first + len(offsets)))


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 40))
def test_reading_from_anywhere(seq: int, limit: int) -> None:
    assert SHARED.read(seq, limit) == WHOLE[seq : seq + limit]


@settings(max_examples=60)
@given(st.integers(EPOCH * 1000 - 5000, EPOCH * 1000 + 1_001_000), st.sampled_from(TOPICS))
def test_offset_at_as_a_scan_would_find_it(ms: int, topic: str) -> None:
    expected = next((r.offset for r in WHOLE if r.topic == topic and r.kafka_ms >= ms), None)
    assert SHARED.offset_at(topic, ms) == expected


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE) - 1))
def test_every_offset_has_its_place(index: int) -> None:
    assert SHARED.seq_of(WHOLE[index].topic, WHOLE[index].offset) == index


SHARED = log(1000)


def test_the_head_moves_with_time_and_shows_nothing_early() -> None:
    moving = log(10)
    before = everything(moving)
    moving.advance((EPOCH + 10) * 1000 + 500)
    after = everything(moving)
    assert after[: len(before)] == before
    assert after == WHOLE[: len(after)]
    assert all(r.kafka_ms <= (EPOCH + 10) * 1000 + 500 for r in after)
    moving.advance((EPOCH + 9) * 1000)
    assert moving.end_seq == len(after), "it never goes back"
    assert moving.end_offset(EQIAD) == after[-1].offset + 1


def test_data_centre_switch_and_injection_survive_a_restart() -> None:
    first = log(20)
    before = first.end_offset(EQIAD)
    first.switch("codfw")
    first.append(Line(EQIAD, 5, b"odd", None))
    first.append(Line("mediawiki.unknown", 6, b'{"meta":{"id":"x"', b"}}"))
    first.advance((EPOCH + 40) * 1000)
    records = everything(first)
    late = [r for r in records if r.kafka_ms >= (EPOCH + 21) * 1000]
    assert {r.topic for r in late} == {CODFW}
    assert next(r for r in records if r.line() == b"odd").topic == EQIAD
    assert first.end_offset(EQIAD) > before
    assert everything(log(40, changes=first.changes())) == records


def test_a_second_that_has_begun_is_closed() -> None:
    with pytest.raises(ValueError, match="has begun"):
        log(20).switch_at(EPOCH + 20, "codfw")


def test_retention_cut() -> None:
    cut = log(100)
    cut.retain_from((EPOCH + 60) * 1000)
    first = cut.first_offset(EQIAD)
    assert cut.read(0, 1)[0].offset == first
    assert cut.read(0, 1)[0].kafka_ms >= (EPOCH + 60) * 1000 - 1
    assert cut.offset_at(EQIAD, 0) == first


def test_backdated_events_carry_their_kafka_time_and_stay_in_place() -> None:
    poisoned = log(60, Recipe(seed=7, epoch_s=EPOCH, rate=12.0, mixture=Mixture(backdated=0.05)))
    records = everything(poisoned)
    old = [r for r in records if r.kafka_ms < EPOCH * 1000]
    assert 5 < len(old) < 100
    assert poisoned.offset_at(EQIAD, (EPOCH + 30) * 1000) == next(
        r.offset for r in records if r.topic == EQIAD and r.kafka_ms >= (EPOCH + 30) * 1000
    )


def test_a_topic_of_another_stream_is_empty() -> None:
    other = "eqiad.mediawiki.page-create"
    assert SHARED.first_offset(other) == SHARED.end_offset(other) == 0
    assert SHARED.offset_at(other, 0) is None
    assert SHARED.seq_of(other, 0) == SHARED.end_seq
