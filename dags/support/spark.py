"""`spark_job()`: a task that runs one of our jobs by spark-submit, where the connection `wikiweir_spark` says.

The surprising thing: Airflow's environment has no Spark. The scheduler's environment names the `spark-submit` and the
properties file of the jobs' own environment; on a cluster's workers these are simply `spark-submit` and its defaults.
"""

import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

JOBS = Path(__file__).resolve().parents[2] / "jobs"


def spark_job(job: str, *arguments: str, task_id: str | None = None, **more: object) -> SparkSubmitOperator:
    """A task for `jobs/<job>.py`; `arguments` may be templates, `more` are the operator's own."""
    return SparkSubmitOperator(
        task_id=task_id or job,
        name=f"wikiweir-{job}",
        conn_id="wikiweir_spark",
        pool="spark",
        application=str(JOBS / f"{job}.py"),
        application_args=list(arguments),
        spark_binary=os.environ.get("WIKIWEIR_SPARK_SUBMIT", "spark-submit"),
        properties_file=os.environ.get("WIKIWEIR_SPARK_PROPERTIES"),
        **{"execution_timeout": timedelta(hours=1), **more},
    )
