"""Ranks the pages and editors of weeks and months, once a day."""

import logging
from datetime import timedelta

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import CronDataIntervalTimetable, dag, task

from dags.support.defaults import DEFAULT_ARGS, START

log = logging.getLogger(__name__)

CONNECTION = "wikiweir_batch"


@dag(
    description=__doc__,
    schedule=CronDataIntervalTimetable("30 0 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["batch"],
)
def rank_tops() -> None:
    """### The top of weeks and months

    Once a day it ranks the pages and the editors of every week (from Monday) and month that has days which were
    published since it was ranked, also old ones: the first 100 of each wiki and of all together. The tops of hours and
    days come with the hour and the day and need no run of this. Beside them it counts the distinct editors of each.

    What it writes: `serving.top_pages_by_period`, `serving.top_editors_by_period` and `serving.editors_by_period`,
    where `as_of` says how far a period that is still running has got. Any number of runs gives the same rows.
    """

    @task(execution_timeout=timedelta(hours=2))
    def rank() -> None:
        hook = PostgresHook(postgres_conn_id=CONNECTION, log_sql=False)
        connection = hook.get_conn()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT batch.rank_periods()")
            log.info("%s weeks and months ranked, whose days have changed since", *cursor.fetchone())

    rank()


rank_tops()
