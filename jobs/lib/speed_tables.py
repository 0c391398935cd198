"""What a judged micro-batch changes in the speed tables: ids, rollups, recent changes, outcomes, wikis.

Everything is told by Arrow tables, inside the caller's transaction. The surprising thing: rows of a window that has no
row yet go straight into their table, because nothing can conflict there; only the others are staged and merged.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from jobs.lib import judging, speed_sql
from jobs.lib.copying import copy
from jobs.lib.judging import Floor, Judged
from jobs.lib.wikis import wiki_row
from wikiweir.rollups import ROLLUPS, Rollup


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that a batch comes to. Which records count is settled; what they add up to may still be computed."""

    judged: Judged
    floor: Floor
    increments: dict[str, Future[pa.Table]]
    """Rows of each rollup, and of the recent changes."""

    @property
    def recent(self) -> pa.Table:
        """Rows of the recent changes."""
        return self.increments[speed_sql.RECENT].result()

    @property
    def rows(self) -> int:
        """How many rows all increments have."""
        return sum(rows.result().num_rows for rows in self.increments.values())

    @cached_property
    def key_hours(self) -> list[datetime]:
        """The hours of `seen` that its ids are in, new or known."""
        return judging.distinct_hours(self.judged.remembered(self.floor)["key_hour"])


@dataclass(kw_only=True)
class SpeedTables:
    """The tables of one generation, written by one connection after another."""

    generation: int
    _leaves: set[object] = field(default_factory=set)
    _wikis: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """The connection was lost: what it had found may have been undone."""
        self._leaves = set()
        self._wikis = set()

    def prepare(self, connection: Connection, changes: Changes) -> None:
        """Make the partitions that the batch needs. Committed before it, so that no lock on a parent outlives this."""
        windows = judging.distinct_days(changes.judged.facts["event_time"])
        received = judging.distinct_hours(changes.recent["received_at"])
        key_hours = changes.key_hours
        wanted: set[object] = {("window", *windows), ("key_hour", *key_hours), ("received", *received)}
        if wanted <= self._leaves:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT speed.ensure_partitions(%s, %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])",
                (self.generation, windows, key_hours, received),
            )
        self._leaves = wanted

    def write(
        self, cursor: Cursor, changes: Changes, *, with_ids: bool = True, in_copy: Callable[[], None] = lambda: None
    ) -> None:
        """Add it all. `in_copy` is called when a COPY has sent part of its data."""
        events = {speed_sql.table(speed_sql.RECENT): self._ours(changes.recent)}
        if with_ids:
            events[speed_sql.table(speed_sql.SEEN)] = self._ours(changes.judged.new_ids)
        copy(cursor, events, in_copy)
        rows = {speed_sql.stage(speed_sql.OUTCOMES): changes.judged.outcomes()}
        for rollup in ROLLUPS:
            increments = changes.increments[rollup.name].result()
            is_new = self._is_new(cursor, rollup, increments)
            rows[speed_sql.table(rollup.name)] = self._ours(increments.filter(is_new))
            rows[speed_sql.stage(rollup.name)] = increments.filter(pc.invert(is_new))
        copy(cursor, rows)
        for rollup in ROLLUPS:
            if rows[speed_sql.stage(rollup.name)].num_rows:
                cursor.execute(speed_sql.merge_rollup(rollup), (self.generation,))
        cursor.execute(speed_sql.MERGE_OUTCOMES, (self.generation,))
        cursor.execute(speed_sql.SEEN_ARRIVALS, (self.generation, changes.key_hours))
        self._add_wikis(cursor, changes.judged.facts)

    def _ours(self, rows: pa.Table) -> pa.Table:
        return rows.append_column("generation", pa.repeat(pa.scalar(self.generation, pa.int16()), rows.num_rows))

    def _is_new(self, cursor: Cursor, rollup: Rollup, rows: pa.Table) -> pa.ChunkedArray:
        """Per row whether its window has no row in the table yet."""
        windows = pc.unique(rows["window_start"])
        cursor.execute(speed_sql.new_windows(rollup), (windows.to_pylist(), self.generation))
        new = pa.array([window for (window,) in cursor.fetchall()], windows.type)
        return pc.is_in(rows["window_start"], new)

    def _add_wikis(self, cursor: Cursor, facts: pa.Table) -> None:
        if not self._wikis:
            cursor.execute("SELECT wiki FROM speed.wikis")
            self._wikis = {wiki for (wiki,) in cursor.fetchall()}
        # by edits: a log entry of a new account names auth.wikimedia.org, whichever wiki it is of
        edits = facts.filter(pc.greater(facts["edits"], 0))
        pairs = edits.group_by(["wiki", "server_name"]).aggregate([]).to_pylist()
        new = {pair["wiki"]: pair["server_name"] for pair in pairs if pair["wiki"] not in self._wikis}
        cursor.executemany(speed_sql.INSERT_WIKI, [wiki_row(*pair) for pair in new.items()])
        self._wikis |= set(new)
