"""One hour, from its rows in bronze to its rows in `batch.*`: clean, aggregate, check, promote, publish, reconcile.

Its only input in time is the hour; running it again gives the same rows. The surprising thing: everything a run builds
is read from one pinned version of bronze, so its hours agree about which copy of an id is the first.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json
from pyspark.sql import DataFrame

from jobs.lib.aggregate import collected, outcomes
from jobs.lib.claims import claim, confirm
from jobs.lib.clean import clean
from jobs.lib.left import left_to_batch
from jobs.lib.offsets import Offsets
from jobs.lib.plan import is_touched
from jobs.lib.promote import promote_hour
from jobs.lib.publish import REWRITTEN, Accounting, Source, Tables, publish, refuse_older
from jobs.lib.quality import check_hour
from jobs.lib.quarantine import quarantine_rejected
from jobs.lib.reconcile import DIFFER, reconcile
from jobs.lib.snapshot import Snapshot
from jobs.lib.steps import Steps
from wikiweir.clock import Clock
from wikiweir.hours import Day, Hour
from wikiweir.settings import Settings

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class HourBuilder:
    """Builds hours of one pinned version of bronze, one after the other, for one run."""

    settings: Settings
    connection: Connection
    run_id: str
    clock: Clock
    bronze: Snapshot
    end_offsets: Offsets
    asked: Collection[Hour]
    """Hours that are built though nothing touched them."""

    def build(self, hour: Hour) -> None:
        """Build, publish, reconcile. Raises what stopped it, with nothing of the hour published.

        An hour that nobody asked for is left alone where another run has published all of it meanwhile.
        """
        with claim(self.connection, Day.of(hour.start), self.clock):
            if hour not in self.asked and not self._is_touched(hour):
                log.info("hour %s: another run has published it meanwhile", hour)
                return
            source = Source(
                hour=hour,
                bronze_version=self.bronze.version,
                bronze_rows=self.bronze.held[hour].rows,
                end_offsets=self.end_offsets,
                run_id=self.run_id,
            )
            refuse_older(self.connection, source)
            self._build(source)

    def _is_touched(self, hour: Hour) -> bool:
        with self.connection.cursor() as cursor:
            return is_touched(cursor, hour, self.bronze.held[hour])

    def _build(self, source: Source) -> None:
        hour, steps = source.hour, Steps(self.clock)
        with steps.step("cleaned"):
            records, accounting = self._records(self.bronze.table, hour)
        try:
            with steps.step("aggregated"):
                facts = records.where("outcome = 'fact'")
                tables = collected(facts, "minute", "hour")
                with self.connection.cursor() as cursor:
                    left = left_to_batch(cursor, facts, hour)
                left_tables = {} if left is None else collected(left, "minute")
                rejected = sum(n for (outcome, _), n in accounting.items() if outcome == "rejected")
                quarantine_rejected(self.settings, records, self.bronze.table, hour, rejected)
            with steps.step("checked"):
                check_hour(self.connection, source, tables, accounting)
            with steps.step("promoted"):
                confirm(self.connection)
                lake_versions = promote_hour(self.settings, facts, hour, tables)
        finally:
            records.unpersist()
        with steps.step("published"):
            version = publish(self.connection, source, tables, accounting, lake_versions)
        with steps.step("reconciled"):
            verdict = reconcile(self.connection, source, left_tables)
        self._keep(source, version, steps)
        _tell(source, version, accounting, tables, steps)
        level = logging.ERROR if verdict == DIFFER else logging.INFO
        log.log(level, "hour %s: speed layer against batch layer: %s", hour, verdict)

    def _records(self, bronze: DataFrame, hour: Hour) -> tuple[DataFrame, Accounting]:
        """The judged records of the hour, kept in memory, and what became of every row."""
        secret = self.settings.user_key_secret.get_secret_value().encode()
        cleaned = clean(bronze, hour, user_key_secret=secret, mask_addresses=self.settings.mask_addresses)
        records = cleaned.records.persist()
        found = {(row["outcome"], row["reason"]): row["records"] for row in outcomes(records).collect()}
        return records, ({**found, REWRITTEN: cleaned.rewritten} if cleaned.rewritten else found)

    def _keep(self, source: Source, version: int, steps: Steps) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "UPDATE ops.published_hours SET seconds = %s WHERE hour = %s AND version = %s",
                (Json(steps.seconds), source.hour.start, version),
            )


def _tell(source: Source, version: int, accounting: Accounting, tables: Tables, steps: Steps) -> None:
    became = ", ".join(f"{n:,} {' '.join(filter(None, what))}" for what, n in sorted(accounting.items()))
    rows = ", ".join(f"{table.num_rows:,} {name}" for name, table in tables.items())
    log.info("hour %s: bronze version %s holds %s", source.hour, source.bronze_version, became or "nothing")
    log.info("hour %s: published as version %s: rows %s; %s", source.hour, version, rows, steps)
