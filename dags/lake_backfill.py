"""Builds a range of hours again, after showing what that would do."""

from datetime import timedelta

from airflow.sdk import Param, dag

from dags.support.assets import PUBLISHED_HOURS
from dags.support.defaults import DEFAULT_ARGS, HOUR_PATTERN, START
from dags.support.spark import spark_job


@dag(
    description=__doc__,
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["batch", "lake"],
    params={
        "first": Param(
            type="string", pattern=HOUR_PATTERN, title="First hour (UTC)", description="E.g. 2026-11-23T00."
        ),
        "last": Param(type="string", pattern=HOUR_PATTERN, title="Last hour (UTC)", description="Included."),
        "dry_run": Param(True, type="boolean", title="Only say what would be built"),
    },
)
def lake_backfill() -> None:
    """### Build a range of hours again

    For hours that were published by code that has changed since, or by hand: give the first and the last hour. As long
    as **dry_run** is on, the log of `build_hours` lists each hour with what the lake holds of it and what is published,
    and nothing is built.

    Hours are built newest first, each published as it is ready, and any number of times: the tables come out equal. An
    hour that fails stops none of the others. An hour the lake holds nothing of is left as it is.
    """
    spark_job(
        "build_hours",
        "--first",
        "{{ params.first }}",
        "--last",
        "{{ params.last }}",
        "{{ '--dry-run' if params.dry_run else '--no-dry-run' }}",
        "--run-id",
        "{{ run_id }}",
        outlets=[PUBLISHED_HOURS],
        execution_timeout=timedelta(hours=12),
    )


lake_backfill()
