"""Sums of each minute over all wikis."""

from sql.migrate import run_file

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_file("0018_minute_totals.sql")
