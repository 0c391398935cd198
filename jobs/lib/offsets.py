"""Kafka positions: the next offset to read of each partition, in the three notations that meet here.

Spark writes ``{"topic": {"0": 12}}``, the ledger holds ``{"0": 12}``, Python works with ``{0: 12}``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition

Offsets = dict[int, int]
"""Partition to the next offset to read."""


def to_json(offsets: Mapping[int, int]) -> dict[str, int]:
    """As a JSON object, partitions in order."""
    return {str(partition): offset for partition, offset in sorted(offsets.items())}


def from_json(document: Mapping[str, int]) -> Offsets:
    """From a JSON object with partitions as names."""
    return {int(partition): int(offset) for partition, offset in document.items()}


def to_spark(topic: str, offsets: Mapping[int, int]) -> str:
    """As Spark's Kafka source takes them."""
    return json.dumps({topic: to_json(offsets)})


def from_spark(topic: str, text: str) -> Offsets:
    """As Spark writes them; a text about another topic is a `ValueError`."""
    document = json.loads(text)
    if not isinstance(document, dict) or set(document) != {topic}:
        raise ValueError(f"expected offsets of the topic {topic!r}, found {text[:200]!r}")
    return from_json(document[topic])


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets of one partition that nobody can read any more, or that never came back: [first, end)."""

    partition: int
    first: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin reading, and what is missing before it."""

    offsets: Offsets
    gaps: tuple[Gap, ...] = ()


def starting_point(wanted: Mapping[int, int] | None, earliest: Mapping[int, int], latest: Mapping[int, int]) -> Start:
    """Begin at `wanted` as far as Kafka still has it; a new partition and a first start begin at the earliest.

    A position beyond Kafka's end means that the topic lost its tail or was made anew: what is there now is read from
    the earliest on, because ids tell what was counted before, and offsets no longer do.
    """
    offsets: Offsets = {}
    gaps: list[Gap] = []
    for partition, first in sorted(earliest.items()):
        position = (wanted or {}).get(partition, first)
        if position < first:
            gaps.append(Gap(partition, position, first, "no longer in Kafka"))
            position = first
        elif position > latest[partition]:
            gaps.append(Gap(partition, latest[partition], position, "the topic went back"))
            position = first
        offsets[partition] = position
    for partition, position in sorted((wanted or {}).items()):
        if partition not in earliest:
            gaps.append(Gap(partition, position, position, "the partition is gone"))
    return Start(offsets, tuple(gaps))


def behind(position: Mapping[int, int], end: Mapping[int, int]) -> int:
    """How many offsets `position` has yet to read to reach `end`."""
    return sum(max(0, offset - position.get(partition, 0)) for partition, offset in end.items())


def covers(position: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Whether `position` is at or past `other` in every partition."""
    return all(position.get(partition, 0) >= offset for partition, offset in other.items())


class Topic:
    """What the broker says about one topic. Not for several threads at once."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap.split(","),
            client_id="wikiweir-offsets",
            enable_auto_commit=False,
            request_timeout_ms=10_000,
            reconnect_backoff_max_ms=2_000,
        )

    def _partitions(self) -> list[TopicPartition]:
        partitions: Iterable[int] | None = self._consumer.partitions_for_topic(self.topic)
        if not partitions:
            raise LookupError(f"expected the Kafka topic {self.topic!r}, found none; `./weir up` creates it")
        return [TopicPartition(self.topic, partition) for partition in sorted(partitions)]

    def earliest(self) -> Offsets:
        """The first offset that Kafka still has."""
        found = self._consumer.beginning_offsets(self._partitions(), timeout_ms=10_000)
        return {key.partition: offset for key, offset in found.items()}

    def latest(self) -> Offsets:
        """The offset that the next record will get."""
        found = self._consumer.end_offsets(self._partitions(), timeout_ms=10_000)
        return {key.partition: offset for key, offset in found.items()}

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
