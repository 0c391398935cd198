"""The programs of an instance: what each is started with, and in which order they start and end.

The surprising thing: some ends must not be followed by a new start, and each is an exit code of its own: 3 of the
stream (another driver has taken over), 78 of stream and producer and 2 of the replay server (a wrong setting, which no
restart heals).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from local import airflow, kafka, postgres, source, spark, superset, toolchain
from local.instance import CONTROLLER_PORT, Instance, postgres_layout
from wikiweir.settings import PROJECT, Settings

FENCED_EXIT_CODE = 3
"""`jobs/stream_events.py` was fenced by another driver."""

USAGE_EXIT_CODE = 2
"""The replay server does not understand its arguments or cannot read its files."""

START_ORDER = ("postgres", "kafka", "replay", "producer", "stream", *airflow.PROGRAMS, "superset")
STOP_ORDER = (
    # before the api-server: tasks that end with it report there, and get their next attempt
    ("scheduler",),
    ("api-server", "dag-processor", "triggerer", "superset"),
    ("stream",),
    ("producer",),
    ("replay",),
    ("kafka",),
    ("postgres",),
)
"""Those in one pair of brackets end side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """One supervised program. `stop_seconds`: how long it may take before it is killed, with its process group.

    `stops_group`: whether its group is asked to stop with it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    stops_group: bool = False
    final_exit_codes: tuple[int, ...] = ()


def programs(instance: Instance, settings: Settings) -> list[ProgramSpec]:
    """The programs of this instance, in the order of their start."""
    specs = []
    if "postgres" in instance.embedded:
        specs.append(
            ProgramSpec(
                name="postgres",
                command=postgres.command(postgres_layout(instance)),
                user=postgres.account(),
                stop_signal="INT",
            )
        )
    if "kafka" in instance.embedded:
        layout = kafka_layout(instance, settings)
        specs.append(ProgramSpec(name="kafka", command=kafka.command(layout, java_home=settings.java_home)))
    python = str(toolchain.python())
    if source.needs_replay(settings.source_id):
        replay = [python, "-m", "local.replay", *source.replay_arguments(instance)]
        specs.append(ProgramSpec(name="replay", command=replay, stop_seconds=5, final_exit_codes=(USAGE_EXIT_CODE,)))
    producer = [python, "-m", "ingestion"]
    specs.append(ProgramSpec(name="producer", command=producer, stop_seconds=30, final_exit_codes=(os.EX_CONFIG,)))
    specs.append(
        ProgramSpec(
            name="stream",
            command=spark.submit(spark.properties_file(instance), PROJECT / "jobs" / "stream_events.py"),
            environment=spark.environment(settings),
            stop_seconds=30,
            final_exit_codes=(FENCED_EXIT_CODE, os.EX_CONFIG),
        )
    )
    of_airflow = airflow.environment(instance, settings)
    specs += [
        ProgramSpec(
            name=name,
            command=airflow.command(name),
            environment=of_airflow,
            stop_seconds=30,
            # the scheduler itself would wait for its tasks; a worker that is asked ends the one it runs
            stops_group=name == "scheduler",
        )
        for name in airflow.PROGRAMS
    ]
    command, of_superset = superset.supervised(instance, settings)
    specs.append(ProgramSpec(name="superset", command=command, environment=of_superset))
    return specs


def kafka_layout(instance: Instance, settings: Settings) -> kafka.Layout:
    """Where the embedded Kafka lives and listens."""
    return kafka.Layout(
        folder=instance.home / "kafka",
        port=int(settings.kafka_bootstrap.rpartition(":")[2]),
        controller_port=int(instance.values[CONTROLLER_PORT]),
        max_event_bytes=settings.max_event_bytes,
    )
