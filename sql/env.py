"""Alembic's entry: runs the pending versions on the connection that `sql.migrate` hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="schema_version",
    version_table_schema="ops",
)
context.run_migrations()
