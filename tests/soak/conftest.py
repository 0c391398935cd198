"""Options of the soak tempo, and fixtures it shares with the integration tempo."""

import pytest

from tests.integration.conftest import broker, rig, workshop  # noqa: F401 - fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=3,
        help="kills of the driver; the producer is killed twice as often (full soak: 10)",
    )
    parser.addoption("--nemesis-seed", type=int, default=None, help="replays a run of the nemesis; it prints its seed")
