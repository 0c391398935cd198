"""What both layers say of a published hour."""

from sql.migrate import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_file("0006_reconciliation.sql")
