"""What was expected of each hour, and what was found."""

from sql.migrate import run_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_file("0007_quality_results.sql")
