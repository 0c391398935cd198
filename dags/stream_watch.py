"""Fails when somebody should look, and names the runbook."""

from datetime import timedelta

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import CronDataIntervalTimetable, dag, task

from dags.support.defaults import DEFAULT_ARGS, START
from dags.support.readiness import CONNECTION


@dag(
    description=__doc__,
    schedule=CronDataIntervalTimetable("*/5 * * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    # it comes again in five minutes anyway; a second look tells a restart from an outage
    default_args=DEFAULT_ARGS | {"retries": 1, "retry_delay": timedelta(seconds=45)},
    tags=["stream", "watch"],
)
def stream_watch() -> None:
    """### Is the stream well?

    Every five minutes it asks `ops.complaints()`, which is also what `SELECT * FROM ops.complaints()` shows a person:

    - a query that is silent, or behind Kafka; a source without events,
    - an hour that is over and has not been published,
    - every open incident.

    A run that fails has found something on two looks; its log names each finding and the page of `docs/runbooks/` that
    says what to do. It changes nothing.
    """

    @task(execution_timeout=timedelta(minutes=2))
    def look() -> None:
        hook = PostgresHook(postgres_conn_id=CONNECTION, log_sql=False)
        found = hook.get_records("SELECT runbook, subject, message FROM ops.complaints() ORDER BY 1, 2")
        if found:
            lines = [f"{subject}: {message}\n  -> docs/runbooks/{runbook}.md" for runbook, subject, message in found]
            raise RuntimeError(f"{len(found)} to look at:\n" + "\n".join(lines))

    look()


stream_watch()
