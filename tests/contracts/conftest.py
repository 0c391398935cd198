"""Fixtures that contract tests share."""

from datetime import datetime

import pytest

from wikiweir.clock import SystemClock


@pytest.fixture(scope="module")
def hour() -> datetime:
    """The running hour; not in its last half minute, because it must last as long as these tests."""
    if SystemClock().now().minute + SystemClock().now().second / 60 > 59.5:
        SystemClock().sleep(31)
    return SystemClock().now().replace(minute=0, second=0, microsecond=0)
