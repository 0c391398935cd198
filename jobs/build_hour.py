"""spark-submit application: one hour from bronze, exact, published to `batch.*` in place of the speed layer's numbers.

    ./weir submit build_hour --hour 2026-11-23T09

Its only input in time is the hour; running it again gives the same rows. The surprising thing: the version of bronze is
pinned first and everything is read from that one, so what the stream appends meanwhile belongs to the next run.
"""

import argparse
import logging
import sys
import uuid
from datetime import timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lib import arguments, sql
from jobs.lib.aggregate import aggregate, outcomes
from jobs.lib.application import REFUSED
from jobs.lib.clean import clean
from jobs.lib.copying import for_copy
from jobs.lib.lake import bronze_path
from jobs.lib.offsets import Offsets
from jobs.lib.owner import RefusedError, bind_instance
from jobs.lib.postgres import connect
from jobs.lib.publish import REWRITTEN, Accounting, NewerPublishedError, Source, publish
from jobs.lib.session import session
from wikiweir.clock import Clock, SystemClock
from wikiweir.hours import Hour
from wikiweir.rollups import ROLLUPS, Rollup
from wikiweir.settings import Settings, load

log = logging.getLogger("build_hour")

PUBLISHED = 0
NEWEST = timedelta(hours=1)
"""The newest offsets of bronze stand in the rows of its last hour by Kafka's clock."""


def pinned(spark: SparkSession, path: str) -> tuple[int, DataFrame]:
    """The newest version of bronze, and the table as of it."""
    version = int(spark.sql(f"DESCRIBE HISTORY delta.`{path}` LIMIT 1").collect()[0]["version"])
    return version, spark.read.format("delta").option("versionAsOf", version).load(path)


def end_offsets(bronze: DataFrame, topic: str) -> Offsets:
    """The next offset of each partition after what bronze holds."""
    of_topic = bronze.where(F.col("topic") == topic)
    newest = of_topic.agg(F.max("kafka_time")).collect()[0][0]
    if newest is None:
        return {}
    rows = of_topic.where(F.col("kafka_time") > F.lit(newest - NEWEST)).groupBy("partition").agg(F.max("offset"))
    return {row["partition"]: row["max(offset)"] + 1 for row in rows.collect()}


def account(records: DataFrame, rewritten: int) -> Accounting:
    """What became of every row of the hour."""
    found = {(row["outcome"], row["reason"]): row["records"] for row in outcomes(records).collect()}
    return {**found, REWRITTEN: rewritten} if rewritten else found


def _rows(facts: DataFrame, rollup: Rollup) -> pa.Table:
    """The minute rows of an hour's facts."""
    columns = {"window_start": "window_start"} | for_copy((*rollup.dimensions, *rollup.additive))
    return aggregate(facts, rollup).selectExpr(*sql.named(columns)).toArrow()


def run(settings: Settings, hour: Hour, run_id: str, clock: Clock | None = None) -> int:
    """Build and publish; the exit code."""
    clock = clock or SystemClock()
    began = clock.monotonic()
    if hour.end > clock.now():
        log.error("expected an hour of the past, found %s, which is not over", hour)
        return REFUSED
    spark = session("wikiweir-build-hour")
    connection = connect(settings.postgres_dsn("batch"), "wikiweir-build-hour")
    try:
        with connection.cursor() as cursor:
            bind_instance(cursor, settings.source_id)
        version, bronze = pinned(spark, bronze_path(settings))
        source = Source(
            hour=hour, bronze_version=version, end_offsets=end_offsets(bronze, settings.events_topic), run_id=run_id
        )
        secret = settings.user_key_secret.get_secret_value().encode()
        cleaned = clean(bronze, hour, user_key_secret=secret, mask_addresses=settings.mask_addresses)
        records = cleaned.records.persist()
        accounting = account(records, cleaned.rewritten)
        log.info("hour %s from bronze version %s: %s", hour, version, accounting)
        facts = records.where("outcome = 'fact'")
        tables = {rollup.name: _rows(facts, rollup) for rollup in ROLLUPS}
        published = publish(connection, source, tables, accounting)
    except (RefusedError, NewerPublishedError) as refusal:
        log.error("%s", refusal)
        return REFUSED
    finally:
        connection.close()
        spark.stop()
    rows = {name: table.num_rows for name, table in tables.items()}
    log.info("hour %s published as version %s: %s rows, %.1f s", hour, published, rows, clock.monotonic() - began)
    return PUBLISHED


def main(words: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="build_hour", description=__doc__)
    parser.add_argument("--hour", type=arguments.hour, required=True, help="hour of UTC, like 2026-11-23T09")
    parser.add_argument("--run-id", default=f"manual-{uuid.uuid4().hex[:8]}", help="who asks; in ops.published_hours")
    given = parser.parse_args(words)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run(load(), given.hour, given.run_id)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
