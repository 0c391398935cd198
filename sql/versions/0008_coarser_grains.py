"""The batch layer's hours, days and tops."""

from sql.migrate import run_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_file("0008_coarser_grains.sql")
