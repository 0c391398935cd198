"""Fills a bronze table as the lake query does, or times a query over one: a Spark application of the batch benchmark.

The surprising thing: each append goes through one task, as the stream's does, so an hour has as many files as minutes.
"""

from typing import Any

from pyspark.sql import SparkSession

from bench.lib_application import main
from jobs.lib.bronze import PARTITION_COLUMN, bronze
from jobs.lib.lake import PROPERTIES
from jobs.lib.session import session
from wikiweir.clock import SystemClock

QUERY = (
    "SELECT count(*), count(DISTINCT event_id), sum(octet_length(raw)), max(CAST(kafka_time AS STRING))"
    " FROM delta.`{}` WHERE event_hour = TIMESTAMP '{}'"
)
"""Reads narrow columns and the events' bytes."""


def fill(spark: SparkSession, path: str, files: list[str]) -> None:
    """Append file after file."""
    for file in files:
        rows = bronze(spark.read.parquet(file)).coalesce(1).write.format("delta").mode("append")
        rows.partitionBy(PARTITION_COLUMN).options(**PROPERTIES).save(path)


def read(spark: SparkSession, paths: dict[str, str], hour: str, times: int) -> dict[str, list[float]]:
    """Name -> seconds of the query over that table, the tables in turn; a first time, which warms up, is left out."""
    clock = SystemClock()
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    answers = set()
    for _ in range(times + 1):
        for name, path in paths.items():
            began = clock.monotonic()
            answers.add(tuple(spark.sql(QUERY.format(path, hour)).collect()[0]))
            seconds[name].append(clock.monotonic() - began)
    if len(answers) != 1:
        raise RuntimeError(f"expected compaction to change no row, found {answers}")
    return {name: runs[1:] for name, runs in seconds.items()}


def run(job: dict[str, Any]) -> dict[str, list[float]]:
    """Fill, or read, as the job says."""
    spark = session("bench-lake")
    answer = {}
    if "files" in job:
        fill(spark, job["path"], job["files"])
    else:
        answer = read(spark, job["paths"], job["hour"], job["times"])
    spark.stop()
    return answer


if __name__ == "__main__":
    main(run, __doc__)
