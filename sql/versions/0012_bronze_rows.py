"""How many rows bronze held of each published hour."""

from sql.migrate import run_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_file("0012_bronze_rows.sql")
