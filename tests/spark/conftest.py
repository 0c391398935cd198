"""One Spark session for all tests of this tempo, with the jobs' own settings and no jar besides Spark's.

As on a host with summer time: the session has to see to it that nothing depends on that.
"""

import os
import time
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs.lib.session import session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config(
        "spark.driver.host", "127.0.0.1"
    ).config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.adaptive.enabled", "false").getOrCreate()
    made = session("tests", lake=False)
    yield made
    made.stop()
