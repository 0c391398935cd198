"""`python -m local.share_classes`: Spark's Java classes, parsed and verified once, into one file that every start maps.

Made by running a small Spark application (`local.training_job`) against a real broker and keeping what the JVM has
loaded by then. Measured: the start of a small job takes 17.5 s of processor time with it, 24.5 s without. The
surprising thing: the file fits only the very Java and the very jars it was made with; any other Java starts without it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kafka import KafkaProducer
from kafka.admin import NewTopic

from local import kafka, spark
from local.processes import NotReadyError
from wikiweir.settings import Settings

SECONDS = 600


def make() -> Path:
    """Make the archive; where it is."""
    archive = spark.class_archive()
    draft = archive.with_suffix(".new")
    draft.unlink(missing_ok=True)
    settings = Settings(spark_master="local[2]")
    with tempfile.TemporaryDirectory(prefix="wikiweir-classes-") as name:
        folder = Path(name)
        properties = folder / "spark" / "spark-defaults.conf"
        # the quick compiler only: nothing here runs long enough for the other one to pay
        options = [
            "-XX:TieredStopAtLevel=1",
            f'"-XX:ArchiveClassesAtExit={draft}"',
            "-Xlog:cds=off",
            "-Xlog:cds+dynamic=off",
        ]
        spark.write_files(settings, properties, folder / "work", options)
        with kafka.Broker(folder / "kafka") as broker:
            _fill(broker)
            script = Path(__file__).with_name("training_job.py")
            done = subprocess.run(
                [*spark.submit(properties, script), broker.bootstrap, str(folder / "out")],
                env={**os.environ, **spark.environment(settings)},
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
    if done.returncode != 0 or not draft.exists():
        raise NotReadyError(f"the training application ended with {done.returncode}:\n{done.stderr[-3000:]}")
    draft.replace(archive)
    return archive


def _fill(broker: kafka.Broker) -> None:
    """A topic with a few records of our shape."""
    client = kafka.admin(broker.bootstrap)
    client.create_topics([NewTopic(name="training", num_partitions=2, replication_factor=1)])
    client.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, compression_type="lz4")
    for number in range(200):
        event = {"id": f"a{number}", "n": number, "deep": {"t": "2026-01-01T00:00:00Z"}}
        producer.send("training", json.dumps(event).encode(), headers=[("source", b"x;0;1;2")])
    producer.flush()
    producer.close()


if __name__ == "__main__":
    try:
        make()
    except (NotReadyError, OSError, subprocess.TimeoutExpired) as problem:
        sys.exit(f"share_classes: {problem}")
