"""The speed layer's writer without Spark: the invented hour goes on, second by second, into `speed.*`.

Every batch takes the stream's own way into PostgreSQL, from the ids it has seen to the ledger
(`jobs.lib.speed_tables`); only what reads Kafka and parses is missing. `python -m bench.dashboard_writer` keeps
developers' dashboards alive, and the benchmark times its batches. The surprising thing: it begins where the rows
end, so rows that were filled a while ago catch up first.
"""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from bench import dashboard_facts
from bench.dashboard_facts import DIGITS, LEVELS, WORDS
from jobs.lib import judging, ledger, speed_sql
from jobs.lib.copying import copy
from jobs.lib.increments import increments
from jobs.lib.judging import Floor
from jobs.lib.ledger import Entry
from jobs.lib.offsets import to_json
from jobs.lib.postgres import connect, transaction
from jobs.lib.speed_tables import Changes, SpeedTables
from wikiweir.clock import Clock, SystemClock
from wikiweir.rollups import ROLLUPS
from wikiweir.settings import load

HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
KEEP_RECENT = timedelta(hours=3)
LONGEST = timedelta(minutes=2)
"""Of a batch that catches up."""
_HEX = "lower(hex(user_key))"
_UUID = f"concat_ws('-', {', '.join(f'{_HEX}[{a}:{b}]' for a, b in ((1, 8), (9, 12), (13, 16), (17, 20), (21, 32)))})"


def _named(column: str) -> str:
    return f"replace(replace({column}, '{WORDS}', $word), '{DIGITS}', $digits)"


def _query() -> str:
    """What `jobs.lib.increments` and `jobs.lib.judging` want to know of each event (DuckDB's SQL)."""
    time = "$start + to_microseconds(at_us)"
    named = {
        "partition": "0::INTEGER",
        '"offset"': "$first + row_number() OVER (ORDER BY at_us) - 1",
        "kafka_time": time,
        "event_time": time,
        "received_at": time,
        "window_start": f"date_trunc('minute', {time})",
        "event_hour": "$start::TIMESTAMPTZ",
        "key_hour": "$start::TIMESTAMPTZ",
        "event_id": "unhex(md5(concat(hex(event_id), $word)))",
        "outcome": "'fact'",
        "reason": "''",
        "is_recent": "true",
        "title": f"CASE WHEN page_changes THEN {_named('title')} ELSE title END",
        "user_name": f"CASE WHEN user_changes THEN {_named('user_name')} ELSE user_name END",
        "user_key": f"CASE WHEN user_changes THEN unhex(md5(concat({_UUID}, $word))) ELSE user_key END",
        "old_revision": "old_revision + epoch($start)::BIGINT // 36",
        "new_revision": "new_revision + epoch($start)::BIGINT // 36",
    }
    values = {metric.name: metric.value for rollup in ROLLUPS for metric in rollup.additive}
    values["last_edit_at"] = time
    computed = {**values, **{f"in_{rollup.name}": rollup.where for rollup in ROLLUPS}}
    for name, pg in ((m.name, m.pg) for rollup in ROLLUPS for m in rollup.additive):
        if pg == "bigint":
            computed[name] = f"({computed[name]})::BIGINT"
    wanted = {**named, **computed}
    kept = [f.name for f in dashboard_facts.SCHEMA if f.name not in {*wanted, "at_us", "draw"}]
    return f"SELECT {', '.join([*kept, *(f'{sql} AS {name}' for name, sql in wanted.items())])} FROM slice"


