"""The producer as a process over real Kafka and real HTTP: no loss, exact bytes, loud faults, a clean stop.

Needs the jars (`WIKIWEIR_TOOLCHAIN`, which `./weir test` sets). The replay server is the instance's own.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from ingestion.app import run
from ingestion.cursor import load_cursor
from ingestion.relay import DeliveryError
from ingestion.sink import Delivery, KafkaSink, Sink, SinkUnavailableError
from local.kafka import Broker, admin
from local.ports import free_port
from tests.integration.parts import wait_for
from tests.unit.ingestion.support import (
    EQIAD,
    T0,
    MemorySink,
    ScriptedServer,
    Sent,
    data,
    event_id,
    frame,
    frames,
    stream,
)
from wikiweir.records import RelayStamp, SourcePosition
from wikiweir.settings import PROJECT, Settings
from wikiweir.topics import declarations

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("producer") / "kafka") as started:
        yield started


@pytest.fixture
def instance(broker: Broker, request: pytest.FixtureRequest) -> Settings:
    """Settings with topics of one's own, created as declared."""
    name = f"t{zlib.crc32(request.node.nodeid.encode()):08x}"
    made = Settings(
        _env_file=None,  # type: ignore[call-arg]
        kafka_bootstrap=broker.bootstrap,
        events_topic=f"{name}.events",
        dead_letters_topic=f"{name}.dead-letters",
        cursors_topic=f"{name}.cursors",
        producer_port=free_port(),
        source_url=f"http://127.0.0.1:{free_port()}",
        since="0",
    )
    create(made)
    return made


def create(settings: Settings, **overrides: str) -> None:
    client = admin(settings.kafka_bootstrap)
    try:
        client.create_topics(
            [
                NewTopic(t.name, t.partitions, t.replication, topic_configs={**t.config, **overrides})
                for t in declarations(settings)
            ]
        )
    finally:
        client.close()


def records(settings: Settings, topic: str) -> list[Any]:
    """Everything in a topic, partition by partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=16 * 1024**2
    )
    try:
        partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(p) < ends[p] for p in partitions):
            for some in consumer.poll(timeout_ms=500, max_records=10_000).values():
                found += some
        return sorted(found, key=lambda r: (r.partition, r.offset))
    finally:
        consumer.close()


def ask(url: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an address; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, {}


@dataclass
class Producer:
    """`python -m ingestion` with these settings."""

    settings: Settings
    log: Path

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        names = ["kafka_bootstrap", "events_topic", "dead_letters_topic", "cursors_topic", "source_url", "since"]
        names += ["producer_port", "contact", "read_timeout_seconds", "max_in_flight"]
        values = {name: getattr(self.settings, name) for name in names}
        env = {f"WIKIWEIR_{name.upper()}": str(value) for name, value in values.items() if value is not None}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingestion"],
                cwd=PROJECT,
                env={**os.environ, **env, "WIKIWEIR_HOME": str(self.log.parent)},
                stdout=log,
                stderr=log,
            )

    def health(self) -> tuple[int, dict[str, Any]]:
        return ask(f"http://127.0.0.1:{self.settings.producer_port}/healthz")

    def acknowledged(self) -> int:
        return int(self.health()[1].get("acknowledged", 0))

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Callable[[Settings], Producer]]:
    made: list[Producer] = []

    def start(settings: Settings) -> Producer:
        made.append(Producer(settings, tmp_path / "producer.log"))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.kill()


@dataclass
class Replay:
    """The replay server, with the log of what it sent."""

    url: str
    sent_file: Path

    def sent(self) -> set[str]:
        """Ids that have been sent at least once."""
        lines = self.sent_file.read_text().split("\n") if self.sent_file.exists() else []
        return {json.loads(line)["id"] for line in lines[:-1]}

    def fault(self, **faults: Any) -> None:
        body = json.dumps(faults).encode()
        request = urllib.request.Request(f"{self.url}/_admin/faults", data=body, method="POST")
        urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Callable[..., Replay]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> Replay:
        port, sent = free_port(), tmp_path / "sent.ndjson"
        command = [sys.executable, "-m", "local.replay", "--port", str(port), "--send-log", str(sent), *arguments]
        with (tmp_path / "replay.log").open("wb") as log:
            processes.append(subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log))
        wait_for(lambda: ask(f"http://127.0.0.1:{port}/_admin/state")[0] == 200, 30)
        return Replay(f"http://127.0.0.1:{port}", sent)

    yield start
    for process in processes:
        process.kill()
        process.wait()


def ids_of(found: list[Any]) -> list[str]:
    return [json.loads(record.value)["meta"]["id"] for record in found]


def assert_sequences_have_no_hole(found: list[Any]) -> dict[str, list[int]]:
    """Per producer run; what a kill cut off is a tail, never a hole. The runs' sequences."""
    runs: dict[str, list[int]] = {}
    for record in found:
        stamp = RelayStamp.decode(dict(record.headers)["relay"])
        runs.setdefault(stamp.run, []).append(stamp.sequence)
    return {name: sorted(sequences) for name, sequences in runs.items()}


