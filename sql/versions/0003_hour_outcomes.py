"""The accounting of published hours."""

from sql.migrate import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_file("0003_hour_outcomes.sql")
