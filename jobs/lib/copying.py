"""Arrow tables into PostgreSQL: COPY's binary format in memory, by one connection.

The surprising thing: PostgreSQL converts nothing here. A column's Arrow type has to be as wide as the table's, and a
uuid is its 16 bytes (`for_copy`). CSV took PostgreSQL 1.6 times as long, and rendering it ten times (ADR 9).
"""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

CHUNK_BYTES = 64 * 1024


class Declared(Protocol):
    """A dimension, a metric or a column of `wikiweir.rollups`."""

    @property
    def name(self) -> str: ...

    @property
    def pg(self) -> str: ...


class _Chunks(io.RawIOBase):
    """Hands out the data in pieces of its own size, and tells when the first is on its way and the last is not."""

    def __init__(self, data: memoryview, after_first: Callable[[], None]) -> None:
        self._data = data
        self._step = min(CHUNK_BYTES, max(1, len(data) // 2))
        self._after_first = after_first
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        if self._position == self._step:
            self._after_first()
        piece = bytes(self._data[self._position : self._position + self._step])
        self._position += self._step
        return piece


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
        cursor.copy_expert(statement, _Chunks(_binary(rows), after_first), CHUNK_BYTES)


def _binary(rows: pa.Table) -> memoryview:
    encoder = ArrowToPostgresBinaryEncoder(rows.schema)
    pieces = [encoder.write_header()]  # first: the encoder knows how far it is
    pieces += [encoder.write_batch(batch) for batch in rows.to_batches()]
    return memoryview(b"".join([*pieces, encoder.finish()]))
