"""Jobs that Airflow runs: killed at each of its steps, after Airflow's own retry, an hour is what it would have been.

`tests/integration/test_build_kills.py` kills jobs that are started by hand, `test_lake_hourly.py` kills a scheduler.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.orphans import is_alive
from tests.acceptance.watch import Watch
from tests.integration.airflow_kills import STEPS, kill_build, wait_until_building
from tests.integration.airflow_rig import AirflowRig, running
from wikiweir.hours import LENGTH, Hour

pytestmark = pytest.mark.timeout(3600)  # four kills, each with Airflow's half minute before it tries again


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowRig]:
    """More than an hour of invented past, at a tenth of the true rate."""
    with running(tmp_path_factory.mktemp("kills") / "state", "--rate", "4", "--history", "80m") as made:
        yield made


@pytest.fixture
def hour() -> Hour:
    """The last one."""
    return Hour(Hour.of(datetime.now(UTC)).start - LENGTH)


def test_killed_at_every_step_an_hour_comes_out_the_same(rig: AirflowRig, hour: Hour, tmp_path: Path) -> None:
    rig.wait_published(hour)
    with Watch(rig.settings.postgres_dsn("reader")) as watch:
        for number, step in enumerate(STEPS):
            rig.send_late(hour, [number])
            before, version, files = rig.served(hour), rig.published()[hour], rig.files(hour)
            run_id = rig.trigger("lake_hourly", hour=str(hour))
            print(f"{step}: {kill_build(rig, run_id, hour, step)}")
            assert (rig.served(hour) == before) == (step != "compacting"), step
            rig.wait_finished(run_id)
            assert rig.attempts(run_id) == 2, step
            assert rig.published()[hour] == version + (2 if step == "compacting" else 1), step
            assert not files & rig.files(hour), f"{step}: not compacted"
            rig.assert_hour_exact(hour, tmp_path / step)
        assert watch.is_watching
    assert not watch.seen.violations, "\n".join(watch.seen.violations)


def test_the_speed_layer_is_rebuilt(rig: AirflowRig) -> None:
    live = "SELECT generation FROM ops.generations WHERE state = 'live'"
    [(before,)] = rig.query(live)
    rig.wait_finished(rig.trigger("rebuild_speed"), "rebuild_speed", "rebuild_speed")
    [(after,)] = rig.query(live)
    assert after > before


def test_down_ends_a_job_that_runs(rig: AirflowRig, hour: Hour) -> None:
    run_id = rig.trigger("lake_hourly", hour=str(hour))
    wait_until_building(rig, run_id, hour)
    running = rig.weir.processes()
    assert rig.weir("down").returncode == 0
    assert not [process for process in running if is_alive(process)]
