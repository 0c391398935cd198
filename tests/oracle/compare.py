"""Says how PostgreSQL's tables differ from the oracle's, row for row, and their sha256 either way.

Tests ask for published hours and days, too; as a program it looks at one generation of the speed layer:

    python tests/oracle/compare.py --oracle DIR --dsn-file FILE [--generation N]

Exits 1 if anything differs. The surprising thing: rows of the same key that differ are counted once, as *different*,
and never as one missing and one extra.
"""

import argparse
import hashlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

TABLES = {  # file of the oracle: table of PostgreSQL
    "activity": ("speed", "activity"),
    "user_activity": ("speed", "user_activity"),
    "page_activity": ("speed", "page_activity"),
    "edit_sizes": ("speed", "edit_sizes"),
    "recent_changes": ("speed", "recent_changes"),
    "outcomes": ("ops", "stream_outcomes"),
}
ROLLUPS = ("activity", "user_activity", "page_activity", "edit_sizes")
OF_PERIODS = ("top_pages", "top_editors", "editor_counts")
EXAMPLES = 3
NUMBERS = ("integer", "bigint", "smallint")
Row = list[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """What separates one table from what it should hold."""

    table: str
    rows: int
    missing: int
    extra: int
    different: int
    expected_sha256: str
    found_sha256: str
    examples: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        return self.expected_sha256 == self.found_sha256

    def __str__(self) -> str:
        head = (
            f"{self.table}: {self.missing} missing, {self.extra} extra, {self.different} different of {self.rows} rows"
        )
        hashes = f"  sha256 expected {self.expected_sha256[:16]}, found {self.found_sha256[:16]}"
        return "\n".join([head, hashes, *(f"  {example}" for example in self.examples)])


@dataclass(frozen=True, slots=True)
class Expected:
    """A table of the oracle."""

    columns: list[str]
    key: int
    """How many columns it is long."""
    rows: Iterator[Row]
    """In order of their key, each once."""


def read_oracle(path: Path) -> Expected:
    """Its rows are read from the file as they are asked for."""
    with path.open(encoding="utf-8") as lines:
        header = json.loads(next(lines))

    def rows() -> Iterator[Row]:
        before: Row = []
        with path.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, 1, None):
                row = json.loads(line)
                if before and row[: header["key"]] <= before:
                    raise ValueError(f"{path}: {before} does not come before {row}, the oracle itself is wrong")
                before = row[: header["key"]]
                yield row

    return Expected(header["columns"], header["key"], rows())


def read_postgres(
    connection: Any, place: tuple[str, str], columns: list[str], key: int, where: sql.Composable, more: set[str]
) -> Iterator[Row]:
    """The same columns of a table's rows, ordered by its key; instants and uuids as the oracle writes them.

    `more`: columns beside them.
    """
    schema, name = place
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
            (schema, name),
        )
        types = dict(cursor.fetchall())
    strange = set(types) ^ {*columns, *more}
    if strange:
        raise ValueError(f"columns of {schema}.{name} and the oracle's are not the same: {', '.join(sorted(strange))}")
    shown = [sql.SQL(_as_text(types[column])).format(sql.Identifier(column)) for column in columns]
    # as Python orders text: by code point
    order = [
        sql.SQL("{}" if types[column] in NUMBERS else '{} COLLATE "C"').format(text)
        for column, text in zip(columns[:key], shown, strict=False)
    ]
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(shown), sql.Identifier(schema, name), where, sql.SQL(", ").join(order)
    )
    with connection.cursor(name=f"compare_{name}") as cursor:
        cursor.itersize = 10_000
        cursor.execute(query)
        for row in cursor:
            yield list(row)


