"""How an event travels through Kafka: topics' names, record headers, the cursor's JSON.

The Kafka value of an event is the exact bytes of the SSE data line; everything the relay knows
besides stands in two headers, each one short ASCII string, because kafka-python pays per header.
"""

import json
from dataclasses import dataclass

CANARY_DOMAIN = "canary"
"""`meta.domain` of Wikimedia's artificial heartbeat events."""

SOURCE_HEADER = "source"
RELAY_HEADER = "relay"
REASON_HEADER = "reason"
"""Why a record went to the dead-letter topic (dead letters only)."""


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """Where the source keeps the record: its own Kafka coordinates, and the time in the SSE id.

    Header form: ``topic;partition;offset;timestamp_ms``. `offset` and `timestamp_ms` are -1 when the
    source did not say.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    def encode(self) -> bytes:
        return f"{self.topic};{self.partition};{self.offset};{self.timestamp_ms}".encode()

    @classmethod
    def decode(cls, header: bytes) -> "SourcePosition":
        topic, partition, offset, timestamp_ms = header.decode().rsplit(";", 3)
        return cls(topic, int(partition), int(offset), int(timestamp_ms))


@dataclass(frozen=True, slots=True)
class RelayStamp:
    """Which producer run relayed the record, as its how-manieth, and when it was received.

    Header form: ``run;sequence;received_ms``. Sequences of one run start at 0 and have no hole over
    events and dead letters together, so that an acknowledged prefix is provable.
    """

    run: str
    sequence: int
    received_ms: int

    def encode(self) -> bytes:
        return f"{self.run};{self.sequence};{self.received_ms}".encode()

    @classmethod
    def decode(cls, header: bytes) -> "RelayStamp":
        run, sequence, received_ms = header.decode().rsplit(";", 2)
        return cls(run, int(sequence), int(received_ms))


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a stream is safely in Kafka: per source topic-partition the low watermark in ms.

    `base_ms` is where the stream was begun; it stands in for topics that have no watermark yet.
    Key of the compacted cursor topic: the stream's name. Value: this as JSON.
    """

    base_ms: int
    watermarks: dict[tuple[str, int], int]

    def encode(self) -> bytes:
        marks = [
            {"topic": topic, "partition": partition, "timestamp": ms}
            for (topic, partition), ms in sorted(self.watermarks.items())
        ]
        return json.dumps({"base": self.base_ms, "watermarks": marks}).encode()

    @classmethod
    def decode(cls, value: bytes) -> "Cursor":
        document = json.loads(value)
        return cls(
            base_ms=document["base"],
            watermarks={(mark["topic"], mark["partition"]): mark["timestamp"] for mark in document["watermarks"]},
        )
