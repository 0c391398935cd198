"""Options of the acceptance tempo."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hours", type=int, default=30, help="how much of the past is caught up first")
    parser.addoption("--state", type=Path, help="go on with the state folder that an earlier run left behind")
    parser.addoption("--rate", type=float, default=36.0, help="events a second, mean of a day")
