"""What the settings of batch jobs are for, where no answer would show that they do nothing any more."""

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.lib.session import BATCH_SETTINGS


@pytest.mark.parametrize(("rows", "is_local"), [(1_000, True), (200_000, False)])
def test_many_rows_from_arrow_do_not_become_java_objects(spark: SparkSession, rows: int, is_local: bool) -> None:
    with_them = spark.newSession()
    for name, value in BATCH_SETTINGS.items():
        with_them.conf.set(name, value)
    frame = with_them.createDataFrame(pa.table({"edits": range(rows)}))
    assert ("LocalRelation" in frame._jdf.queryExecution().analyzed().toString()) == is_local
    assert frame.count() == rows
