"""Brings the dashboards into Superset and asks each chart for its data, after every published hour."""

from airflow.sdk import dag

from dags.support.assets import PUBLISHED_HOURS
from dags.support.defaults import DEFAULT_ARGS, START
from dags.support.modules import module


@dag(
    description=__doc__,
    schedule=[PUBLISHED_HOURS],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    # a dashboard that is wrong is as wrong on the next try; the second one is for a Superset that was just starting
    default_args=DEFAULT_ARGS | {"retries": 1},
    tags=["dashboards"],
)
def dashboards_rebuild() -> None:
    """### Rebuild the dashboards

    What Superset shows stands in `dashboards/` and nowhere else. After each published hour, and by hand:

    1. **sync** holds the whole chain together, dashboard, chart, dataset, column, real table, and lists *every*
       discrepancy; then nothing is imported. Else it imports what has changed: in the files, or in Superset, so that
       what somebody altered there by hand is put back. What was taken out of the files is deleted there. Dashboards
       that people make there themselves are left alone.
    2. **checks** asks every chart for its data as its dashboard opens with, which leaves the answers in the cache for
       those who look next, and writes seconds, rows and error of each into `ops.dashboard_checks`.

    Both are skipped where `WIKIWEIR_SUPERSET_URL` names no Superset.

    **If it fails:** readers keep what was imported last. The log of `sync` names each file and what is wrong with it;
    the log of `checks` names each broken chart with the words of the database, column included. See
    `docs/runbooks/dashboard_broken.md`; after mending it, trigger a run.
    """
    module("dashboards.sync") >> module("dashboards.checks", "--run-id", "{{ run_id }}")


dashboards_rebuild()
