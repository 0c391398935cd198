"""Stream drivers on a real Kafka and a real PostgreSQL: feed them, stop them at a step, compare with the oracle.

No producer and no replay server: records are put into Kafka by hand, so that a test knows each of them. The surprising
thing: drivers are started through `speed_entry.py`, which can leave a mechanism out and end itself at a named step.
"""

import json
import os
import random
import signal
import subprocess
import time
import uuid
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg2
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from local import ports, spark
from local.kafka import create_topics
from tests.integration import evidence
from tests.integration.parts import wait_for
from tests.integration.workshop import Ended, Workshop
from tests.oracle.compare import Difference, compare
from wikiweir.records import Cursor
from wikiweir.settings import PROJECT, Settings

ENTRY = PROJECT / "tests" / "integration" / "speed_entry.py"
WIKIS = (("enwiki", "en.wikipedia.org"), ("ptwiki", "pt.wikipedia.org"), ("commonswiki", "commons.wikimedia.org"))


def event(seed: int, *, seconds_ago: float = 0.0, **changes: Any) -> dict[str, Any]:
    """An invented edit; equal seeds give equal ids. `changes` replace top-level fields."""
    chance = random.Random(seed)
    wiki, server = WIKIS[seed % len(WIKIS)]
    at = time.time() - seconds_ago
    made = {
        "meta": {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "dt": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "domain": server,
        },
        "type": chance.choice(["edit", "edit", "new", "categorize", "log"]),
        "namespace": chance.choice([0, 1, 2, 14]),
        "title": f"Meadow {chance.randrange(50)}",
        "comment": chance.choice(["trimmed the hedge", "Undid revision 12 by Heron"]),
        "timestamp": int(at),
        "user": chance.choice(["Heron", "Lapwing", "Curlew", "192.0.2.77", "~2026-12345-6"]),
        "bot": chance.random() < 0.2,
        "minor": chance.random() < 0.3,
        "patrolled": chance.random() < 0.5,
        "length": {"old": chance.randrange(9000), "new": chance.randrange(9000)},
        "revision": {"old": seed, "new": seed + 1},
        "server_name": server,
        "wiki": wiki,
    }
    return {**made, **changes}