class Writer:
    """Writes the invented hour's events of any span of time, as one micro-batch."""

    def __init__(self, connection: Connection, events: pa.Table, clock: Clock) -> None:
        self._connection, self._events, self._clock = connection, events, clock
        self._at_us, self._draw = events["at_us"].to_numpy(), events["draw"].to_numpy()
        self._duck = duckdb.connect(config={"threads": 1})
        self._duck.execute("SET TimeZone = 'UTC'")
        with connection.cursor() as cursor:
            speed_sql.create_stages(cursor)
            cursor.execute("SELECT g.generation FROM ops.generations AS g WHERE g.state = 'live'")
            self._generation = int((cursor.fetchone() or (1,))[0])
            self._last = ledger.last(cursor, self._generation)
        self._tables = SpeedTables(generation=self._generation)

    def newest(self) -> datetime:
        """Up to when there are rows."""
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT p.newest_event_at FROM ops.stream_progress AS p WHERE p.query = 'speed'")
            row = cursor.fetchone()
        return row[0].astimezone(UTC) if row and row[0] else self._clock.now()

    def write(self, since: datetime, until: datetime) -> tuple[float, int]:
        """A micro-batch of what happened in [since, until), in one hour; seconds that PostgreSQL took, and events."""
        rows = self._rows(since, until)
        began = self._clock.monotonic()
        if rows.num_rows:
            self._commit(rows)
        return self._clock.monotonic() - began, rows.num_rows

    def _rows(self, since: datetime, until: datetime) -> pa.Table:
        hour = since.replace(minute=0, second=0, microsecond=0)
        first, end = np.searchsorted(self._at_us, [(since - hour) // MICROSECOND, (until - hour) // MICROSECOND])
        is_in = self._draw[first:end] < LEVELS[dashboard_facts.level(hour)]
        slice = self._events.slice(first, end - first).filter(pa.array(is_in))
        self._duck.register("slice", slice)
        values = {
            "start": hour,
            "word": dashboard_facts.own_word(hour),
            "digits": dashboard_facts.own_digits(hour),
            "first": self._last.end_offsets.get(0, 0) if self._last else 0,
        }
        table = self._duck.sql(_query(), params=values).to_arrow_table()
        return pa.table({name: _plain(table[name]) for name in table.column_names})

    def _commit(self, rows: pa.Table) -> None:
        with self._connection.cursor() as cursor:
            judged = judging.judge(rows, *self._known(cursor, rows), Floor())
        changes = Changes(
            judged=judged, floor=Floor(), increments=increments(judged.facts, self._clock.now() - KEEP_RECENT)
        )
        self._tables.prepare(self._connection, changes)
        entry = self._entry(rows, judged)
        with transaction(self._connection) as cursor:
            cursor.execute("SELECT FROM ops.stream_owner AS o WHERE o.generation = %s FOR UPDATE", (self._generation,))
            self._tables.write(cursor, changes)
            ledger.append(cursor, entry)
        self._last = entry

    def _known(self, cursor: Cursor, rows: pa.Table) -> tuple[np.ndarray, pa.Table, list[int]]:
        later = judging.later_copies(rows)
        ids = judging.first_copies(rows, later)
        cursor.execute(speed_sql.EMPTY_IDS)
        copy(cursor, {speed_sql.IDS: ids})
        cursor.execute(speed_sql.KNOWN_IDS, (self._generation, judging.distinct_hours(ids["key_hour"])))
        return later, ids, [n for (n,) in cursor.fetchall()]

    def _entry(self, rows: pa.Table, judged: judging.Judged) -> Entry:
        last, times = self._last, rows["kafka_time"].to_pylist()
        start = last.end_offsets if last else {0: 0}
        facts = judged.count("fact")
        return Entry(
            generation=self._generation,
            sequence=(last.sequence if last else 0) + 1,
            checkpoint_id=last.checkpoint_id if last else "invented",
            batch_id=(last.batch_id if last else -1) + 1,
            start_offsets=start,
            end_offsets={**start, 0: start.get(0, 0) + rows.num_rows},
            received=rows.num_rows,
            facts=facts,
            duplicates=rows.num_rows - facts,
            oldest_kafka_time=min(times),
            newest_kafka_time=max(times),
        )

    def report(self, newest: datetime, rate: float) -> None:
        """Both queries are well, as the stream's reporter says it."""
        offsets = Json(to_json(self._last.end_offsets if self._last else {}))
        with self._connection.cursor() as cursor:
            cursor.execute(
                "UPDATE ops.stream_progress SET updated_at = now(), newest_event_at = %s, rows_per_second = %s,"
                " end_offsets = %s, kafka_end_offsets = %s WHERE query = 'speed'",
                (newest, rate, offsets, offsets),
            )
            cursor.execute("UPDATE ops.stream_progress SET updated_at = now() WHERE query = 'lake'")


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB's column as Spark hands it over."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", "UTC"))
    return column


def keep_on(writer: Writer, clock: Clock, is_over: Callable[[], bool], note: Callable[..., None]) -> None:
    """A batch a second, from where the rows end; what is behind comes in greater ones.

    `note` is told of each when it began (on the machine's clock), its seconds in PostgreSQL, its events, and how many
    seconds the rows were behind when it began.
    """
    at = writer.newest()
    while not is_over():
        began, now = clock.monotonic(), clock.now()
        hour_end = at.replace(minute=0, second=0, microsecond=0) + HOUR
        until = min(now, at + LONGEST, hour_end)
        seconds, events = writer.write(at, until)
        writer.report(until, events / max((until - at).total_seconds(), 0.001))
        note(began, seconds, events, (now - at).total_seconds())
        at = until
        if clock.now() - at < timedelta(seconds=1):
            clock.sleep(max(0.0, 1.0 - (clock.monotonic() - began)))


def main() -> None:
    """See --help."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard_writer", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="as the rows were filled")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tame", action="store_true", help="without hostile titles")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long (default: until it is ended)")
    parser.add_argument("--batches", type=Path, help="file for a line a batch: [began, seconds, events, behind]")
    args = parser.parse_args()
    clock = SystemClock()
    events = dashboard_facts.make(args.seed, args.scale, is_hostile=not args.tame)
    writer = Writer(connect(load().postgres_dsn("stream"), "dashboard_writer"), events, clock)
    end = clock.monotonic() + args.seconds
    print(f"goes on from {writer.newest():%Y-%m-%d %H:%M:%S}", flush=True)
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        log = stack.enter_context(args.batches.open("w", encoding="ascii")) if args.batches else None

        def note(*batch: float) -> None:
            if log:
                log.write(json.dumps(batch) + "\n")
                log.flush()

        keep_on(writer, clock, lambda: clock.monotonic() > end, note)


if __name__ == "__main__":
    main()
