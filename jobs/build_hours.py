"""spark-submit application: hours from bronze, exact, published to `batch.*` in place of the speed layer's numbers.

    ./weir submit build_hours --hour 2026-11-23T09     that hour, ready or not
    ./weir submit build_hours --touched                every ended hour that got rows since it was published

The surprising thing: an hour that fails stops none of the others; the exit code says at the end that one did.
"""

import argparse
import logging
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg2
from psycopg2.extensions import cursor as Cursor
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.lib import arguments, snapshot
from jobs.lib.application import REFUSED
from jobs.lib.build import HourBuilder
from jobs.lib.lake import bronze_path
from jobs.lib.owner import RefusedError, bind_instance
from jobs.lib.plan import plan
from jobs.lib.postgres import connect
from jobs.lib.publish import NewerPublishedError
from jobs.lib.session import session
from jobs.lib.snapshot import Held
from wikiweir.clock import Clock, SystemClock
from wikiweir.hours import Hour
from wikiweir.settings import Settings, load

log = logging.getLogger("build_hours")

ALL_PUBLISHED, SOME_FAILED = 0, 1
AT_MOST = 48
"""Touched hours of one run; a longer catch-up goes on in the next one."""


def compact_each(spark: SparkSession, path: str, hours: Sequence[Hour], held: Mapping[Hour, Held]) -> None:
    """Make one file of each hour that has many."""
    for hour in hours:
        if hour in held and held[hour].files > 1:
            snapshot.compact(spark, path, hour)
            log.info("hour %s: %s rows compacted from %s files", hour, held[hour].rows, held[hour].files)


def build_each(builder: HourBuilder, hours: Sequence[Hour]) -> int:
    """Build hour after hour; the exit code."""
    failed = []
    for number, hour in enumerate(hours, 1):
        log.info("hour %s (%s of %s)", hour, number, len(hours))
        try:
            builder.build(hour)
        except NewerPublishedError as superseded:
            log.info("%s", superseded)
        except (PySparkException, psycopg2.Error) as failure:
            log.exception("hour %s was not published, its last version keeps being served", hour)
            failed.append(f"{hour} ({type(failure).__name__})")
    if failed:
        log.error("%s of %s hours were not published: %s", len(failed), len(hours), ", ".join(failed))
    return SOME_FAILED if failed else ALL_PUBLISHED


def run(settings: Settings, hour: Hour | None, run_id: str, *, touched: bool, clock: Clock | None = None) -> int:
    """Plan, build and publish; the exit code."""
    clock = clock or SystemClock()
    if hour is not None and hour.end > clock.now():
        log.error("expected an hour of the past, found %s, which is not over", hour)
        return REFUSED
    spark = session("wikiweir-build-hours")
    connection = connect(settings.postgres_dsn("batch"), "wikiweir-build-hours")
    path = bronze_path(settings)
    try:
        with connection.cursor() as cursor:
            bind_instance(cursor, settings.source_id)
            held = snapshot.held(snapshot.newest(spark, path))
            hours = _hours(cursor, held, hour, touched=touched, now=clock.now())
        if not hours:
            log.info("nothing to build")
            return ALL_PUBLISHED
        compact_each(spark, path, hours, held)
        bronze = snapshot.newest(spark, path)
        log.info("building %s hours from bronze version %s", len(hours), bronze.version)
        builder = HourBuilder(
            settings=settings,
            connection=connection,
            run_id=run_id,
            clock=clock,
            bronze=bronze,
            end_offsets=snapshot.end_offsets(bronze, settings.events_topic),
        )
        return build_each(builder, hours)
    except RefusedError as refusal:
        log.error("%s", refusal)
        return REFUSED
    finally:
        connection.close()
        spark.stop()


def _hours(cursor: Cursor, held: Mapping[Hour, Held], hour: Hour | None, *, touched: bool, now: datetime) -> list[Hour]:
    """The hour that was asked for, then what else is to be done."""
    hours = [hour] if hour is not None else []
    if touched:
        found = plan(cursor, held, now, at_most=AT_MOST)
        hours += [each for each in found.hours if each != hour]
        for waiting, reason in sorted(found.waiting.items()):
            log.info("hour %s is left to a later run: %s", waiting, reason)
        if found.later:
            log.info("%s more hours are left to the next run", found.later)
    return hours


def main(words: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="build_hours", description=__doc__)
    parser.add_argument("--hour", type=arguments.hour, help="an hour of UTC, like 2026-11-23T09")
    parser.add_argument(
        "--touched", action="store_true", help="every ended hour that is ready and not published as bronze has it"
    )
    parser.add_argument("--run-id", default=f"manual-{uuid.uuid4().hex[:8]}", help="who asks; in ops.published_hours")
    given = parser.parse_args(words)
    if given.hour is None and not given.touched:
        parser.error("expected --hour, --touched or both; e.g. --hour 2026-11-23T09")
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run(load(), given.hour, given.run_id, touched=given.touched)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
