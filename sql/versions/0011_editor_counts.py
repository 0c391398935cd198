"""How many different people and bots edited in each period."""

from sql.migrate import run_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_file("0011_editor_counts.sql")
