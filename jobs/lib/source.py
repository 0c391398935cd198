"""The events topic as Spark's stream, and how both queries are waited for.

The surprising thing: positions are always given as numbers, never as `earliest`, so that what a checkpoint began with
is known to us and not only to Spark.
"""

import threading
from collections.abc import Callable, Mapping

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from jobs.lib.offsets import to_spark
from wikiweir.clock import Clock
from wikiweir.settings import Settings
from wikiweir.topics import request_bytes

LOOK_SECONDS = 0.5
FINISH_SECONDS = 8.0


def kafka_records(
    spark: SparkSession,
    settings: Settings,
    start: Mapping[int, int],
    max_events: int,
    *,
    with_headers: bool = False,
) -> DataFrame:
    """Records of the events topic; `start` counts only where the checkpoint is new."""
    options = {
        "kafka.bootstrap.servers": settings.kafka_bootstrap,
        "subscribe": settings.events_topic,
        "startingOffsets": to_spark(settings.events_topic, start),
        "maxOffsetsPerTrigger": str(max_events),
        "includeHeaders": str(with_headers).lower(),
        # Data that retention took is a gap to be recorded, not to be read over.
        "failOnDataLoss": "true",
        "kafka.max.partition.fetch.bytes": str(request_bytes(settings)),
        # Spark polls only for records that are there. By default the fetch that a poll sends ahead at the log's end
        # waits half a second there, and Spark's next question stands in line behind it: in every live micro-batch.
        "kafka.fetch.max.wait.ms": "0",
        "kafka.default.api.timeout.ms": "20000",
        "kafka.request.timeout.ms": "15000",
    }
    return spark.readStream.format("kafka").options(**options).load()


def wait_for_end(
    query: StreamingQuery, stop: threading.Event, clock: Clock, look: Callable[[], None] = lambda: None
) -> None:
    """Until the query has ended, which raises its error, or `stop` is set, which stops it; `look` now and then."""
    try:
        while not stop.wait(LOOK_SECONDS):
            look()
            if not query.isActive:
                query.awaitTermination()
                return
        # A batch that is under way is let finish: Spark would abort it with an error the length of a book.
        deadline = clock.monotonic() + FINISH_SECONDS
        while query.isActive and query.status["isTriggerActive"] and clock.monotonic() < deadline:
            clock.sleep(0.02)
    finally:
        query.stop()  # one that went on would refuse its successor
