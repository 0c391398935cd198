"""spark-submit application: hours from bronze, exact, published in place of the live numbers; and their days.

    ./weir submit build_hours --hour 2026-11-23T09                          that hour, ready or not
    ./weir submit build_hours --touched                                     hours with rows that are not published yet
    ./weir submit build_hours --first 2026-11-20T00 --last 2026-11-22T23    a range
    ... --dry-run                                                           say which, build none

The surprising thing: an hour that fails stops none of the others; the exit code says at the end that one did.
"""

import argparse
import logging
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from jobs.lib import arguments, logs, snapshot
from jobs.lib.application import REFUSED
from jobs.lib.build import HourBuilder
from jobs.lib.build_day import DayBuilder
from jobs.lib.owner import RefusedError, bind_instance
from jobs.lib.plan import Plan, Wish, plan, pruned
from jobs.lib.postgres import connect
from jobs.lib.publish import NewerPublishedError, stale_days
from jobs.lib.quality import BlockedError
from jobs.lib.session import BATCH_SETTINGS, session
from jobs.lib.snapshot import Held
from jobs.lib.tables import BRONZE
from wikiweir.clock import Clock, SystemClock
from wikiweir.hours import Day, Hour
from wikiweir.settings import Settings, load

log = logging.getLogger("build_hours")

ALL_PUBLISHED, SOME_FAILED = 0, 1

T = TypeVar("T", Hour, Day)


def build_each(build: Callable[[T], None], what: str, periods: Sequence[T]) -> list[str]:
    """Build one after the other; those that failed, and why."""
    failed = []
    for number, period in enumerate(periods, 1):
        log.info("%s %s (%s of %s)", what, period, number, len(periods))
        try:
            build(period)
        except NewerPublishedError as superseded:
            log.info("%s", superseded)
        except BlockedError as blocked:
            log.error("%s", blocked)
            failed.append(f"{what} {period} (blocked: docs/runbooks/hour_blocked.md)")
        except Exception as failure:  # whatever Spark, Arrow or PostgreSQL raises: the others are built all the same
            log.exception(
                "%s %s failed; what is served of it is one whole version, the last one or this run's", what, period
            )
            failed.append(f"{what} {period} ({type(failure).__name__})")
    return failed


def tell(found: Plan, held: Mapping[Hour, Held]) -> None:
    """Say what is going to be done, and what is not."""
    for hour in found.hours:
        rows = f"{held[hour].rows:,} rows in {held[hour].files} files" if hour in held else "no rows"
        log.info("hour %s: bronze holds %s, %s are accounted for", hour, rows, f"{found.accounted.get(hour, 0):,}")
    for hour, reason in sorted(found.waiting.items()):
        log.info("hour %s is not built: %s", hour, reason)
    if found.later:
        log.info("%s more hours are left to the next run", found.later)
    if not found.hours:
        log.info("nothing to build")


def run(settings: Settings, wish: Wish, run_id: str, *, is_dry: bool = False, clock: Clock | None = None) -> int:
    """Plan, build and publish; the exit code."""
    clock = clock or SystemClock()
    spark = session("wikiweir-build-hours", more=BATCH_SETTINGS)
    connection = connect(settings.postgres_dsn("batch"), "wikiweir-build-hours")
    path = BRONZE.path(settings)
    try:
        with connection.cursor() as cursor:
            bind_instance(cursor, settings.source_id)
            first = snapshot.newest(spark, path)
            found = plan(cursor, first.held, wish, clock.now())
        tell(found, first.held)
        if is_dry:
            return ALL_PUBLISHED
        failed = []
        if found.hours:
            # pinned after it was asked which hours are ready, so that it holds what made them so
            bronze = snapshot.newest(spark, path, known=first)
            with connection.cursor() as cursor:
                # asked after the version is pinned: an hour that retention took before it is written down by now
                gone = pruned(cursor)
            hours = HourBuilder(
                settings=settings,
                connection=connection,
                run_id=run_id,
                clock=clock,
                bronze=bronze,
                end_offsets=snapshot.end_offsets(bronze, settings.events_topic),
                asked=found.asked,
            )
            failed += build_each(hours.build, "hour", [hour for hour in found.hours if hour not in gone])
        days = DayBuilder(spark=spark, settings=settings, connection=connection, run_id=run_id, clock=clock)
        failed += build_each(days.build, "day", [stale.day for stale in stale_days(connection)])
        if failed:
            log.error("%s failed: %s", len(failed), ", ".join(failed))
        try:
            # at last, because nobody waits for it; and many files are read by many tasks
            snapshot.compact_each(spark, path, found.hours, first.held)
        except (PySparkException, Py4JError) as failure:
            log.warning("the compaction of bronze is left to maintenance: %s", failure)
        return SOME_FAILED if failed else ALL_PUBLISHED
    except RefusedError as refusal:
        log.error("%s", refusal)
        return REFUSED
    finally:
        connection.close()
        spark.stop()


def main(words: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="build_hours", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hour", type=arguments.hour, help="an hour of UTC, like 2026-11-23T09")
    parser.add_argument("--touched", action="store_true", help="every ended hour that is ready and not published so")
    parser.add_argument("--first", type=arguments.hour, help="first hour of a range that bronze holds rows of")
    parser.add_argument("--last", type=arguments.hour, help="its last hour")
    parser.add_argument("--dry-run", action=argparse.BooleanOptionalAction, default=False, help="say which, build none")
    parser.add_argument("--run-id", default=f"manual-{uuid.uuid4().hex[:8]}", help="who asks; in ops.published_hours")
    given = parser.parse_args(words)
    if (given.first is None) != (given.last is None):
        parser.error("expected --first and --last together")
    if given.first is not None and given.first > given.last:
        parser.error(f"expected --first before --last, found {given.first} and {given.last}")
    wish = Wish(hour=given.hour, first=given.first, last=given.last, touched=given.touched)
    if wish.is_empty:
        parser.error("expected --hour, --touched or a range; e.g. --hour 2026-11-23T09")
    if (newest := wish.newest) is not None and newest.end > SystemClock().now():
        parser.error(f"expected hours of the past, found {newest}, which is not over")
    logs.configure()
    return run(load(), wish, given.run_id, is_dry=given.dry_run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
