"""Brings a PostgreSQL server to this checkout's state: roles, database, tables, functions, views, comments, grants.

Tables change by Alembic versions, each a hand-written SQL file. Everything that can be said again (functions, views,
comments, grants) stands in files of its own, applied together, in one transaction, whenever one of them has changed.
`python -m sql.migrate` may run at any time, beside itself, and does nothing where all is current.
"""

import hashlib
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg2
from alembic import command, op
from alembic.config import Config
from psycopg2.extensions import connection
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from sql.roles import admin_connection, ensure_database, ensure_roles, forbid_large_objects
from wikiweir.settings import Settings, load

HERE = Path(__file__).resolve().parent
REPEATABLE = (
    "functions.sql",
    "generated/views.sql",
    "named_views.sql",
    "operations_views.sql",
    "generated/comments.sql",
    "grants.sql",
)
"""In order: views need functions, comments need views, grants need all."""

LOCK = 7_945_340
"""Advisory lock of a running migration (any number nobody else takes)."""


def migrate(settings: Settings, admin_dsn: str | None = None) -> None:
    """Create or update roles, database and schema; `admin_dsn` wins over the setting."""
    dsn = admin_dsn or (settings.postgres_admin_dsn and settings.postgres_admin_dsn.get_secret_value())
    if not dsn:
        raise ValueError("expected the DSN of a server administrator, found none; set WIKIWEIR_POSTGRES_ADMIN_DSN")
    admin = admin_connection(dsn)
    try:
        with admin.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        ensure_roles(admin, settings)
        ensure_database(admin, settings.postgres_dbname)
        forbid_large_objects(dsn, settings.postgres_dbname)
        _migrate_database(settings.postgres_dsn("owner"))
    finally:
        admin.close()


def _migrate_database(owner_dsn: str) -> None:
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(owner_dsn), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", quote(str(HERE)))
    with engine.begin() as connected:
        raw = connected.connection.driver_connection
        assert raw is not None
        with raw.cursor() as cursor:
            cursor.execute("SET lock_timeout = '20s'; CREATE SCHEMA IF NOT EXISTS ops")
        config.attributes["connection"] = connected
        command.upgrade(config, "head")
        apply_repeatable(raw)


def run_file(name: str) -> None:
    """Run a hand-written SQL file inside a version."""
    raw = op.get_bind().connection.driver_connection
    assert raw is not None
    with raw.cursor() as cursor:
        cursor.execute((HERE / name).read_text(encoding="utf-8"))


def apply_repeatable(owner: connection) -> bool:
    """Apply the repeatable files if their hash is not the one applied last; returns whether it did."""
    texts = [(HERE / name).read_text(encoding="utf-8") for name in REPEATABLE]
    wanted = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    with owner.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM ops.repeatable_files")
        if cursor.fetchone() == (wanted,):
            return False
        for text in texts:
            cursor.execute(text)
        # a rollup that came with this version gets its tables in every generation that is still in use
        cursor.execute("SELECT speed.ensure_generation(generation) FROM ops.generations WHERE state <> 'retired'")
        cursor.execute(
            "INSERT INTO ops.repeatable_files (sha256) VALUES (%s)"
            " ON CONFLICT (only_row) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()",
            (wanted,),
        )
    return True


if __name__ == "__main__":
    try:
        migrate(load())
    except (ValueError, psycopg2.Error) as failure:
        sys.exit(f"sql.migrate: {failure}")
