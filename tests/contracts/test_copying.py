"""COPY of Arrow tables into PostgreSQL: every row arrives, in however many batches of whatever size."""

from contextlib import closing

import pyarrow as pa
import pytest

from jobs.lib.copying import copy
from tests.conftest import Postgres


@pytest.mark.parametrize("batches", [(1,), (1, 2), (0, 1), (1, 0, 1), (383, 383), (100_000, 0, 7, 50_000)])
def test_every_row_arrives(postgres: Postgres, batches: tuple[int, ...]) -> None:
    rows = pa.concat_tables(pa.table({"n": pa.array(range(size), pa.int64())}) for size in batches)
    parts = []
    with closing(postgres.connect("batch")) as batch, batch.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE copied (n bigint)")
        copy(cursor, {"pg_temp.copied": rows}, lambda: parts.append("first"))
        cursor.execute("SELECT count(*), sum(n) FROM copied")
        assert cursor.fetchone() == (sum(batches), sum(size * (size - 1) // 2 for size in batches))
    assert parts == ["first"], "told once, though what is sent is small"
