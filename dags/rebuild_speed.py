"""Fills the speed layer anew from Kafka, by hand."""

from datetime import timedelta

from airflow.sdk import Param, dag

from dags.support.defaults import DEFAULT_ARGS, START
from dags.support.spark import spark_job


@dag(
    description=__doc__,
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["speed"],
    params={
        "new": Param(
            False,
            type="boolean",
            title="Begin anew",
            description="Also if an earlier run was ended half-way. Off: go on where it stood.",
        ),
    },
)
def rebuild_speed() -> None:
    """### Fill the speed layer anew

    For live numbers that were counted wrongly: after a change of what is counted, or when an hour's layers differ.

    **rebuild_speed** counts everything that Kafka still holds into a generation of tables beside the live one, which
    goes on and stays served. When the new one has caught up, one transaction swaps them, and the running stream goes on
    with the new one. Exact hours of the batch layer are not touched.

    While it runs it holds the only slot of the Spark pool, so hours close after it.

    **If it fails:** nothing has changed for readers. Run it again; it goes on where it stood. It refuses where Kafka no
    longer holds what the live generation's ledger begins with, because then something would be lost: always in an
    instance that is older than what Kafka keeps (7 days, or a size). `docs/runbooks/layers_differ.md` says what then.
    """
    spark_job("rebuild_speed", "{{ '--new' if params.new else '--no-new' }}", execution_timeout=timedelta(hours=12))


rebuild_speed()
