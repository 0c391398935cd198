"""Closes each hour: its exact numbers replace the live ones."""

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from dags.support.assets import PUBLISHED_HOURS
from dags.support.defaults import DEFAULT_ARGS, HOUR_PATTERN, START
from dags.support.readiness import WaitForHour
from dags.support.spark import spark_job


@dag(
    description=__doc__,
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULT_ARGS,
    tags=["batch", "lake"],
    params={
        "hour": Param(
            None,
            type=["null", "string"],
            pattern=HOUR_PATTERN,
            title="Hour (UTC)",
            description="Build this hour, e.g. 2026-11-23T09, also if nothing has changed. Empty: the run's own hour.",
        ),
    },
)
def lake_hourly() -> None:
    """### Close the hour

    Every hour, for the hour that has just ended:

    1. **wait_until_ready** waits (deferred: it holds no slot) until the producer has read past the end of the hour and
       both the speed query and the lake query have taken in what Kafka held then. Its log says what it waits for.
    2. **build_hours** reads the hour from one pinned version of the lake, counts each event once, has Great
       Expectations judge the result, puts it into silver and gold, and replaces the hour in `batch.*` in one
       transaction. `serving.*` shows it from then on with `layer = 'batch'`. Then it holds it against the speed layer.
       It also builds every *other* ended hour that got events since it was published, so late events need nobody; then
       each day whose hours have changed; and at last it makes one file of each hour's many in the lake. Its log has
       the seconds and figures of every step.

    **By hand:** trigger it with an hour to build that one; clear a run to build its hour again. Any number of times, in
    any order, also two at once: the tables come out equal.

    **If it fails:** the hour keeps its last version (a new hour keeps its live numbers) and other hours go on. The
    task's log names the hour and the reason; the next run tries again.
    """
    ready = WaitForHour(
        task_id="wait_until_ready", hour="{{ params.hour or '' }}", execution_timeout=timedelta(hours=12)
    )
    ready >> spark_job(
        "build_hours",
        "--hour",
        "{{ ti.xcom_pull(task_ids='wait_until_ready') }}",
        "--touched",
        "--run-id",
        "{{ run_id }}",
        outlets=[PUBLISHED_HOURS],
        priority_weight=10,  # the slot goes to hours before anything that nobody waits for
        execution_timeout=timedelta(hours=3),  # a catch-up of as many hours as a run takes on
    )


lake_hourly()
