"""When the first record of each hour was counted."""

from sql.migrate import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_file("0015_first_of_an_hour.sql")
