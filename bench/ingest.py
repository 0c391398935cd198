"""Ingest: from the first byte on the socket to the last acknowledgement of a real Kafka, four ways, interleaved.

Every variant reads the same body from a server in a process of its own, and is itself a process; start-up is not timed.
The surprising thing: broker, server and producer share two cores, so processor seconds stand beside the rate.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from bench import lib_events, lib_result
from bench.lib_blob import BlobServer
from bench.lib_ingest_variants import topic_settings
from bench.lib_result import Bar, Document, UnequalAnswersError
from local.kafka import Broker, create_topics
from wikiweir.clock import SystemClock

VARIANTS = {
    "ours": "Wikiweir's producer",
    "usual_crc32c": "usual way, with crc32c",
    "usual": "usual way, as installed",
    "framing": "framing only (limit)",
}
FIRST_MS = 1_775_001_600_000
"""2026-04-01T00:00:00Z: the same bytes in every run."""


def run(*, count: int = 60_000, rounds: int = 3, is_quick: bool = False) -> Document:
    """Measure, check, print and write `ingest.json`."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        body, expected, described = _body(Path(folder), count)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
        digests: dict[str, set[str]] = {name: set() for name in VARIANTS}
        with Broker(Path(folder) / "kafka") as broker:
            for number in range(rounds):
                for name in VARIANTS:
                    topic = f"bench.{name}.{number}"
                    create_topics(topic_settings(topic, broker.bootstrap))
                    runs[name].append(_run(name, body, broker.bootstrap, topic, count))
                    if name != "framing":
                        digests[name].add(_check(name, broker.bootstrap, topic, expected))
                    lib_result.console.print(
                        f"  round {number + 1} {name}: {runs[name][-1]['per_second']:,.0f} events/s"
                    )
    return _report(runs, digests, described, count, rounds, is_quick)


def _body(folder: Path, count: int) -> tuple[Path, dict[str, bytes], Document]:
    """The SSE body, the data line of each id, and what it is."""
    shapes, source = lib_events.templates()
    expected: dict[str, bytes] = {}
    path = folder / "body.sse"
    with path.open("wb") as file:
        file.write(b":ok\n\n")
        for event in lib_events.events(count, first_ms=FIRST_MS, shapes=shapes):
            file.write(event.frame)
            expected[event.id] = event.data
    bytes_each = sum(map(len, expected.values())) / count
    described = {
        "events": count,
        "bytes_per_event": round(bytes_each),
        "shaped_by": source,
        "transport": "chunked HTTP, loopback",
    }
    return path, expected, described


def _run(name: str, body: Path, bootstrap: str, topic: str, count: int) -> dict[str, float]:
    """One variant, once: seconds from first byte to all acknowledged."""
    with BlobServer(body) as server:
        command = [
            sys.executable,
            "-m",
            "bench.lib_ingest_variants",
            name,
            "--url",
            server.url,
            "--bootstrap",
            bootstrap,
        ]
        command += ["--topic", topic, "--count", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"variant {name} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
        answer = json.loads(done.stdout.splitlines()[-1])
        seconds = answer["acknowledged"] - server.first_byte()
    return {
        "seconds": seconds,
        "per_second": count / seconds,
        "cpu_seconds": answer["cpu_seconds"],
        "peak_mib": answer["peak_mib"],
    }


def _check(name: str, bootstrap: str, topic: str, expected: dict[str, bytes]) -> str:
    """Every event is there once, with the bytes (ours) or the document (the others) that was sent; a digest of all."""
    records = 0
    found: dict[str, tuple[bytes, Any]] = {}
    for value in _values(bootstrap, topic):
        event = json.loads(value)
        found[event["meta"]["id"]] = (value, event)
        records += 1
    if records != len(expected) or found.keys() != expected.keys():
        missing, extra = len(expected.keys() - found.keys()), len(found.keys() - expected.keys())
        raise UnequalAnswersError(
            f"{name}: expected {len(expected)} records, found {records}; {missing} ids missing, {extra} never sent"
        )
    digest = hashlib.sha256()
    for event_id in sorted(expected):
        value, event = found[event_id]
        if name == "ours" and value != expected[event_id]:
            raise UnequalAnswersError(f"{name}: the bytes of {event_id} are not those that were sent")
        digest.update(json.dumps(event, sort_keys=True).encode())
    return digest.hexdigest()


def _values(bootstrap: str, topic: str) -> Iterator[bytes]:
    """All values of a topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=16 * 1024**2
    )
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        clock, deadline = SystemClock(), SystemClock().monotonic() + 120
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            if clock.monotonic() > deadline:
                raise TimeoutError(f"topic {topic} could not be read to its end {ends} within 120 s")
            for records in consumer.poll(timeout_ms=1000, max_records=10_000).values():
                yield from (record.value for record in records)
    finally:
        consumer.close()


def _report(
    runs: dict[str, list[dict[str, float]]],
    digests: dict[str, set[str]],
    described: Document,
    count: int,
    rounds: int,
    is_quick: bool,
) -> Document:
    """Ratios, the table, the file."""
    if len(set().union(*digests.values())) != 1:
        raise UnequalAnswersError("the variants' topics hold different events")
    rate = {name: median(lib_result.flat(runs[name], "per_second")) for name in VARIANTS}
    bars = [
        Bar("ours against the usual way as installed", rate["ours"] / rate["usual"], 5),
        Bar("ours against the usual way with crc32c", rate["ours"] / rate["usual_crc32c"], 1.8),
        Bar("ours, socket to acknowledged", rate["ours"], 12_000, "events/s"),
    ]
    variants = {
        name: {
            "what": VARIANTS[name],
            **{key: lib_result.summary(lib_result.flat(runs[name], key)) for key in runs[name][0]},
            "ours_is_faster_by": round(rate["ours"] / rate[name], 2),
        }
        for name in VARIANTS
    }
    document = {
        "machine": lib_result.machine(),
        "input": described,
        "rounds": rounds,
        "variants": variants,
        "answers_equal": True,
        "answers": f"{count} records, the same ids and documents in every variant's topic; ours byte for byte",
    }
    lib_result.show(
        f"ingest: {count:,} events, socket → acknowledged, median of {rounds} interleaved runs",
        ["variant", "events/s", "ours ÷ it", "seconds", "its CPU s", "peak MiB"],
        [
            [
                VARIANTS[name],
                rate[name],
                float(rate["ours"] / rate[name]),
                *(float(median(lib_result.flat(runs[name], key))) for key in ("seconds", "cpu_seconds", "peak_mib")),
            ]
            for name in VARIANTS
        ],
    )
    lib_result.show_bars(bars)
    path = lib_result.write("ingest", document, bars, is_quick=is_quick)
    lib_result.console.print(f"  {path}")
    return document
