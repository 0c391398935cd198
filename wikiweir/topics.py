"""The Kafka topics, declared once: partitions, retention, compression, size limit, and why.

`local/` creates them from here with the admin client, a cluster's operator from the same values. The surprising
thing: the broker's `max.message.bytes` bounds a *batch*, so it stands above the largest event, not at it.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from wikiweir.settings import Settings

HEADROOM_BYTES = 1024**2
"""Key, headers, batch framing, and what a codec adds to bytes that do not compress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as it must exist before the first program starts. `config` holds Kafka's own names."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str] = field(default_factory=dict)
    why: str


def request_bytes(settings: Settings) -> int:
    """The largest batch or request that one event can make: limit of producer, topic and consumer alike."""
    return settings.max_event_bytes + HEADROOM_BYTES


def declarations(settings: Settings) -> tuple[Topic, ...]:
    """Every topic of an instance: events, dead letters, cursors."""
    replication = settings.kafka_replication
    common = {
        # With acks=all: a write counts once a second broker has it, where there is a second broker.
        "min.insync.replicas": str(min(2, replication)),
        "unclean.leader.election.enable": "false",
        # The receive time, stamped by the producer: freshness is measured from it.
        "message.timestamp.type": "CreateTime",
        # Batches stay as the producer compressed them (lz4): the broker never packs anew.
        "compression.type": "producer",
        "max.message.bytes": str(request_bytes(settings)),
    }
    return (
        Topic(
            name=settings.events_topic,
            partitions=settings.kafka_partitions,
            replication=replication,
            config={
                **common,
                "cleanup.policy": "delete",
                "retention.ms": _ms(settings.keep.kafka),
                "retention.bytes": str(settings.keep.kafka_bytes),
                # Retention deletes whole segments: a day's segment lets data live at most a day too long.
                "segment.ms": _ms(min(timedelta(days=1), settings.keep.kafka)),
            },
            why="Exact bytes of each SSE data line, by crc32(meta.id): one id, one partition, so that the first copy "
            "by (partition, offset) is the same for every reader. Retention outlives what a lost checkpoint needs.",
        ),
        Topic(
            name=settings.dead_letters_topic,
            partitions=1,
            replication=replication,
            config={
                **common,
                "cleanup.policy": "delete",
                # The only place where these bytes are: kept as long as bronze keeps the others, within a bound.
                "retention.ms": _ms(settings.keep.bronze),
                "retention.bytes": str(1024**3),
            },
            why="What could not become an event: at most the first 64 KiB of it, with reason, length and sha256.",
        ),
        Topic(
            name=settings.cursors_topic,
            partitions=1,
            replication=replication,
            config={
                **common,
                "cleanup.policy": "compact",
                # Written once a second, 200 bytes each: small segments and an eager cleaner keep a start's read short.
                "segment.bytes": str(1024**2),
                "segment.ms": _ms(timedelta(hours=1)),
                "min.cleanable.dirty.ratio": "0.1",
                "max.compaction.lag.ms": _ms(timedelta(hours=2)),
            },
            why="How far each stream is safely in Kafka; the last value of a key is all that counts.",
        ),
    )


def _ms(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))
