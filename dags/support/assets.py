"""What the DAGs publish, for other DAGs to follow."""

from airflow.sdk import Asset

PUBLISHED_HOURS = Asset(name="published_hours", uri="wikiweir://batch/published_hours", group="batch")
"""Rows of `ops.published_hours`: an hour is exact in `serving` from then on."""
