"""One day, from the facts of its published hours to its rows in `batch.*_daily`: aggregate, check, promote, publish.

A day appears with its first hour and is built again whenever one of them is published, because distinct counts do not
add up. The surprising thing: hours that silver holds and that are not published are left out; their run has not ended.
"""

import logging
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection
from pyspark.sql import SparkSession

from jobs.lib.aggregate import collected
from jobs.lib.claims import claim, confirm
from jobs.lib.promote import promote_day
from jobs.lib.publish import PublishedHours, publish_day, stale_days
from jobs.lib.quality import check_day
from jobs.lib.steps import Steps
from jobs.lib.tables import FACTS, is_of
from wikiweir.clock import Clock
from wikiweir.hours import Day
from wikiweir.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBuilder:
    """Builds days for one run."""

    spark: SparkSession
    settings: Settings
    connection: Connection
    run_id: str
    clock: Clock

    def build(self, day: Day) -> None:
        """Build and publish the day as its hours are now. Raises what stopped it, with nothing of the day published."""
        with claim(self.connection, day, self.clock):
            for made_of in stale_days(self.connection):
                if made_of.day == day:
                    self._build(made_of)

    def _build(self, made_of: PublishedHours) -> None:
        steps = Steps(self.clock)
        with steps.step("aggregated"):
            facts = self.spark.read.format("delta").load(FACTS.path(self.settings))
            of_day = facts.where(is_of(made_of.hours))
            tables = collected(of_day, "day")
        with steps.step("checked"):
            check_day(self.connection, made_of, tables, self.run_id, self.settings.keep, self.clock.now())
        with steps.step("promoted"):
            confirm(self.connection)
            promote_day(self.settings, self.spark, made_of.day, tables)
        with steps.step("published"):
            version = publish_day(self.connection, made_of, tables, self.run_id)
        rows = ", ".join(f"{table.num_rows:,} {name}" for name, table in tables.items())
        log.info(
            "day %s: published as version %s from %s hours: rows %s; %s",
            made_of.day, version, len(made_of.hours), rows, steps,
        )  # fmt: skip
