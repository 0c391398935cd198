"""What the dashboards' import has put into Superset, thing by thing."""

from sql.migrate import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_file("0015_imported_dashboards.sql")
