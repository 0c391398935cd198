"""Sums of each hour over all wikis."""

from sql.migrate import run_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_file("0017_hour_totals.sql")
