"""One stack with everything for all tests of the dashboards."""

from collections.abc import Iterator

import pytest

from tests.integration.airflow_rig import AirflowRig, running


@pytest.fixture(scope="package")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowRig]:
    """More than an hour of invented past, at a tenth of the true rate."""
    folder = tmp_path_factory.mktemp("dashboards")
    with running(folder / "state", "--rate", "4", "--history", "80m", without="") as made:
        yield made