# the sinks' contract


@pytest.fixture(params=["memory", "kafka"])
def sink(request: pytest.FixtureRequest, instance: Settings) -> Iterator[tuple[Sink, Callable[[str], list[Any]]]]:
    """A sink, and how to read a topic of it."""
    if request.param == "memory":
        memory = MemorySink()
        yield memory, memory.of
        return
    kafka = KafkaSink(instance)
    yield kafka, lambda topic: records(instance, topic)
    kafka.close(1)


def wait_for_all(sink: Sink, deliveries: list[Delivery]) -> None:
    deadline = time.monotonic() + 30
    for delivery in deliveries:
        while not delivery.is_done and time.monotonic() < deadline:
            sink.wait(delivery, 1)


def test_contract_of_a_sink(sink: tuple[Sink, Callable[[str], list[Any]]], instance: Settings) -> None:
    made, read = sink
    headers = [("source", b"a;0;1;2"), ("relay", b"run;0;3")]
    deliveries = [
        made.send(instance.events_topic, n % 2, b"key %d" % n, b"value %d \xc3\xbc" % n, headers, T0 + n)
        for n in range(5_000)
    ]
    wait_for_all(made, deliveries)
    assert all(delivery.is_done and delivery.exception is None for delivery in deliveries)
    found = sorted(read(instance.events_topic), key=lambda r: (r.partition, r.key.split()[1].zfill(5)))
    assert [(r.key, r.value, _time(r), dict(r.headers)) for r in found] == [
        (b"key %d" % n, b"value %d \xc3\xbc" % n, T0 + n, dict(headers))
        for partition in (0, 1)
        for n in range(partition, 5_000, 2)
    ]


def _time(record: Any) -> int:
    return int(record.timestamp_ms if isinstance(record, Sent) else record.timestamp)


def test_the_accumulators_way_makes_the_same_records_as_send(instance: Settings) -> None:
    """kafka-python's private `append`, which the sink uses, against its public `send`."""
    sink = KafkaSink(instance)
    headers = [("source", b"a;0;1;2"), ("relay", b"run;0;3")]
    for n in range(300):
        value = os.urandom(n * 10)
        sink.send(instance.events_topic, 0, b"key %d" % n, value, headers, T0 + n)
        sink._producer.send(instance.events_topic, value, b"key %d" % n, headers, 1, T0 + n)
    sink._producer.flush(30)
    sink.close(1)
    found = records(instance, instance.events_topic)
    ours = [(r.key, r.value, r.timestamp, r.headers) for r in found if r.partition == 0]
    theirs = [(r.key, r.value, r.timestamp, r.headers) for r in found if r.partition == 1]
    assert len(ours) == 300
    assert ours == theirs


def test_another_number_of_partitions_is_refused(instance: Settings) -> None:
    with pytest.raises(SinkUnavailableError, match="expected 3 partitions"):
        KafkaSink(instance.model_copy(update={"kafka_partitions": 3}))


