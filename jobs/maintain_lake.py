"""spark-submit application: lets go of what has lived long enough, in the lake and in PostgreSQL. Once a day.

    ./weir submit maintain_lake
    ./weir submit maintain_lake --dry-run       say what would go, change nothing

How long is long enough: `wikiweir.settings.Lifetimes`. The surprising thing: nothing here is in a hurry. What is in use
goes the next time, and a step that fails stops none of the others; the exit code says at the end that one did.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg2
from psycopg2.extensions import connection as Connection
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.lib import lake_disk, lake_retention, logs, postgres_retention, snapshot
from jobs.lib.application import REFUSED
from jobs.lib.owner import RefusedError, bind_instance
from jobs.lib.postgres import connect
from jobs.lib.quarantine import quarantine_late
from jobs.lib.session import BATCH_SETTINGS, session
from jobs.lib.tables import BRONZE, TABLES, exists
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import Settings, load

log = logging.getLogger("maintain_lake")

ALL_DONE, SOME_FAILED = 0, 1
LISTING = {"spark.sql.sources.parallelPartitionDiscovery.parallelism": "4"}
"""VACUUM lists a table's folders in as many tasks; the default, 10,000, suits an object store and a cluster."""
SETTLED = timedelta(days=1)
"""Younger hours are compacted when they are built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """One run over the whole instance."""

    settings: Settings
    spark: SparkSession
    connection: Connection
    clock: Clock
    is_dry: bool

    def run(self) -> int:
        """Every step; the exit code."""
        steps: dict[str, Callable[[], None]] = {"postgres": self.expire_rows}
        if exists(self.spark, self._bronze):  # the stream makes it
            steps |= {"bronze": self.prune_bronze, "compaction": self.compact_bronze, "vacuum": self.vacuum}
            steps |= {"measure": self.measure}
        failed = []
        for name, step in steps.items():
            try:
                step()
            except (PySparkException, Py4JError, psycopg2.Error):
                log.exception("%s is left to the next run", name)
                failed.append(name)
        if failed:
            log.error("%s of %s steps failed: %s", len(failed), len(steps), ", ".join(failed))
        return SOME_FAILED if failed else ALL_DONE

    def prune_bronze(self) -> None:
        """Delete hours of bronze that have lived long enough; what has come of such an hour since stays known."""
        cutoff = self.clock.now() - self.settings.keep.bronze
        bronze = snapshot.newest(self.spark, self._bronze)
        hours = lake_retention.prunable(self.connection, lake_retention.outlived(bronze, cutoff))
        log.info("bronze: %s hours hold nothing that arrived since %s", len(hours), f"{cutoff:%Y-%m-%d %H:%M}")
        if self.is_dry:
            for hour, old in hours.items():
                log.info("hour %s: %s rows would be pruned", hour, f"{old.rows:,}")
            return
        if late := quarantine_late(self.settings, bronze, lake_retention.pruned_until(self.connection)):
            log.warning("%s rows came for hours that had been pruned: they stand in the lake's quarantine", f"{late:,}")
        lake_retention.prune(self.spark, self.connection, self._bronze, hours, cutoff)

    def compact_bronze(self) -> None:
        """Make one file of each older hour that has got many."""
        held = snapshot.newest(self.spark, self._bronze).held
        older = [hour for hour in sorted(held) if hour.end <= self.clock.now() - SETTLED]
        if self.is_dry:
            many = [hour for hour in older if held[hour].files > 1]
            log.info("bronze: %s hours would be compacted", len(many))
            return
        snapshot.compact_each(self.spark, self._bronze, older, held)

    def vacuum(self) -> None:
        """Delete files of the lake that no version needs which anybody may still read."""
        if self.is_dry:
            for path in (table.path(self.settings) for table in TABLES):
                if exists(self.spark, path):
                    log.info("%s: %s files would be deleted", path, lake_retention.unneeded(self.spark, path))
            return
        lake_retention.vacuum_each(self.spark, TABLES, self.settings)

    def measure(self) -> None:
        """Write down what each table takes on disk, now that what is not needed is gone."""
        found = lake_disk.sizes(self.spark, TABLES, self.settings)
        if self.is_dry:
            log.info("the lake takes %s MB", f"{sum(size.bytes for size in found.values()) / 1e6:,.1f}")
            return
        with self.connection.cursor() as cursor:
            lake_disk.write_down(cursor, found)

    def expire_rows(self) -> None:
        """Drop leaves of `speed` and `batch`, and what `ops` need not remember."""
        with self.connection.cursor() as cursor:
            postgres_retention.expire(cursor, self.settings.keep, self.clock, is_dry=self.is_dry)

    @property
    def _bronze(self) -> str:
        return BRONZE.path(self.settings)


def run(settings: Settings, *, is_dry: bool = False, clock: Clock | None = None) -> int:
    """Do it all; the exit code."""
    spark = session("wikiweir-maintain-lake", more={**BATCH_SETTINGS, **LISTING})
    connection = connect(settings.postgres_dsn("batch"), "wikiweir-maintain-lake")
    try:
        with connection.cursor() as cursor:
            bind_instance(cursor, settings.source_id)
        return Maintenance(
            settings=settings, spark=spark, connection=connection, clock=clock or SystemClock(), is_dry=is_dry
        ).run()
    except RefusedError as refusal:
        log.error("%s", refusal)
        return REFUSED
    finally:
        connection.close()
        spark.stop()


def main(words: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="maintain_lake", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action=argparse.BooleanOptionalAction, default=False, help="say it, do nothing")
    given = parser.parse_args(words)
    logs.configure()
    return run(load(), is_dry=given.dry_run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
