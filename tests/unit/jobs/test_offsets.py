"""Where a query begins, and how positions are written down."""

import pytest

from jobs.lib.offsets import Gap, behind, covers, from_json, from_spark, starting_point, to_json, to_spark

EARLIEST = {0: 10, 1: 0}
LATEST = {0: 100, 1: 50}


def test_a_first_start_begins_at_the_earliest() -> None:
    start = starting_point(None, EARLIEST, LATEST)
    assert start.offsets == {0: 10, 1: 0}
    assert start.gaps == ()


def test_a_position_that_kafka_still_has_is_kept() -> None:
    assert starting_point({0: 10, 1: 50}, EARLIEST, LATEST).offsets == {0: 10, 1: 50}


def test_a_position_before_the_earliest_is_a_gap() -> None:
    start = starting_point({0: 4, 1: 7}, EARLIEST, LATEST)
    assert start.offsets == {0: 10, 1: 7}
    assert start.gaps == (Gap(0, 4, 10, "no longer in Kafka"),)


def test_a_new_partition_begins_at_its_earliest_without_a_gap() -> None:
    start = starting_point({0: 20}, {0: 0, 1: 3}, LATEST)
    assert start.offsets == {0: 20, 1: 3}
    assert start.gaps == ()


def test_a_topic_that_went_back_is_read_from_its_earliest() -> None:
    start = starting_point({0: 500, 1: 7}, EARLIEST, LATEST)
    assert start.offsets == {0: 10, 1: 7}
    assert start.gaps == (Gap(0, 100, 500, "the topic went back"),)


def test_a_partition_that_is_gone_is_told() -> None:
    assert starting_point({0: 20, 1: 1, 2: 9}, EARLIEST, LATEST).gaps == (Gap(2, 9, 9, "the partition is gone"),)


def test_lag_counts_what_is_missing_and_never_less_than_nothing() -> None:
    assert behind({0: 4, 1: 9}, {0: 10, 1: 5}) == 6
    assert behind({}, {0: 3}) == 3


def test_covers_needs_every_partition() -> None:
    assert covers({0: 5, 1: 5}, {0: 5})
    assert not covers({0: 5}, {0: 5, 1: 1})


def test_notations_come_back_equal() -> None:
    position = {1: 7, 0: 3}
    assert list(to_json(position)) == ["0", "1"]
    assert from_json(to_json(position)) == position
    assert from_spark("t", to_spark("t", position)) == position


@pytest.mark.parametrize("text", ['{"other": {"0": 1}}', "[]", "{}", '{"t": {"0": 1}, "u": {}}'])
def test_offsets_of_another_topic_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected offsets of the topic"):
        from_spark("t", text)
