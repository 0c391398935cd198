"""What retention has let go of."""

from sql.migrate import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_file("0009_retention.sql")