class Driver:
    """One spark-submit: the JVM that a supervisor would know, and its Python child."""

    def __init__(self, command: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log_file = log
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the driver has not ended after {seconds} s\n{self.log[-3000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """To every process of the driver that is still there when its turn comes."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM to the process that a supervisor knows."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone."""
        family = self._family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(20)
        psutil.wait_procs(family, timeout=20)

    def _family(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            return []
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]


class Rig:
    """Kafka and PostgreSQL are given; topics, state folder and drivers are its own. Leaving it kills its drivers."""

    def __init__(self, folder: Path, settings: Settings, bootstrap: str, workshop: Workshop) -> None:
        self.folder, self._workshop = folder, workshop
        name = uuid.uuid4().hex[:8]
        self.settings = settings.model_copy(
            update={
                "kafka_bootstrap": bootstrap,
                "events_topic": f"events-{name}",
                "dead_letters_topic": f"letters-{name}",
                "cursors_topic": f"cursors-{name}",
                "lake": (folder / "lake").as_uri(),
                "checkpoints": (folder / "checkpoints").as_uri(),
                "stream_port": ports.free_port(),
                "lake_trigger_seconds": 3.0,
            }
        )
        create_topics(self.settings)
        # the first compiler tier alone: a driver that lives for a minute does not earn the second
        self._properties = spark.write_files(
            self.settings, folder / "spark" / "spark.properties", folder / "spark-work", ("-XX:TieredStopAtLevel=1",)
        )
        self.drivers: list[Driver] = []
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for driver in self.drivers:
            driver.signal(signal.SIGCONT)
            driver.kill()
        self._producer.close()

    def send(self, events: Iterable[dict[str, Any] | bytes], *, arrived: datetime | None = None) -> int:
        """Put records into Kafka as the producer does, now or as if at `arrived`; how many."""
        count = 0
        for count, one in enumerate(events, 1):
            value = one if isinstance(one, bytes) else json.dumps(one).encode()
            key = b"none" if isinstance(one, bytes) else str(one.get("meta", {}).get("id")).encode()
            now = int((arrived.timestamp() if arrived else time.time()) * 1000)
            self._producer.send(
                self.settings.events_topic,
                value,
                key=key,
                partition=zlib.crc32(key) % self.settings.kafka_partitions,
                timestamp_ms=now,
                headers=[("source", f"t;0;{count};{now}".encode()), ("relay", f"test;{count};{now}".encode())],
            )
        self._producer.flush()
        return count

    def keep_cursor(self) -> None:
        """Say that the producer is past the grace of the last hour, and wait until that hour is ready."""
        at = time.time_ns() // 1_000_000 + int(self.settings.hour_grace.total_seconds() * 1000)
        cursor = Cursor(base_ms=at, watermarks={("t", 0): at})
        self._producer.send(self.settings.cursors_topic, cursor.encode(), key=self.settings.streams.encode())
        self._producer.flush()
        # a row is in the lake, and the driver has yet to say that it is
        ready = "SELECT hour FROM ops.hour_ends WHERE ops.hour_waits_for(hour) IS NULL"
        wait_for(lambda: bool(self.query(ready)), 30, lambda: self.drivers[-1].log[-3000:])

    def driver(self, *, name: str = "driver", entry: Path = ENTRY, **options: Any) -> Driver:
        """Start one. `options` for `speed_entry.py`: leave_out, miscounts, step, nth, action, evidence."""
        more = {"WIKIWEIR_STREAM_PORT": str(ports.free_port())} if options.pop("other_port", False) else {}
        return self._submit(name, entry, [json.dumps(options)] if options else [], more)

    def job(self, name: str, *arguments: str, **more: str) -> Driver:
        """Start a job of ours as `./weir submit` does; `more` stands in its environment."""
        return self._submit(name, PROJECT / "jobs" / f"{name}.py", arguments, more)

    def run(self, name: str, *arguments: str, **more: str) -> Ended:
        """Run a job of ours to its end, in a driver that has run others."""
        return self._workshop.run(name, arguments, {**self._own, **more}, 400)

    @property
    def _own(self) -> dict[str, str]:
        """Its settings, as environment."""
        mine = {f"WIKIWEIR_{key.upper()}": _text(value) for key, value in self.settings if key != "keep" and value}
        return {**mine, "WIKIWEIR_HOME": str(self.folder / "home")}

    def _submit(self, name: str, script: Path, arguments: Sequence[str], more: dict[str, str]) -> Driver:
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("WIKIWEIR_", "SPARK_"))}
        env = {
            **outside,
            **self._own,
            **spark.environment(self.settings),
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            **more,
        }
        command = [*spark.submit(self._properties, script), *arguments]
        made = Driver(command, env, self.folder / f"{name}-{len(self.drivers)}.log")
        self.drivers.append(made)
        return made

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, as the owner of the tables."""
        with closing(psycopg2.connect(self.settings.postgres_dsn("owner"), connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

    def ledger(self, columns: str = "*", generation: int | None = None) -> list[tuple[Any, ...]]:
        """Rows of the ledger of a generation (the live one), oldest first."""
        which = (
            "generation = %s"
            if generation
            else "generation = (SELECT generation FROM ops.generations WHERE state = 'live' AND %s IS NULL)"
        )
        return self.query(f"SELECT {columns} FROM ops.stream_batches WHERE {which} ORDER BY sequence", generation)

    def kafka_ends(self) -> dict[str, int]:
        """Next offset of each partition of the events topic."""
        ends = evidence.end_offsets(self.settings.kafka_bootstrap, self.settings.events_topic)
        return {str(partition): offset for partition, offset in ends.items()}

    def drain(self, seconds: float = 300.0) -> None:
        """Wait until the live generation's ledger holds all that is in Kafka."""
        ends = self.kafka_ends()

        def reached() -> bool:
            rows = self.ledger("end_offsets")
            return bool(rows) and rows[-1][0] == ends

        def state() -> str:
            logs = "\n".join(driver.log[-3000:] for driver in self.drivers[-2:])
            return f"{ends}; ledger {self.ledger('sequence, end_offsets')[-3:]}\n{logs}"

        wait_for(reached, seconds, state)

    def oracle(self) -> Path:
        """What every table should hold after all that is in Kafka: the folder that the oracle wrote."""
        out = self.folder / "oracle"
        records = evidence.read_topic(self.settings.kafka_bootstrap, self.settings.events_topic)
        evidence.run_oracle(self.settings, records, out)
        return out

    def differences(self) -> list[Difference]:
        """What separates each table from the oracle's."""
        return [found for found in compare(self.oracle(), self.settings.postgres_dsn("owner")) if not found.is_none]

    def assert_exact(self) -> None:
        """Every table equals the oracle's, and the ledger goes from offset to offset without a step."""
        found = self.differences()
        assert not found, "\n".join(map(str, found))
        rows = self.ledger("sequence, start_offsets, end_offsets")
        for (_, _, end), (sequence, start, _) in pairwise(rows):
            assert end == start, f"ledger row {sequence} does not begin where the one before ended"

    def lose_records(self, ends: dict[str, int]) -> None:
        """Let Kafka forget each partition's records below an offset, as retention does."""
        topic = self.settings.events_topic
        before = {TopicPartition(topic, int(partition)): end for partition, end in ends.items()}
        admin = KafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap)
        try:
            admin.delete_records(before)
        finally:
            admin.close()

    def key_material(self) -> list[str]:
        """What no log may hold: the secret of the user keys, and the two pads that HMAC makes of it."""
        secret = self.settings.user_key_secret.get_secret_value()
        block = secret.encode().ljust(64, b"\0")
        return [secret, *(bytes(byte ^ pad for byte in block).hex().upper() for pad in (0x36, 0x5C))]

    @property
    def speed_checkpoints(self) -> list[Path]:
        """Folders of checkpoints of the speed query that are not retired, newest last."""
        folders = [p for p in (self.folder / "checkpoints").glob("speed-g*/*") if ".retired-" not in p.name]
        return sorted(folders, key=lambda path: path.stat().st_mtime)


def _text(value: Any) -> str:
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
