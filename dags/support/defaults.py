"""What every DAG of the house has in common."""

from datetime import UTC, datetime, timedelta

DEFAULT_ARGS = {
    "owner": "wikiweir",
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
}

HOUR_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}$"
"""How a parameter names an hour of UTC, e.g. 2026-11-23T09."""

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Before the first instance; nothing is caught up from it, because runs find what is to be done by themselves."""
