"""One way of bringing an SSE stream into Kafka, as a process: reads `count` events, says when all were acknowledged.

`usual` is what people write after reading the README of each library, `framing` is the floor under everybody: the
socket read and cut into frames, nothing decoded, nothing sent. The surprising thing: what makes `usual` slow is less
JSON than kafka-python's checksum, which is pure Python unless the optional package `crc32c` is there.
"""

import argparse
import json
import random
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wikiweir.clock import SystemClock
from wikiweir.records import Cursor
from wikiweir.settings import Settings

STREAM = "/v2/stream/recentchange"
USER_AGENT = "wikiweir-bench/1 (bench@localhost)"


def usual(url: str, bootstrap: str, topic: str, count: int) -> None:
    """sseclient-py over requests, json.loads and json.dumps, a producer as it comes."""
    import requests
    import sseclient
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=bootstrap, value_serializer=lambda event: json.dumps(event).encode("utf-8")
    )
    headers = {"Accept": "text/event-stream", "User-Agent": USER_AGENT}
    response = requests.get(url + STREAM, stream=True, headers=headers, timeout=60)
    left = count
    # the response itself: so the README of sseclient-py has it, and so it is read in pieces of 128 bytes
    for event in sseclient.SSEClient(response).events():  # type: ignore[arg-type] # sseclient only iterates it
        if event.event != "message" or not event.data:
            continue
        producer.send(topic, json.loads(event.data))
        left -= 1
        if not left:
            break
    producer.flush()


def usual_without_crc32c(url: str, bootstrap: str, topic: str, count: int) -> None:
    """The same where nobody thought of installing `crc32c`."""
    sys.modules["crc32c"] = None  # type: ignore[assignment] # an import of it now fails, as where it is not installed
    from kafka.record import util

    assert util.crc32c_c is None, "kafka-python was imported before crc32c was hidden; the variant measures nothing"
    usual(url, bootstrap, topic, count)


def ours(url: str, bootstrap: str, topic: str, count: int) -> None:
    """The real producer's source, relay and sink, pumped by its own loop until `count` are taken, then flushed."""
    from ingestion.app import pump
    from ingestion.metrics import Tally
    from ingestion.relay import Relay
    from ingestion.sink import KafkaSink
    from ingestion.source import Source

    clock, tally = SystemClock(), Tally()
    settings = topic_settings(topic, bootstrap).model_copy(update={"source_url": url})

    sink = KafkaSink(settings)
    relay = Relay(sink, settings, Cursor(0, {}), run="bench", clock=clock, tally=tally)
    source = Source(settings, lambda: relay.begin_connection(0), clock=clock, chance=random.Random(1), tally=tally)
    pump(source, relay, threading.Event(), clock, stop_after=count)
    if not relay.flush(60):
        raise TimeoutError(f"{tally.in_flight} records were not acknowledged within 60 s")
    source.close()


def topic_settings(topic: str, bootstrap: str) -> Settings:
    """Settings of a producer with topics of its own."""
    names = {"events_topic": topic, "dead_letters_topic": f"{topic}.dead-letters", "cursors_topic": f"{topic}.cursors"}
    return Settings(kafka_bootstrap=bootstrap, **names)  # type: ignore[arg-type] # names, all text


def framing(url: str, bootstrap: str, topic: str, count: int) -> None:
    """The limit: the socket's bytes, cut at blank lines."""
    import requests

    headers = {"Accept": "text/event-stream", "User-Agent": USER_AGENT}
    response = requests.get(url + STREAM, stream=True, headers=headers, timeout=60)
    left, rest = count, b""
    for chunk in response.iter_content(chunk_size=None):
        *frames, rest = (rest + chunk).split(b"\n\n")
        left -= sum(frame.startswith(b"event: message") for frame in frames)
        if not left:
            return
    raise EOFError(f"expected {count} frames, the stream ended {left} short")


VARIANTS: dict[str, Callable[[str, str, str, int], None]] = {
    "ours": ours,
    "usual": usual_without_crc32c,
    "usual_crc32c": usual,
    "framing": framing,
}


def peak_mib() -> float:
    """Most memory this program has held (Linux); `ru_maxrss` begins with that of whoever started us."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run one variant and print when it was done and what processor time it took, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    args = parser.parse_args()
    VARIANTS[args.variant](args.url, args.bootstrap, args.topic, args.count)
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer: dict[str, Any] = {
        "acknowledged": SystemClock().monotonic(),
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": peak_mib(),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
