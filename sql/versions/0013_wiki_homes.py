"""Wikis are at the server that their edits name."""

from sql.migrate import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_file("0013_wiki_homes.sql")