def test_no_broker_is_said(instance: Settings) -> None:
    with pytest.raises(SinkUnavailableError, match="WIKIWEIR_KAFKA_BOOTSTRAP"):
        KafkaSink(instance.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{free_port()}"}))


# the whole producer in this process, over a scripted server


def relay_all(settings: Settings, body: bytes, count: int) -> None:
    """Run the producer over one connection's body until `count` records are taken."""
    server = ScriptedServer(stream(body, hold=threading.Event()))
    try:
        run(settings.model_copy(update={"source_url": server.url}), threading.Event(), stop_after=count)
    finally:
        server.close()


def test_odd_records_arrive_whole_or_as_dead_letters(instance: Settings) -> None:
    good = [
        data(1, title="Zürich \u2028 東京 🌊"),
        data(2, comment="x").replace(b'"x"', b'"\\u0000 \\ud800"'),
        data(3, comment="m" * 1024**2),
        data(4, type="142", log_params=[1, "two"]),
        data(5).replace(b"nowhere.example.org", b"canary").replace(b',"type":"edit"', b""),
        data(6, comment=os.urandom(4_900_000).hex()),  # nearly 10 MB, and compresses badly
    ]
    bad = [
        (b'{"meta":{"id":"x"', b"invalid_json"),
        (b'{"meta":{}}', b"no_meta_id"),
        (data(7, comment="#").replace(b"#", b"\xff\xfe"), b"invalid_utf8"),
        (data(8, comment="y" * 10 * 1024**2), b"too_large"),
    ]
    endless = b"data: " + b"z" * 15 * 1024**2 + b"\n\n"
    lines = [*good[:3], *(line for line, _ in bad), *good[3:]]
    body = b":ok\n\n" + b"".join(frame(line, event_id((EQIAD, T0 + n))) for n, line in enumerate(lines))
    relay_all(instance, body + endless + frame(data(9), None) + b"data: truncated", len(lines) + 2)
    found = records(instance, instance.events_topic)
    assert sorted(r.value for r in found) == sorted([*good, data(9)])
    assert all(r.key.decode() == json.loads(r.value)["meta"]["id"] for r in found)
    assert all(r.partition == zlib.crc32(r.key) % 2 for r in found)
    letters = records(instance, instance.dead_letters_topic)
    expected = [*bad, (endless, b"too_large")]
    for letter, (line, reason) in zip(letters, expected, strict=True):
        headers = dict(letter.headers)
        assert headers["reason"] == reason
        assert letter.value == line[: 64 * 1024]
        assert headers["bytes"] == str(len(line)).encode()
        assert headers["sha256"] == hashlib.sha256(line).hexdigest().encode()
        SourcePosition.decode(headers["source"])
    (sequence,) = assert_sequences_have_no_hole(found + letters).values()
    assert sequence == list(range(len(lines) + 2))


def test_a_record_that_kafka_refuses_stops_the_process(instance: Settings) -> None:
    small = instance.model_copy(update={"events_topic": instance.events_topic + ".small"})
    client = admin(small.kafka_bootstrap)
    client.create_topics([NewTopic(small.events_topic, 2, 1, topic_configs={"max.message.bytes": "100000"})])
    client.close()
    body = frames(range(10)) + frame(data(10, comment=os.urandom(200_000).hex()), event_id((EQIAD, T0 + 10)))
    with pytest.raises(DeliveryError, match="Kafka did not take a record"):
        relay_all(small, body, 11)


def test_the_first_cursor_is_there_before_the_first_event(instance: Settings) -> None:
    stop = threading.Event()
    stop.set()
    run(instance.model_copy(update={"since": "2026-11-23T09:00:00Z"}), stop)
    cursor = load_cursor(instance.kafka_bootstrap, instance.cursors_topic, instance.streams)
    assert cursor is not None
    assert (cursor.base_ms, cursor.watermarks) == (1_795_424_400_000, {})


# the process, over the replay server


def test_everything_sent_is_in_kafka_and_a_stop_is_clean(
    instance: Settings, producer: Callable[[Settings], Producer], replay: Callable[..., Replay]
) -> None:
    server = replay("--history", "3m", "--rate", "60")
    made = producer(instance.model_copy(update={"source_url": server.url}))
    wait_for(lambda: made.acknowledged() >= 10_000, 60, lambda: made.log.read_text()[-3000:])
    assert made.health()[0] == 200
    began = time.monotonic()
    assert made.stop() == 0
    assert time.monotonic() - began < 10
    in_kafka = ids_of(records(instance, instance.events_topic))
    assert server.sent() - set(in_kafka) == unread(server, in_kafka)
    made.start()
    wait_for(lambda: made.acknowledged() > 0, 30, lambda: made.log.read_text()[-3000:])
    wait_for(lambda: server.sent() <= set(ids_of(records(instance, instance.events_topic))), 30)
    assert made.stop() == 0
    text = made.log.read_text()
    assert "gap:" not in text
    assert "Traceback" not in text


def unread(server: Replay, in_kafka: list[str]) -> set[str]:
    """What stood in socket buffers when the producer stopped: only the newest of what was sent."""
    lines = [json.loads(line)["id"] for line in server.sent_file.read_text().split("\n")[:-1]]
    # each at its first sending: the source repeats some ids later, and a repeat left unread is no event left unread
    lines = list(dict.fromkeys(lines))
    there = set(in_kafka)
    last = max(n for n, identity in enumerate(lines) if identity in there)
    return set(lines[last + 1 :])


def test_killed_again_and_again_nothing_is_lost_and_only_the_overlap_comes_twice(
    instance: Settings, producer: Callable[[Settings], Producer], replay: Callable[..., Replay]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    server = replay("--history", "20m", "--rate", "37", "--flat-rate", "--duplicates", "0", "--no-canaries")
    server.fault(max_rate=6000)
    made = producer(instance.model_copy(update={"source_url": server.url}))
    floors, hits = [], 0
    for _ in range(5):
        wait_for(lambda: made.acknowledged() > 0, 60, lambda: made.log.read_text()[-3000:])
        time.sleep(chance.uniform(0.2, 1.5))  # so that the kill hits anywhere
        made.kill()
        in_kafka = set(ids_of(records(instance, instance.events_topic)))
        hits += bool(server.sent() - in_kafka)
        cursor = load_cursor(instance.kafka_bootstrap, instance.cursors_topic, instance.streams)
        assert cursor is not None
        marks = [ms for ms in cursor.watermarks.values() if ms > cursor.base_ms]
        floors.append(min(marks) - 120_000 if marks else 0)
        made.start()
    wait_for(lambda: len(server.sent()) > 40_000, 90, lambda: made.log.read_text()[-3000:])
    wait_for(lambda: server.sent() <= set(ids_of(records(instance, instance.events_topic))), 60)
    assert made.stop() == 0
    assert hits >= 1, f"no kill found events sent and not in Kafka (seed {seed})"
    found = records(instance, instance.events_topic)
    runs: dict[str, list[Any]] = {}
    for record in sorted(found, key=lambda r: r.timestamp):
        runs.setdefault(RelayStamp.decode(dict(record.headers)["relay"]).run, []).append(record)
    assert len(runs) == 6
    for floor, again in zip(floors, list(runs.values())[1:], strict=True):
        oldest = min(SourcePosition.decode(dict(r.headers)["source"]).timestamp_ms for r in again)
        assert oldest >= floor - 30_000, f"a restart went back further than its overlap (seed {seed})"
    for sequence in assert_sequences_have_no_hole(found).values():
        assert sequence[0] == 0
    values: dict[str, bytes] = {}
    for record in found:
        assert values.setdefault(record.key.decode(), record.value) == record.value, "copies have the same bytes"
    assert max(Counter(ids_of(found)).values()) <= 6


def test_a_broker_that_stands_still_holds_the_source_and_shows_in_health(
    broker: Broker,
    instance: Settings,
    producer: Callable[[Settings], Producer],
    replay: Callable[..., Replay],
) -> None:
    server = replay("--history", "60m", "--rate", "37", "--duplicates", "0")
    server.fault(max_rate=4000)
    made = producer(instance.model_copy(update={"source_url": server.url, "max_in_flight": 2000}))
    wait_for(lambda: made.acknowledged() > 4000, 60, lambda: made.log.read_text()[-3000:])
    broker.pause()
    try:
        wait_for(lambda: made.health()[0] == 503, 30, made.health)
        assert "Kafka does not answer" in made.health()[1]["reason"]
        assert made.health()[1]["in_flight"] <= 2000
        sent = len(server.sent())
        time.sleep(2)  # nothing may happen in it: a producer that went on reading would have taken 8,000
        assert len(server.sent()) == sent, "the source is not read meanwhile"
    finally:
        broker.resume()
    wait_for(lambda: made.health()[0] == 200, 30, made.health)
    wait_for(lambda: len(server.sent()) > sent + 5000, 60)
    made.stop()
    in_kafka = ids_of(records(instance, instance.events_topic))
    assert server.sent() - set(in_kafka) == unread(server, in_kafka)


def test_live_without_a_contact_is_a_configuration_error(
    instance: Settings, producer: Callable[[Settings], Producer]
) -> None:
    made = producer(instance.model_copy(update={"source_url": "https://stream.wikimedia.org"}))
    assert made.process.wait(30) == os.EX_CONFIG
    assert "WIKIWEIR_CONTACT" in made.log.read_text()


def test_a_stream_that_does_not_exist_is_a_configuration_error(
    instance: Settings, producer: Callable[[Settings], Producer], replay: Callable[..., Replay]
) -> None:
    server = replay("--history", "1m")
    stop = threading.Event()
    with pytest.raises(Exception, match="asking again cannot help"):
        run(instance.model_copy(update={"source_url": server.url, "streams": "meadow"}), stop)
