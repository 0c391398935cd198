"""Options of the acceptance tempo, and the stack that its tests share."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local import ports
from local.airflow import Layout
from local.airflow_api import PATIENT_SECONDS, Client
from local.instance import Instance
from tests.acceptance.watch import Watch
from tests.acceptance.world import World, source_of
from tests.fixtures.odd_events import odd_events
from tests.integration.source import inject
from tests.integration.weir import Weir, settings_of

REMEMBERED = timedelta(minutes=90)
"""How long the speed layer remembers ids: so long that no copy comes later, so short that it forgets within the run."""
FORGETS = timedelta(minutes=10)
"""Going on with a state, what came in its first so many minutes is forgotten: a pause makes no difference."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hours", type=int, default=30, help="how much of the past is caught up first")
    parser.addoption("--state", type=Path, help="go on with the state folder that an earlier run left behind")
    parser.addoption("--rate", type=float, default=36.0, help="events a second, mean of a day")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    folder, left_behind = tmp_path_factory.mktemp("acceptance"), request.config.getoption("--state")
    hours, rate = request.config.getoption("--hours"), request.config.getoption("--rate")
    with ExitStack() as stack:
        made = Weir(left_behind or folder / "state")
        stack.callback(made, "down")
        made.environment["WIKIWEIR_KEEP_SEEN"] = f"PT{REMEMBERED.total_seconds():.0f}S"
        if left_behind:
            age = time.time() - (left_behind / "secrets.env").stat().st_mtime - FORGETS.total_seconds()
            made.environment["WIKIWEIR_KEEP_SEEN"] = f"PT{age:.0f}S"
            url = urlsplit(settings_of(made, stack.enter_context(pytest.MonkeyPatch.context())).source_url)
            port = source_of(stack, folder, rate, hours, url.port or 0)
            shown = made("up", "--without", "airflow,superset")  # its maintenance would expire what is to be compared
        else:
            port = source_of(stack, folder, rate, hours)
            inject(port, [line for case in odd_events("acceptance", datetime.now(UTC)) for line in case.lines])
            shown = made("up", "--source", f"http://{ports.LOOPBACK}:{port}", "--since", f"{hours + 1}h")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        settings = settings_of(made, stack.enter_context(pytest.MonkeyPatch.context()))
        watch = stack.enter_context(Watch(settings.postgres_dsn("reader")))
        running = World(
            weir=made,
            settings=settings,
            client=Client(Layout(Instance(made.home)), PATIENT_SECONDS),
            role="owner",  # `batch` is nobody else's
            port=port,
            watch=watch,
            hours=hours,
        )
        yield running
        running.tell_figures()
