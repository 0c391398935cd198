"""An index that holds what charts ask of the batch layer's hours."""

from sql.migrate import run_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_file("0014_hours_of_edits.sql")
