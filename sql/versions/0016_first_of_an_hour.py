"""When the first record of each hour was counted."""

from sql.migrate import run_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_file("0016_first_of_an_hour.sql")
