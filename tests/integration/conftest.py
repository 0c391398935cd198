"""Fixtures that the tests with real programs share."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.kafka import Broker
from sql.roles import admin_connection, ensure_database
from tests.integration.speed_rig import Rig
from tests.integration.workshop import Workshop
from wikiweir.settings import Settings

_rigs = itertools.count(1)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Kafka for all tests that bring their own topics."""
    with Broker(tmp_path_factory.mktemp("kafka") / "kafka") as running:
        yield running


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, _migrated: Settings) -> Iterator[Workshop]:
    """One driver for all jobs that need no process of their own."""
    made = Workshop(tmp_path_factory.mktemp("workshop"), _migrated)
    yield made
    made.close()


@pytest.fixture
def rig(tmp_path: Path, broker: Broker, _migrated: Settings, workshop: Workshop) -> Iterator[Rig]:
    """Topics, database and state folder for stream drivers of one test."""
    settings = _migrated.model_copy(update={"postgres_dbname": f"wikiweir_rig_{next(_rigs)}"})
    assert settings.postgres_admin_dsn
    admin = admin_connection(settings.postgres_admin_dsn.get_secret_value())
    with admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {settings.postgres_dbname} TEMPLATE wikiweir_template OWNER wikiweir_owner")
    ensure_database(admin, settings.postgres_dbname)
    with Rig(tmp_path, settings, broker.bootstrap, workshop) as made:
        yield made
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {settings.postgres_dbname} WITH (FORCE)")
    admin.close()
