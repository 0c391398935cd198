"""Arrow tables into PostgreSQL: CSV in memory, COPY into the temporary tables of one connection.

The surprising thing: pyarrow quotes every string and writes NULL as nothing at all, which is exactly how COPY's CSV
tells an empty string from NULL.
"""

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.csv
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

CHUNK_BYTES = 64 * 1024


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


def copy(cursor: Cursor, table: str, rows: pa.Table, after_first: Callable[[], None] = lambda: None) -> None:
    """COPY all rows into a table whose columns are named like the table's."""
    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(rows, buffer, pyarrow.csv.WriteOptions(include_header=False))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    )
    cursor.copy_expert(statement, _Chunks(memoryview(buffer.getvalue()), after_first), CHUNK_BYTES)
