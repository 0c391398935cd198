"""Arrow tables into PostgreSQL: COPY's binary format in memory, by one connection.

The surprising thing: PostgreSQL converts nothing here. A column's Arrow type has to be as wide as the table's, and a
uuid is its 16 bytes (`for_copy`). CSV took PostgreSQL 1.6 times as long, and rendering it ten times (ADR 9).
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

PIECE_BYTES = 64 * 1024


class Declared(Protocol):
    """A dimension, a metric or a column of `wikiweir.rollups`."""

    @property
    def name(self) -> str: ...

    @property
    def pg(self) -> str: ...


class _Pieces(io.RawIOBase):
    """Hands out what COPY sends, piece by piece, and tells when some is on its way and some is not."""

    def __init__(self, pieces: Iterator[bytes], after_first: Callable[[], None]) -> None:
        self._pieces = pieces
        self._after_first = after_first
        self._handed_out = 0

    def read(self, size: int = -1) -> bytes:
        if self._handed_out == 1:
            self._after_first()
        self._handed_out += 1
        return next(self._pieces, b"")


def for_copy(columns: Iterable[Declared]) -> dict[str, str]:
    """Name -> the SQL that gives Spark's column as `copy` needs it; a uuid is text there, with or without hyphens."""
    return {
        column.name: f"unhex(replace({column.name}, '-', ''))" if column.pg == "uuid" else column.name
        for column in columns
    }


def copy(cursor: Cursor, tables: Mapping[str, pa.Table], after_first: Callable[[], None] = lambda: None) -> None:
    """COPY rows into tables whose columns are named and typed like theirs; where there are none, nothing is sent."""
    for name, rows in tables.items():
        if not rows.num_rows:
            continue
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(*name.split(".")), sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
        )
        cursor.copy_expert(statement, _Pieces(_binary(rows), after_first))
        if cursor.rowcount != rows.num_rows:  # PostgreSQL takes a COPY that stops between two rows
            raise RuntimeError(f"{name}: sent {rows.num_rows:,} rows, PostgreSQL has taken {cursor.rowcount:,}")


def _binary(rows: pa.Table) -> Iterator[bytes]:
    """At least two pieces, none of them empty: that would be the end. Not all at once: a day's pages are 100 MB."""
    encoder, held = ArrowToPostgresBinaryEncoder(rows.schema), bytearray()
    for encoded in _encoded(encoder, rows):
        held += encoded
        while len(held) > 2 * PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    yield bytes(held[: len(held) // 2])
    yield bytes(held[len(held) // 2 :])


def _encoded(encoder: ArrowToPostgresBinaryEncoder, rows: pa.Table) -> Iterator[bytes]:
    """As the encoder hands it out: a megabyte now and then, and for most batches nothing."""
    yield encoder.write_header()
    for batch in rows.to_batches():
        yield encoder.write_batch(batch)
    yield encoder.finish()
