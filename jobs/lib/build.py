"""One hour, from its rows in bronze to its rows in `batch.*`: clean, aggregate, check, publish, reconcile.

Its only input in time is the hour; running it again gives the same rows. The surprising thing: everything a run builds
is read from one pinned version of bronze, so its hours agree about which copy of an id is the first.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
from psycopg2.extensions import connection as Connection
from pyspark.sql import DataFrame

from jobs.lib import sql
from jobs.lib.aggregate import aggregate, outcomes
from jobs.lib.clean import clean
from jobs.lib.copying import for_copy
from jobs.lib.left import left_to_batch
from jobs.lib.offsets import Offsets
from jobs.lib.publish import REWRITTEN, Accounting, Source, publish
from jobs.lib.quality import check
from jobs.lib.reconcile import DIFFER, reconcile
from jobs.lib.snapshot import Held, Snapshot
from wikiweir.clock import Clock
from wikiweir.hours import Hour
from wikiweir.rollups import ROLLUPS, Rollup
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
    held: Mapping[Hour, Held]
    """What the pinned version holds of each hour."""
    _steps: dict[str, float] = field(default_factory=dict)

    def build(self, hour: Hour) -> None:
        """Build, publish, reconcile. Raises what stopped it, with nothing of the hour published."""
        self._steps.clear()
        source = Source(hour=hour, bronze_version=self.bronze.version, end_offsets=self.end_offsets, run_id=self.run_id)
        with self._step("cleaned"):
            records, accounting = self._records(self.bronze.table, hour)
        try:
            with self._step("aggregated"):
                facts = records.where("outcome = 'fact'")
                tables = _tables(facts)
                with self.connection.cursor() as cursor:
                    left = left_to_batch(cursor, facts, hour)
                left_tables = {} if left is None else _tables(left)
        finally:
            records.unpersist()
        with self._step("checked"):
            check(self.connection, source, tables, accounting, self.held[hour].rows if hour in self.held else 0)
        with self._step("published"):
            version = publish(self.connection, source, tables, accounting)
        with self._step("reconciled"):
            verdict = reconcile(self.connection, source, left_tables)
        self._tell(source, version, accounting, tables)
        level = logging.ERROR if verdict == DIFFER else logging.INFO
        log.log(level, "hour %s: speed layer against batch layer: %s", hour, verdict)

    def _records(self, bronze: DataFrame, hour: Hour) -> tuple[DataFrame, Accounting]:
        """The judged records of the hour, kept in memory, and what became of every row."""
        secret = self.settings.user_key_secret.get_secret_value().encode()
        cleaned = clean(bronze, hour, user_key_secret=secret, mask_addresses=self.settings.mask_addresses)
        records = cleaned.records.persist()
        found = {(row["outcome"], row["reason"]): row["records"] for row in outcomes(records).collect()}
        return records, ({**found, REWRITTEN: cleaned.rewritten} if cleaned.rewritten else found)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = self.clock.monotonic()
        yield
        self._steps[name] = self.clock.monotonic() - began

    def _tell(self, source: Source, version: int, accounting: Accounting, tables: Mapping[str, pa.Table]) -> None:
        became = ", ".join(f"{n:,} {' '.join(filter(None, what))}" for what, n in sorted(accounting.items()))
        rows = ", ".join(f"{table.num_rows:,} {name}" for name, table in tables.items())
        steps = ", ".join(f"{name} in {seconds:.1f} s" for name, seconds in self._steps.items())
        log.info("hour %s: bronze version %s holds %s", source.hour, source.bronze_version, became or "nothing")
        log.info("hour %s: published as version %s: rows %s; %s", source.hour, version, rows, steps)


def _tables(facts: DataFrame) -> dict[str, pa.Table]:
    """Rollup -> the minute rows of an hour's facts."""
    return {rollup.name: _rows(facts, rollup) for rollup in ROLLUPS}


def _rows(facts: DataFrame, rollup: Rollup) -> pa.Table:
    columns = {"window_start": "window_start"} | for_copy((*rollup.dimensions, *rollup.additive))
    return aggregate(facts, rollup).selectExpr(*sql.named(columns)).toArrow()
