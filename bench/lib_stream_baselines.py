"""Two ways of writing the same micro-batches to PostgreSQL that people use, each a Spark driver of its own.

`defaults`: Spark as it comes, de-duplicated by its state store, every rollup appended by JDBC. `competent`: two shuffle
partitions, RocksDB with changelog, JDBC into unlogged staging tables with multi-row inserts, one merging transaction.
The surprising thing: both get our parser, classification and aggregates for free, so that only the way of the rows
differs: what is compared is architecture, not the skill of writing a `from_json`.
"""

import json
from collections.abc import Callable
from typing import Any

import psycopg2
from pyspark.sql import DataFrame, SparkSession

from bench.lib_application import main
from jobs.lib.aggregate import aggregate, recent_changes
from jobs.lib.classify import classify
from jobs.lib.parse import parse
from wikiweir.rollups import RECENT_CHANGES, ROLLUPS, Rollup

COMPETENT = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
LATENESS = "10 minutes"
Write = Callable[[DataFrame, int], None]


def tables(facts: DataFrame) -> list[tuple[str, DataFrame]]:
    """Every table of the speed layer with its rows of one batch."""
    return [*((r.name, aggregate(facts, r)) for r in ROLLUPS), ("recent_changes", recent_changes(facts))]


def append(jdbc: dict[str, str]) -> Write:
    """Append every table; readers add up."""

    def write(batch: DataFrame, batch_id: int) -> None:
        facts = batch.where("outcome = 'fact'").persist()
        for name, rows in tables(facts):
            rows.write.format("jdbc").options(**jdbc, dbtable=f"usual.{name}").mode("append").save()
        facts.unpersist()

    return write


def merge(jdbc: dict[str, str], dsn: str) -> Write:
    """Stage every table, then merge all in one transaction that also marks the batch as done."""
    statements = [merge_statement(rollup) for rollup in ROLLUPS]
    columns = ", ".join(column.name for column in RECENT_CHANGES)
    statements.append(f"INSERT INTO usual.recent_changes ({columns}) SELECT {columns} FROM staging.recent_changes")
    connection = psycopg2.connect(dsn)
    options = {**jdbc, "url": f"{jdbc['url']}&reWriteBatchedInserts=true&stringtype=unspecified", "batchsize": "10000"}

    def write(batch: DataFrame, batch_id: int) -> None:
        facts = batch.where("outcome = 'fact'").persist()
        for name, rows in tables(facts):
            staged = rows.write.format("jdbc").options(**options, dbtable=f"staging.{name}", truncate="true")
            staged.mode("overwrite").save()
        facts.unpersist()
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO usual.batches VALUES (%s) ON CONFLICT DO NOTHING", (batch_id,))
            if cursor.rowcount:
                for statement in statements:
                    cursor.execute(statement)

    return write


def merge_statement(rollup: Rollup) -> str:
    """Add the staged increments of a rollup to its table."""
    columns = ", ".join(rollup.columns)
    sets = ", ".join(
        f"{m.name} = greatest(t.{m.name}, excluded.{m.name})"
        if m.merge == "max"
        else f"{m.name} = t.{m.name} + excluded.{m.name}"
        for m in rollup.additive
    )
    return (
        f"INSERT INTO usual.{rollup.name} AS t ({columns}) SELECT {columns} FROM staging.{rollup.name}"
        f" ON CONFLICT ({', '.join(rollup.key)}) DO UPDATE SET {sets}"
    )


def prepare(dsn: str, *, is_merging: bool) -> None:
    """Schemas; for merging also the tables with their keys, and unlogged staging tables of the same columns."""
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA usual")
        if is_merging:
            cursor.execute("CREATE SCHEMA staging; CREATE TABLE usual.batches (batch_id bigint PRIMARY KEY)")
            for rollup in ROLLUPS:
                types: dict[str, str] = {"window_start": "timestamptz"}
                types |= {dimension.name: dimension.pg for dimension in rollup.dimensions}
                types |= {metric.name: metric.pg for metric in rollup.additive}
                _create(cursor, rollup.name, types, rollup.key)
            _create(cursor, "recent_changes", {c.name: c.pg for c in RECENT_CHANGES}, ("received_at", "event_id"))
    connection.close()


def _create(cursor: Any, name: str, types: dict[str, str], key: tuple[str, ...]) -> None:
    columns = ", ".join(f"{column} {pg}" for column, pg in types.items())
    cursor.execute(f"CREATE TABLE usual.{name} ({columns}, PRIMARY KEY ({', '.join(key)}))")
    cursor.execute(f"CREATE UNLOGGED TABLE staging.{name} ({columns})")


def run(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Read all batches of the topic, one after another; Spark's own progress of each."""
    is_merging = job["variant"] == "competent"
    prepare(job["dsn"], is_merging=is_merging)
    builder = SparkSession.builder.appName(f"bench-{job['variant']}").config("spark.sql.session.timeZone", "UTC")
    for key, value in (COMPETENT if is_merging else {}).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", job["bootstrap"])
        .option("subscribe", job["topic"])
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", job["size"])
        .option("includeHeaders", "true")
        .load()
    )
    parsed = parse(records).withWatermark("event_time", LATENESS)
    # With event_time among the columns the state of `dropDuplicates` is cleaned up; without it, it grows for ever.
    firsts = (
        parsed.dropDuplicatesWithinWatermark(["event_id", "key_hour"])
        if is_merging
        else parsed.dropDuplicates(["event_id", "event_time"])
    )
    judged = classify(firsts, user_key_secret=job["secret"].encode(), mask_addresses=True)
    write = merge(job["jdbc"], job["dsn"]) if is_merging else append(job["jdbc"])
    query = (
        judged.writeStream.foreachBatch(write)
        .option("checkpointLocation", job["checkpoint"])
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    progress = [json.loads(one.json) if hasattr(one, "json") else dict(one) for one in query.recentProgress]
    spark.stop()
    return progress


if __name__ == "__main__":
    main(run, __doc__)
