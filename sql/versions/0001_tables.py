"""The first tables: speed, batch, ops."""

from sql.migrate import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_file("0001_tables.sql")
