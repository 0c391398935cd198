"""Lets go, once a day, of what has lived long enough."""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, task

from dags.support import housekeeping
from dags.support.defaults import DEFAULT_ARGS, START
from dags.support.spark import spark_job
from wikiweir.settings import load


@dag(
    description=__doc__,
    schedule=CronDataIntervalTimetable("40 3 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["lake", "maintenance"],
    params={"dry_run": Param(False, type="boolean", title="Only say what would go")},
)
def lake_maintenance() -> None:
    """### Let go of what has lived long enough

    Every day, each lifetime being a setting (`WIKIWEIR_KEEP_…`, see `wikiweir.settings.Lifetimes`):

    1. **maintain_lake** deletes hours of bronze that nothing has come for since (90 days), if what they hold was
       published; makes one file of older hours that have got many; removes files that no version of a lake table
       needs any more; and drops in PostgreSQL the live minutes of hours that were published and found to agree
       (48 hours), old minutes and hours of `batch.*`, and findings that are over. It writes down what each lake table
       takes on disk.
    2. **clean_metadata** and **clean_logs** do the same for Airflow's own runs and their logs (30 days).
    3. **check_published** holds what is served of the last days against itself: every hour is the sum of its minutes,
       every day that of its hours, each fact one event.

    What was published stays served, and an hour whose bronze is gone is never built again. What is in use goes the next
    day. **By hand:** trigger it with *dry_run* and read the log to see what would go.

    **If it fails:** nothing is lost, only disk space is not given back. The log names the step; run it again. Where
    `check_published` fails, its log names the hours and the page that says what to do.
    """
    maintained = spark_job(
        "maintain_lake",
        "{{ '--dry-run' if params.dry_run else '--no-dry-run' }}",
        execution_timeout=timedelta(hours=6),
    )

    # whether or not that went well; and not side by side, so that an hour that is ready gets the slot between them
    maintained >> spark_job("check_published", "--run-id", "{{ run_id }}", trigger_rule="all_done")

    @task(execution_timeout=timedelta(minutes=30))
    def clean_metadata(params: dict[str, Any] | None = None) -> None:
        housekeeping.clean_metadata(load().keep.airflow, is_dry=bool(params and params["dry_run"]))

    @task(execution_timeout=timedelta(minutes=30))
    def clean_logs(params: dict[str, Any] | None = None) -> None:
        housekeeping.clean_logs(load().keep.airflow, is_dry=bool(params and params["dry_run"]))

    clean_metadata()
    clean_logs()


lake_maintenance()
