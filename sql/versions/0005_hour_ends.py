"""What Kafka held when an hour had been read to its end."""

from sql.migrate import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_file("0005_hour_ends.sql")
