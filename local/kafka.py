"""A real Kafka, one broker and controller in one JVM, from jars: its files, its command, a handle, its topics.

The surprising thing: the controller is named by the static `controller.quorum.voters`, not by `--standalone`,
because that would write its port into the log for ever, and a restored instance gets other ports.
"""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from local import ports, toolchain
from local.processes import NotReadyError, Program, tail
from wikiweir.clock import Clock
from wikiweir.settings import Settings
from wikiweir.topics import HEADROOM_BYTES, declarations

JVM_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")
"""Measured: 340 MB RSS and ready after 2 s; a second compiler tier does not pay for one quiet broker."""

LOG4J = """\
# Rendered by local.kafka. Everything goes to standard output; the supervisor keeps and rotates it.
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}{UTC} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a broker lives and listens."""

    folder: Path
    port: int
    controller_port: int
    max_event_bytes: int = 10 * 1024**2

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def log4j(self) -> Path:
        return self.folder / "log4j2.properties"


def render_properties(layout: Layout) -> str:
    """`server.properties` of a single small broker that listens on loopback only."""
    largest = layout.max_event_bytes + HEADROOM_BYTES
    lines = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{ports.LOOPBACK}:{layout.controller_port}",
        "listeners": f"PLAINTEXT://{ports.LOOPBACK}:{layout.port},CONTROLLER://{ports.LOOPBACK}:{layout.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{ports.LOOPBACK}:{layout.port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": layout.data,
        "auto.create.topics.enable": "false",
        "message.max.bytes": largest,
        "replica.fetch.max.bytes": largest,
        "socket.request.max.bytes": 100 * 1024**2,
        # one broker: nothing can be replicated
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # after a kill the controller waits for the dead broker's session to end: measured 12.8 s with Kafka's 9 s
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 750,
        # one small machine: fewer threads, and a cleaner that does not take a quarter of the heap
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 1024**2,
        "log.segment.bytes": 256 * 1024**2,
    }
    return "# Rendered by local.kafka at every start.\n" + "".join(f"{name}={value}\n" for name, value in lines.items())


def command(layout: Layout, *, java_home: str | None = None, main: str = "kafka.Kafka") -> list[str]:
    """The command line of a Kafka program; `kafka.Kafka` is the broker."""
    class_path = ":".join(str(jar) for jar in toolchain.jars("kafka"))
    return [
        str(toolchain.java(java_home)),
        *JVM_OPTIONS,
        f"-Dlog4j2.configurationFile={layout.log4j.as_uri()}",
        "-cp",
        class_path,
        main,
        *([str(layout.properties)] if main == "kafka.Kafka" else []),
    ]


def prepare(layout: Layout, *, java_home: str | None = None) -> None:
    """Write the configuration, and format the storage at the first start. Costs a JVM start only then."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.properties.write_text(render_properties(layout), encoding="utf-8")
    layout.log4j.write_text(LOG4J, encoding="utf-8")
    if (layout.data / "meta.properties").exists():
        return
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").lstrip("-")
    storage_tool = command(layout, java_home=java_home, main="kafka.tools.StorageTool")
    done = subprocess.run(
        [*storage_tool, "format", "--cluster-id", cluster, "--config", str(layout.properties), "--ignore-formatted"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NotReadyError(f"Kafka's storage could not be formatted in {layout.data}:\n{done.stdout}{done.stderr}")


class Broker:
    """A broker of one's own, for tests and benchmarks. A context manager: leaving it kills the broker."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        controller_port: int | None = None,
        *,
        java_home: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        free = ports.free_ports(2)
        self.layout = Layout(folder=folder.absolute(), port=port or free[0], controller_port=controller_port or free[1])
        self.java_home = java_home
        self._program = Program(
            command(self.layout, java_home=java_home), self.layout.folder / "broker.log", clock=clock
        )

    @property
    def port(self) -> int:
        return self.layout.port

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"{ports.LOOPBACK}:{self.layout.port}"

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def is_running(self) -> bool:
        return self._program.is_running

    @property
    def log(self) -> str:
        """The end of the broker's log."""
        return tail(self._program.log, 50)

    def start(self, seconds: float = 60.0) -> "Broker":
        """Start (format first if new) and return when it serves."""
        prepare(self.layout, java_home=self.java_home)
        self._program.start(lambda: ports.is_open(self.port), seconds)
        return self

    def stop(self) -> None:
        """A clean shutdown."""
        self._program.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._program.kill()

    def pause(self) -> None:
        """SIGSTOP."""
        self._program.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._program.resume()

    def create_topics(self, settings: Settings) -> None:
        """The topics of `wikiweir.topics`, on this broker."""
        create_topics(settings.model_copy(update={"kafka_bootstrap": self.bootstrap}))

    def __enter__(self) -> "Broker":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def admin(bootstrap: str) -> Any:
    """kafka-python's admin client (it carries no types)."""
    return KafkaAdminClient(bootstrap_servers=bootstrap, client_id="wikiweir-local", request_timeout_ms=20_000)


def create_topics(settings: Settings) -> list[str]:
    """Create the declared topics that are missing; their names. What exists is left to whoever runs the cluster."""
    client = admin(settings.kafka_bootstrap)
    try:
        existing = set(client.list_topics())
        new = [topic for topic in declarations(settings) if topic.name not in existing]
        for topic in new:
            wanted = NewTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=topic.replication,
                topic_configs=dict(topic.config),
            )
            with suppress(TopicAlreadyExistsError):  # somebody else was faster
                client.create_topics([wanted])
        return [topic.name for topic in new]
    finally:
        client.close()


def delete_topics(settings: Settings) -> None:
    """Delete the declared topics that exist."""
    client = admin(settings.kafka_bootstrap)
    try:
        existing = set(client.list_topics())
        client.delete_topics([topic.name for topic in declarations(settings) if topic.name in existing])
    finally:
        client.close()


def end_offsets(bootstrap: str, topics: Sequence[str]) -> dict[str, int]:
    """How many records each topic has taken so far: its end offsets, added up."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        parts = {name: consumer.partitions_for_topic(name) or () for name in topics}
        partitions = [TopicPartition(name, part) for name, numbers in parts.items() for part in numbers]
        ends = consumer.end_offsets(partitions)
        return {name: sum(end for part, end in ends.items() if part.topic == name) for name in topics}
    finally:
        consumer.close()
