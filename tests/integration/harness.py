"""The real stack in a folder of its own, and how to hurt it: Kafka, PostgreSQL, replay server, producer, stream driver.

Every program is the one an instance runs, by the command lines of `local.programs`, each kept running by a thread as
supervisord would. The surprising thing: `kill` does not say "stay dead": what was killed is started again at once, as
in production; `stop` does.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg2

from local import instance as instances
from local import kafka, ports, programs, spark, toolchain
from local.postgres import Server
from tests.integration import evidence
from tests.integration.parts import Kept, Part, wait_for
from tests.integration.reaper import Reaper
from tests.integration.source import admin, drain_producer, inject
from wikiweir.settings import PROJECT, Settings

DRIVER = PROJECT / "jobs" / "stream_events.py"


class Stack:
    """All programs of one instance. A context manager: leaving it kills everything it started."""

    def __init__(
        self, folder: Path, replay: Sequence[str], settings: Mapping[str, str] | None = None, driver: Path = DRIVER
    ) -> None:
        """`replay`: arguments of the replay server besides port and ground truth; `settings`: WIKIWEIR_*; `driver`:
        the application to submit, another one to leave a mechanism out.
        """
        self.folder = folder.absolute()
        self._reaper: Reaper | None = None
        self.instance = instances.Instance(self.folder / "home")
        self.truth_file = self.folder / "ground-truth"
        outside = {key: value for key, value in os.environ.items() if not key.startswith("WIKIWEIR_")}
        own = {"WIKIWEIR_HOME": str(self.instance.home), "WIKIWEIR_TOOLCHAIN": str(toolchain.root())}
        self.env = {**outside, **own, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
        with mock.patch.dict(os.environ, self.env, clear=True):
            self.instance.home.mkdir(parents=True)
            instances.create(self.instance)
        port = self.instance.values["WIKIWEIR_REPLAY_PORT"]
        fixed = {
            "WIKIWEIR_SOURCE_ID": "test",
            "WIKIWEIR_SOURCE_URL": f"http://{ports.LOOPBACK}:{port}",
            "WIKIWEIR_SINCE": "0",
            "WIKIWEIR_CONTACT": "tests@example.org",
            "WIKIWEIR_LAKE_TRIGGER_SECONDS": "4",
        }
        self.instance.update(**{**fixed, **(settings or {})})
        self.settings = Settings(  # type: ignore[call-arg]
            _env_file=(self.instance.settings_file, self.instance.secrets_file),
            lake=(self.instance.home / "lake").as_uri(),
            checkpoints=(self.instance.home / "checkpoints").as_uri(),
        )
        layout = programs.kafka_layout(self.instance, self.settings)
        self.kafka = kafka.Broker(layout.folder, layout.port, layout.controller_port)
        self.postgres = Server(
            self.instance.home / "postgres",
            self.settings.postgres_port,
            self.instance.secrets[instances.SUPERUSER_PASSWORD],
        )
        python = str(toolchain.python())
        source = [python, "-m", "local.replay", "--port", port, "--ground-truth", str(self.truth_file), *replay]
        submit = spark.submit(spark.properties_file(self.instance), driver)
        self.replay = self._part("replay", source, self.settings.replay_port, 30)
        self.producer = self._part("producer", [python, "-m", "ingestion"], self.settings.producer_port, 30)
        self.driver = self._part("stream", submit, self.settings.stream_port, 120)

    def _part(self, name: str, command: Sequence[str], port: int, seconds: float) -> Part:
        program = Kept(command, self.instance.logs / f"{name}.log")
        program.env = {**self.env, **(spark.environment(self.settings) if name == "stream" else {})}
        return Part(name, program, lambda: ports.is_open(port), seconds)

    def start(self, *, with_driver: bool = True) -> "Stack":
        """Everything up and connected."""
        from sql.migrate import migrate

        self._reaper = Reaper(self.folder)
        self.postgres.start()
        self.kafka.start()
        migrate(self.settings)
        kafka.create_topics(self.settings)
        spark.write_configuration(self.instance, self.settings)
        self.replay.start()
        self.producer.start()
        if with_driver:
            self.driver.start()
        return self

    def close(self) -> None:
        for part in (self.driver, self.producer, self.replay):
            part.close()
        self.kafka.kill()
        self.postgres.kill()
        if self._reaper is not None:
            self._reaper.close()

    def __enter__(self) -> "Stack":
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what is going on inside ----

    def admin(self, path: str, body: Any = None) -> Any:
        """A call of the replay server's admin interface."""
        return admin(self.settings.replay_port, path, body)

    def inject(self, lines: Sequence[bytes]) -> None:
        """Put these exact bytes at the head of the source's log."""
        inject(self.settings.replay_port, lines)

    def truth(self) -> list[evidence.Offered]:
        """Every line the source has offered up to the furthest it has sent, in its order."""
        self.admin("state")  # hands what the server still holds to the file
        return evidence.read_truth(self.truth_file)

    def query(self, statement: str, *values: Any, role: str = "owner") -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with closing(psycopg2.connect(self.settings.postgres_dsn(role), connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()

    def kafka_ends(self) -> dict[str, int]:
        """Next offset of each partition of the events topic, as the ledger writes it."""
        ends = evidence.end_offsets(self.kafka.bootstrap, self.settings.events_topic)
        return {str(partition): offset for partition, offset in ends.items()}

    def ledger_ends(self) -> dict[str, int]:
        """How far the live generation's ledger is."""
        rows = self.query(
            "SELECT end_offsets FROM ops.stream_batches JOIN ops.generations USING (generation)"
            " WHERE state = 'live' ORDER BY sequence DESC LIMIT 1"
        )
        return dict(rows[0][0]) if rows else {}

    def lake_ends(self) -> dict[str, int]:
        """How far the lake query says it is."""
        rows = self.query("SELECT end_offsets FROM ops.stream_progress WHERE query = 'lake'")
        return dict(rows[0][0] or {}) if rows else {}

    def lake_files(self) -> int:
        """How many commits bronze has: one more each time the lake query wrote."""
        return len(list((self.instance.home / "lake" / "bronze" / "_delta_log").glob("*.json")))

    def counts(self) -> dict[str, int]:
        """How many records are in each topic."""
        topics = (self.settings.events_topic, self.settings.dead_letters_topic)
        return {topic: sum(evidence.end_offsets(self.kafka.bootstrap, topic).values()) for topic in topics}

    def drain_producer(self, seconds: float = 90.0) -> None:
        """Let the source's log end here, and wait until the producer has read it all and Kafka is quiet."""
        drain_producer(self.settings.replay_port, self.counts, seconds, self.logs)

    def drain(self, seconds: float = 180.0) -> None:
        """Let the source end here and wait until both queries have read what is in Kafka."""
        self.drain_producer(seconds)
        ends = self.kafka_ends()

        def state() -> str:
            progress = self.query("SELECT query, state, message, end_offsets FROM ops.stream_progress")
            return f"ledger {self.ledger_ends()} and lake {self.lake_ends()} to reach {ends}; {progress}\n{self.logs()}"

        wait_for(lambda: self._reached(self.ledger_ends, ends) and self._reached(self.lake_ends, ends), seconds, state)

    @staticmethod
    def _reached(read: Callable[[], dict[str, int]], ends: dict[str, int]) -> bool:
        try:
            return {**dict.fromkeys(ends, 0), **read()} == ends
        except psycopg2.OperationalError:
            return False  # PostgreSQL is away for the moment

    def logs(self) -> str:
        """The end of every log, for a message."""
        return "\n".join([*(part.log for part in (self.replay, self.producer, self.driver)), self.kafka.log])
