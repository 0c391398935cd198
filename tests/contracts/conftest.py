"""Fixtures that contract tests share."""

from datetime import datetime, timedelta

import pytest

from wikiweir.clock import SystemClock
from wikiweir.hours import Hour

LASTS = timedelta(minutes=2)
"""More than a module's tests take."""


@pytest.fixture(scope="module")
def hour() -> datetime:
    """The running hour; not in its last minutes, because it must last as long as these tests."""
    clock = SystemClock()
    now = clock.now()
    running = Hour.of(now)
    if running.end - now >= LASTS:
        return running.start
    clock.sleep((running.end - now).total_seconds())
    return running.end
