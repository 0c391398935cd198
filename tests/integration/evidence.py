"""What is in Kafka and in bronze, read without any code of the project, and whether it is all there exactly once.

The surprising thing: bronze is read from Delta's own log and plain Parquet, because asking Spark would mean trusting
the program under test.
"""

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
from kafka import KafkaConsumer, TopicPartition

from wikiweir.hours import Hour
from wikiweir.settings import PROJECT, Settings

FETCH_BYTES = 16 * 1024**2
ORACLE_SECONDS = 3600
"""It takes some ten thousand records a second."""


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """A record as Kafka holds it."""

    partition: int
    offset: int
    kafka_ms: int
    key: bytes | None
    value: bytes
    headers: dict[str, str]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.value).hexdigest()

    @property
    def relay(self) -> tuple[str, int]:
        """Producer run and sequence."""
        run, sequence, _received = self.headers["relay"].rsplit(";", 2)
        return run, int(sequence)


def _consumer(bootstrap: str) -> Any:
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_bytes=4 * FETCH_BYTES,
        request_timeout_ms=30_000,
    )


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Next offset of each partition."""
    consumer = _consumer(bootstrap)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        return {at.partition: offset for at, offset in consumer.end_offsets(partitions).items()}
    finally:
        consumer.close()


def read_topic(bootstrap: str, topic: str) -> list[KafkaRecord]:
    """Every record now in the topic, by (partition, offset)."""
    return list(records_of(bootstrap, topic))


def records_of(bootstrap: str, topic: str) -> Iterator[KafkaRecord]:
    """The same, one after the other: a topic may not fit into memory."""
    with closing(_consumer(bootstrap)) as consumer:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            raise LookupError(f"expected topic {topic} at {bootstrap}, found none")
        ends = consumer.end_offsets(partitions)
        for at in partitions:
            consumer.assign([at])
            consumer.seek_to_beginning(at)
            idle = 0
            while consumer.position(at) < ends[at]:
                batches = consumer.poll(timeout_ms=1000)
                idle = 0 if batches else idle + 1
                if idle > 60:
                    raise TimeoutError(f"{topic}: end offsets are {ends}, nothing more came for 60 s")
                yield from (_record(at.partition, r) for r in batches.get(at, ()) if r.offset < ends[at])


def _record(partition: int, record: Any) -> KafkaRecord:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    return KafkaRecord(partition, record.offset, record.timestamp, record.key, record.value or b"", headers)


def write_records(records: Iterable[KafkaRecord], path: Path) -> None:
    """As NDJSON for the oracle."""
    with path.open("w", encoding="utf-8") as sink:
        for record in records:
            row: dict[str, Any] = {"partition": record.partition, "offset": record.offset, "kafka_ms": record.kafka_ms}
            try:
                row["value"] = record.value.decode()
            except UnicodeDecodeError:
                row["value_base64"] = base64.b64encode(record.value).decode()
            sink.write(json.dumps(row) + "\n")


def run_oracle(
    settings: Settings, records: Iterable[KafkaRecord], out: Path, *, before: datetime | None = None
) -> dict[str, Any]:
    """The oracle, in a process of its own, over what Kafka holds: `out` has its tables then; its summary.

    `before`: events from then on are judged, and are in no table of numbers.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_records(records, out / "records.ndjson")
    secret = out / "user-key-secret"
    secret.touch(mode=0o600)
    secret.write_text(settings.user_key_secret.get_secret_value(), encoding="utf-8")
    command = [sys.executable, "-m", "tests.oracle.oracle", "--records", str(out / "records.ndjson"), "--out", str(out)]
    command += ["--definitions", str(PROJECT / "wikiweir" / "definitions.toml"), "--user-key-secret-file", str(secret)]
    command += ["--before", f"{before:%Y-%m-%dT%H:%M:%S}"] if before else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=ORACLE_SECONDS, check=False, cwd=PROJECT)
    if done.returncode != 0:
        raise RuntimeError(f"the oracle ended with {done.returncode}: {done.stderr}")
    return dict(json.loads((out / "summary.json").read_text(encoding="utf-8")))


def delta_files(table: Path) -> dict[str, dict[str, str]]:
    """Data file -> its values of the partition columns as Delta writes them, of the table's last version."""
    files: dict[str, dict[str, str]] = {}
    for commit in sorted((table / "_delta_log").glob("*.json")):
        for line in commit.read_text(encoding="utf-8").splitlines():
            action = json.loads(line)
            if "add" in action:
                files[unquote(action["add"]["path"])] = action["add"]["partitionValues"]
            elif "remove" in action:
                files.pop(unquote(action["remove"]["path"]), None)
    return files


def delta_rows(table: Path) -> list[dict[str, Any]]:
    """Every row of the table's last version; partition columns are text, `2026-11-23 09:00:00` as Delta writes it."""
    rows: list[dict[str, Any]] = []
    for path, values in delta_files(table).items():
        found = {name: value.replace("T", " ")[:19] for name, value in values.items()}
        rows.extend(row | found for row in pq.read_table(table / path, partitioning=None).to_pylist())
    return rows


def bronze_files(table: Path) -> dict[str, str]:
    """Data file -> event hour as Delta writes it, of bronze's last version."""
    return {path: values["event_hour"] for path, values in delta_files(table).items()}


def files_of_hour(table: Path, hour: Hour) -> set[str]:
    """Files of bronze's last version that hold rows of the hour."""
    start = f"{hour.start:%Y-%m-%d %H}"
    return {path for path, found in bronze_files(table).items() if found.replace("T", " ").startswith(start)}


def bronze_rows(table: Path) -> list[dict[str, Any]]:
    """partition, offset, raw and event_hour of every row of the table's last version."""
    rows: list[dict[str, Any]] = []
    for path, hour in bronze_files(table).items():
        data = pq.read_table(table / path, columns=["partition", "offset", "raw"], partitioning=None)
        rows.extend({**row, "event_hour": hour} for row in data.to_pylist())
    return rows


@dataclass(frozen=True, slots=True)
class Offered:
    """A line of the source's own account. `is_sent`: to a client, whether or not it arrived."""

    topic: str
    offset: int
    id: str | None
    data: bytes
    is_sent: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def read_truth(path: Path) -> list[Offered]:
    """The replay server's account; a last line that is still being written is left out."""
    found = []
    for row in path.read_text(encoding="utf-8").split("\n")[:-1]:
        entry = json.loads(row)
        data = base64.b64decode(entry["data_base64"]) if "data_base64" in entry else entry["data"].encode()
        found.append(Offered(entry["topic"], entry["offset"], entry["id"], data, entry["sent_ms"] is not None))
    return found