def _as_text(data_type: str) -> str:
    if data_type == "timestamp with time zone":
        return """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    return "{}::text" if data_type == "uuid" else "{}"


def difference(table: str, expected: Iterable[Row], found: Iterable[Row], key: int) -> Difference:
    """Compare two tables of the same columns, both in order of their key: neither has to fit into memory."""
    hashes = hashlib.sha256(), hashlib.sha256()
    sides = [_hashed(rows, digest) for rows, digest in zip((expected, found), hashes, strict=True)]
    counts: Counter[str] = Counter()
    examples: list[str] = []

    def note(what: str, example: str) -> None:
        counts[what] += 1
        if counts[what] <= EXAMPLES:
            examples.append(f"{what} {example}"[:2000])

    wanted, there = (next(side, None) for side in sides)
    while wanted is not None or there is not None:
        if there is None or (wanted is not None and wanted[:key] < there[:key]):
            note("missing", f"{wanted}")
            wanted = next(sides[0], None)
        elif wanted is None or there[:key] < wanted[:key]:  # also the second row of a key
            note("extra", f"{there}")
            there = next(sides[1], None)
        else:
            if wanted != there:
                note("different", f"at {wanted[:key]}: expected {wanted[key:]}, found {there[key:]}")
            counts["both"] += 1
            wanted, there = (next(side, None) for side in sides)
    missing, extra, different = counts["missing"], counts["extra"], counts["different"]
    of_expected, of_found = (digest.hexdigest() for digest in hashes)
    rows = counts["both"] + missing
    return Difference(table, rows, missing, extra, different, of_expected, of_found, tuple(examples))


def _hashed(rows: Iterable[Row], digest: Any) -> Iterator[Row]:
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        yield row


def compare(oracle: Path, dsn: str, generation: int | None = None) -> list[Difference]:
    """Every table of the oracle against PostgreSQL, in one snapshot; `generation` defaults to the live one."""
    connection = psycopg2.connect(dsn)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        if generation is None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT generation FROM ops.generations WHERE state = 'live'")
                [(generation,)] = cursor.fetchall()
        found = []
        where = sql.SQL("generation = {}").format(sql.Literal(generation))
        for table, place in TABLES.items():
            expected = read_oracle(oracle / f"{table}.ndjson")
            more = {"generation", *({"first_at"} if table == "outcomes" else ())}
            rows = read_postgres(connection, place, expected.columns, expected.key, where, more)
            found.append(difference(table, expected.rows, rows, expected.key))
        return found
    finally:
        connection.close()


def compare_hour(oracle: Path, dsn: str, hour: datetime) -> list[Difference]:
    """One hour (its start, UTC) as the oracle has it against what is published: minutes, hour, tops, accounting."""
    return compare_hours(oracle, dsn, hour, hour + timedelta(hours=1))


def compare_hours(oracle: Path, dsn: str, start: datetime, end: datetime) -> list[Difference]:
    """The same of every hour of a period, all of which must be published."""
    tables = [rollup + suffix for rollup in ROLLUPS for suffix in ("", "_hourly")]
    with closing(psycopg2.connect(dsn)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        return [*_published(connection, oracle, tables, "hour", start, end), _outcomes(connection, oracle, start, end)]


def compare_day(oracle: Path, dsn: str, day: datetime) -> list[Difference]:
    """One day (its start, UTC), of which the oracle knows the same hours that are published."""
    return compare_days(oracle, dsn, day, day + timedelta(days=1))


def compare_days(oracle: Path, dsn: str, start: datetime, end: datetime) -> list[Difference]:
    """The same of every day of a period."""
    tables = [f"{rollup}_daily" for rollup in ROLLUPS]
    with closing(psycopg2.connect(dsn)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        return _published(connection, oracle, tables, "day", start, end)


def _published(
    connection: Any, oracle: Path, tables: list[str], grain: str, start: datetime, end: datetime
) -> list[Difference]:
    """Rows of a period in tables of `batch`, its tops, and how many editors it had."""
    begins, ends, window = _between("window_start", start, end)
    found = []
    for table in [*tables, *OF_PERIODS]:
        expected = read_oracle(oracle / f"{table}.ndjson")
        at = expected.columns.index("window_start")
        rows = (row for row in expected.rows if begins <= row[at] < ends)
        where, more = window, set()
        if table in OF_PERIODS:
            rows = (row for row in rows if row[0] == grain)
            where, more = sql.SQL("{} AND grain = {}").format(window, sql.Literal(grain)), {"as_of"}
        published = read_postgres(connection, ("batch", table), expected.columns, expected.key, where, more)
        found.append(difference(table, rows, published, expected.key))
    return found


def _outcomes(connection: Any, oracle: Path, start: datetime, end: datetime) -> Difference:
    """The accounting of published hours; the oracle calls its hour otherwise, and knows of no rewritten rows."""
    expected = read_oracle(oracle / "outcomes.ndjson")
    begins, ends, where = _between("hour", start, end)
    columns = ["hour", "outcome", "reason", "records"]
    published = read_postgres(connection, ("ops", "hour_outcomes"), columns, expected.key, where, set())
    rows = (row for row in expected.rows if begins <= row[0] < ends)
    return difference("hour_outcomes", rows, published, expected.key)


def _between(column: str, start: datetime, end: datetime) -> tuple[str, str, sql.Composed]:
    """Both ends as text that sorts as the oracle's instants do, and the condition on a column."""
    begins, ends = (at.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") for at in (start, end))
    where = sql.SQL("{0} >= {1} AND {0} < {2}").format(
        sql.Identifier(column), sql.Literal(f"{begins}Z"), sql.Literal(f"{ends}Z")
    )
    return begins, ends, where


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", type=Path, required=True, help="folder the oracle wrote")
    parser.add_argument("--dsn-file", type=Path, required=True, help="file with the owner's libpq URL")
    parser.add_argument("--generation", type=int, help="default: the live one")
    args = parser.parse_args()
    found = compare(args.oracle, args.dsn_file.read_text(encoding="utf-8").strip(), args.generation)
    print("\n".join(str(table) for table in found))
    return 0 if all(table.is_none for table in found) else 1


if __name__ == "__main__":
    sys.exit(main())
