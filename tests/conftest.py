"""Fixtures that several tempos share. Real programs start at first use, once a session."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg2
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg2.extensions import connection

from wikiweir.settings import Settings

# how long an example takes says something about the machine, not about the code
hypothesis_settings.register_profile("weir", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("weir")

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A migrated, empty database of one's own on a real server."""

    settings: Settings

    def dsn(self, role: str) -> str:
        """libpq URL of owner, stream, batch, reader; of the superuser for admin (database `postgres`)."""
        if role == "admin":
            assert self.settings.postgres_admin_dsn
            return self.settings.postgres_admin_dsn.get_secret_value()
        return self.settings.postgres_dsn(role)

    def connect(self, role: str, autocommit: bool = True) -> connection:
        """A connection as that role; the caller closes it."""
        connected = psycopg2.connect(self.dsn(role))
        connected.autocommit = autocommit
        return connected


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real server that nothing has been done to; as the settings that reach it."""
    from local.postgres import Server

    with Server(tmp_path_factory.mktemp("server") / "postgres") as server:
        passwords = {f"postgres_{role}_password": f"invented-{role}" for role in ("owner", "stream", "batch", "reader")}
        yield Settings.model_validate(
            {
                "postgres_port": server.port,
                "postgres_dbname": "wikiweir_template",
                "postgres_admin_dsn": server.admin_dsn,
                "source_id": "test",
                "user_key_secret": "invented-key",
                **passwords,
            }
        )


@pytest.fixture(scope="session")
def _migrated(postgres_server: Settings) -> Settings:
    from sql.migrate import migrate

    migrate(postgres_server)
    return postgres_server


@pytest.fixture(scope="module")
def postgres(_migrated: Settings) -> Iterator[Postgres]:
    """A fresh copy of the migrated database for each test module."""
    from sql.roles import admin_connection, ensure_database

    settings = _migrated.model_copy(update={"postgres_dbname": f"wikiweir_test_{next(_numbers)}"})
    made = Postgres(settings)
    admin = admin_connection(made.dsn("admin"))
    with admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {settings.postgres_dbname} TEMPLATE wikiweir_template OWNER wikiweir_owner")
    ensure_database(admin, settings.postgres_dbname)
    yield made
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {settings.postgres_dbname} WITH (FORCE)")
    admin.close()
