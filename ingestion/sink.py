"""Records into Kafka: kafka-python, idempotent, acks=all, lz4.

The surprising thing: `KafkaProducer.send` is not used on the way of the events. Two thirds of its time go into checks
that hold for all our records alike, and behind a full batch it wakes its network thread for *every* record. Measured
(60,000 events of 1.2 kB, two partitions, one broker): 50 µs of CPU a record through `send`, 31 µs through the
accumulator's own `append`. Both are Python under one lock, so this is the producer's throughput. The library is
pinned by hash; `tests/integration/test_producer.py` holds this path to the same results as `send`.
"""

from typing import Any, Protocol

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from wikiweir.settings import Settings
from wikiweir.topics import request_bytes

Headers = list[tuple[str, bytes]]

LINGER_MS = 10
"""Costs 10 ms of freshness at the live rate; in a catch-up batches fill while the one before is in flight."""
START_MS = 8_000
"""How long a start waits for Kafka before its supervisor has to try again; less than a stop may take."""
BATCH_BYTES = 1024**2
"""One batch a partition is in flight; 256 KiB gave 15,000 records/s where 1 MiB gave 19,600."""


class Delivery(Protocol):
    """The fate of one record. `exception` counts once `is_done`."""

    is_done: bool
    exception: BaseException | None


class Sink(Protocol):
    """Where records go. A delivery that is done without exception is safe on every broker that must have it."""

    def send(
        self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers, timestamp_ms: int
    ) -> Delivery:
        """Take a record; never blocks, however many are in flight: bounding them is the caller's duty."""
        ...

    def wait(self, delivery: Delivery, seconds: float) -> None:
        """Block until `delivery` is done, at most `seconds`; may return early."""
        ...

    def close(self, seconds: float) -> None:
        """Give up what is not done after `seconds`."""
        ...


class SinkUnavailableError(Exception):
    """Kafka cannot be reached, or its topics are not as declared."""


class KafkaSink:
    """The real one. Deliveries complete on kafka-python's network thread."""

    def __init__(self, settings: Settings) -> None:
        try:
            self._producer = KafkaProducer(
                bootstrap_servers=settings.kafka_bootstrap.split(","),
                client_id="wikiweir-producer",
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=LINGER_MS,
                batch_size=BATCH_BYTES,
                max_request_size=request_bytes(settings),
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=START_MS,
                max_block_ms=START_MS,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise SinkUnavailableError(
                f"expected Kafka at {settings.kafka_bootstrap}, no broker answered ({error}); "
                "start it, or set WIKIWEIR_KAFKA_BOOTSTRAP"
            ) from error
        self._accumulator: Any = self._producer._accumulator
        self._sender: Any = self._producer._sender
        self._partitions: dict[tuple[str, int], Any] = {}
        for topic, partitions in (
            (settings.events_topic, settings.kafka_partitions),
            (settings.dead_letters_topic, 1),
            (settings.cursors_topic, 1),
        ):
            self._check_topic(topic, partitions)

    def _check_topic(self, topic: str, partitions: int) -> None:
        try:
            found = self._producer.partitions_for(topic)
        except KafkaError as error:
            raise SinkUnavailableError(
                f"expected topic {topic}, Kafka says {error}; create it with `./weir up`"
            ) from error
        if found != set(range(partitions)):
            raise SinkUnavailableError(
                f"expected {partitions} partitions of {topic}, found {sorted(found or ())}; an id must stay in its "
                "partition, so another number means a new topic (WIKIWEIR_KAFKA_PARTITIONS, WIKIWEIR_EVENTS_TOPIC)"
            )
        for partition in range(partitions):
            self._partitions[topic, partition] = TopicPartition(topic, partition)

    def send(
        self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers, timestamp_ms: int
    ) -> Delivery:
        delivery: Delivery
        delivery, _full, is_new_batch, _aborted = self._accumulator.append(
            self._partitions[topic, partition], timestamp_ms, key, value, headers
        )
        if is_new_batch:  # a batch that became full is drained by the same wake-up: the next record opened this one
            self._sender.wakeup()
        return delivery

    def wait(self, delivery: Delivery, seconds: float) -> None:
        future: Any = delivery
        if not delivery.is_done:
            future._produce_future.wait(seconds)

    def close(self, seconds: float) -> None:
        self._producer.close(timeout=seconds)
