"""Leaves of `seen` are unique by id alone."""

from sql.migrate import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_file("0004_leaves_of_seen_by_id.sql")
