"""Recent changes without a primary key."""

from sql.migrate import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_file("0002_recent_changes_without_key.sql")
