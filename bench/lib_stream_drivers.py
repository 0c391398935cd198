"""Starts a variant of the stream benchmark as a Spark driver of its own, and checks what it wrote.

The surprising thing: each run has a database of its own, so that no variant finds another's tables warm.
"""

from bench import lib_answers
from bench.lib_answers import Row
from bench.lib_preload import Load
from bench.lib_workbench import Workbench

SCRIPTS = {"ours": "lib_stream_ours.py", "competent": "lib_stream_baselines.py", "defaults": "lib_stream_baselines.py"}
SCHEMAS = {"ours": "speed.", "competent": "usual.", "defaults": "usual."}


def run(bench: Workbench, variant: str, load: Load, number: int, expected: dict[str, list[Row]]) -> list[float]:
    """One driver over the whole topic into a database of its own; seconds of each batch, answers checked."""
    database = f"bench_{variant}_{load.size}_{number}"
    folder = bench.folder / database
    folder.mkdir()
    is_ours = variant == "ours"
    bench.create(database, with_schema=is_ours)
    job = {
        "variant": variant,
        "bootstrap": bench.settings.kafka_bootstrap,
        "topic": load.topic,
        "size": load.size,
        "batches": len(load.files),
        "secret": bench.secret,
        "dsn": bench.dsn(database),
        "checkpoint": (folder / "checkpoint").as_uri(),
        "jdbc": bench.jdbc(database),
    }
    changes = {
        "postgres_dbname": database,
        "events_topic": load.topic,
        "speed_max_events": load.size,
        "checkpoints": (folder / "checkpoints").as_uri(),
        "lake": (folder / "lake").as_uri(),
        # the topic was stamped when it was loaded; a slow run must not find its first records too old to show
        "keep_recent_changes": "PT24H",
    }
    progress, _ = bench.application(SCRIPTS[variant], job, folder, is_ours=is_ours, changes=changes)
    times = [one["durationMs"]["triggerExecution"] / 1000 for one in progress if one["numInputRows"] == load.size]
    if len(times) != len(load.files):
        found = [one["numInputRows"] for one in progress]
        raise RuntimeError(f"{variant}: expected {len(load.files)} batches of {load.size} records, found {found}")
    lib_answers.compare(variant, expected, lib_answers.read_postgres(bench.dsn(database), SCHEMAS[variant]))
    bench.drop(database)
    return times
