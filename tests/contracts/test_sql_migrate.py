"""`sql.migrate` on a bare server of its own, as a managed server's administrator would run it."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn
from pydantic import SecretStr

import sql.migrate
from local.postgres import Server
from sql.migrate import migrate
from wikiweir.settings import Settings

ROLES = ("owner", "stream", "batch", "reader")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bare") / "postgres") as running:
        superuser(
            running,
            "CREATE ROLE manager LOGIN CREATEROLE CREATEDB PASSWORD 'invented-manager'",
            "ALTER SYSTEM SET log_statement = 'all'",
            "SELECT pg_reload_conf()",
        )
        yield running


@pytest.fixture(scope="module")
def settings(server: Server) -> Settings:
    manager = make_dsn(server.admin_dsn, user="manager", password="invented-manager")
    passwords = {f"postgres_{role}_password": f"invented-{role}" for role in ROLES}
    address = {"postgres_port": server.port, "postgres_dbname": "managed", "postgres_admin_dsn": manager}
    return Settings.model_validate(address | passwords)


@pytest.fixture(scope="module")
def migrated(settings: Settings) -> Settings:
    migrate(settings)
    return settings


def superuser(server: Server, *statements: str) -> list[tuple[object, ...]]:
    """Rows of the last statement, run as the superuser."""
    with closing(psycopg2.connect(server.admin_dsn)) as connected:
        connected.autocommit = True
        with connected.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def owner(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with (
        closing(psycopg2.connect(settings.postgres_dsn("owner"))) as connected,
        connected,
        connected.cursor() as cursor,
    ):
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def can_log_in(settings: Settings, role: str) -> bool:
    try:
        psycopg2.connect(settings.postgres_dsn(role)).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_an_administrator_who_is_no_superuser_suffices(migrated: Settings) -> None:
    assert [can_log_in(migrated, role) for role in ROLES] == [True] * 4
    assert owner(migrated, "SELECT generation, state FROM ops.generations") == [(1, "live")]
    assert owner(migrated, "SELECT to_regclass('speed.activity_g1') IS NOT NULL") == [(True,)]


def test_again_changes_nothing(server: Server, migrated: Settings) -> None:
    state = (
        "SELECT oid, xmin FROM pg_class"
        " WHERE relnamespace::regnamespace::text IN ('ops', 'speed', 'batch', 'serving') ORDER BY 1"
    )
    passwords = "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1"
    before = owner(migrated, state), superuser(server, passwords)
    migrate(migrated)
    assert (owner(migrated, state), superuser(server, passwords)) == before


def test_a_changed_password_is_taken_over_and_logged_nowhere(server: Server, migrated: Settings) -> None:
    changed = migrated.model_copy(update={"postgres_reader_password": SecretStr("invented-another")})
    migrate(changed)
    assert can_log_in(changed, "reader")
    assert not can_log_in(migrated, "reader")
    migrate(migrated)
    assert can_log_in(migrated, "reader")
    log = (server.layout.folder / "server.log").read_text(encoding="utf-8")
    assert 'ALTER ROLE "wikiweir_reader" PASSWORD' in log
    for secret in ("invented-another", *(f"invented-{role}" for role in ROLES)):
        assert secret not in log


def test_a_setting_changed_by_hand_is_put_back(server: Server, migrated: Settings) -> None:
    superuser(
        server,
        "ALTER ROLE wikiweir_reader SET statement_timeout = '1h'",
        "ALTER ROLE wikiweir_reader CONNECTION LIMIT -1",
    )
    migrate(migrated)
    (found,) = superuser(server, "SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = 'wikiweir_reader'")
    assert found[0] == 25
    assert "statement_timeout=30s" in str(found[1])


def test_what_is_missing_is_named(migrated: Settings) -> None:
    with pytest.raises(ValueError, match="WIKIWEIR_POSTGRES_ADMIN_DSN"):
        migrate(migrated.model_copy(update={"postgres_admin_dsn": None}))
    with pytest.raises(ValueError, match="WIKIWEIR_POSTGRES_BATCH_PASSWORD"):
        migrate(migrated.model_copy(update={"postgres_batch_password": SecretStr("")}))


def test_two_at_once(migrated: Settings) -> None:
    fresh = migrated.model_copy(update={"postgres_dbname": "two_at_once"})
    raised: list[BaseException] = []

    def body() -> None:
        try:
            migrate(fresh)
        except BaseException as failure:  # handed to the test
            raised.append(failure)

    threads = [threading.Thread(target=body) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert raised == []
    newest = max(path.name for path in Path(sql.migrate.__file__).parent.glob("[0-9]*.sql")).partition("_")[0]
    assert owner(fresh, "SELECT version_num FROM ops.schema_version") == [(newest,)]


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One more repeatable file, before the grants."""
    path = tmp_path / "extra.sql"
    files = sql.migrate.REPEATABLE
    monkeypatch.setattr(sql.migrate, "REPEATABLE", (*files[:-1], str(path), files[-1]))
    return path


def test_a_changed_file_is_applied_again_with_its_grants(migrated: Settings, extra: Path) -> None:
    for answer in (1, 2):
        extra.write_text(f"CREATE VIEW serving.newcomer AS SELECT {answer} AS answer;", encoding="utf-8")
        migrate(migrated)
        with closing(psycopg2.connect(migrated.postgres_dsn("reader"))) as reader, reader.cursor() as cursor:
            cursor.execute("SELECT answer FROM serving.newcomer")
            assert cursor.fetchall() == [(answer,)]


def test_a_failing_file_leaves_everything_as_it_was(migrated: Settings, extra: Path) -> None:
    extra.write_text("DROP VIEW serving.top_pages; SELECT 1 / 0;", encoding="utf-8")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate(migrated)
    assert owner(migrated, "SELECT count(*) FROM serving.top_pages") == [(0,)]


def test_somebody_elses_view_is_not_dropped_silently(migrated: Settings, extra: Path) -> None:
    owner(migrated, "CREATE VIEW public.mine AS SELECT wiki FROM serving.activity")
    extra.write_text("SELECT 'anything new';", encoding="utf-8")
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist, match=r"public\.mine|view mine"):
        migrate(migrated)
    owner(migrated, "DROP VIEW public.mine")
    migrate(migrated)


def test_a_superuser_takes_large_objects_from_everyone(server: Server, migrated: Settings) -> None:
    migrate(migrated, admin_dsn=server.admin_dsn)
    with (
        closing(psycopg2.connect(migrated.postgres_dsn("reader"))) as reader,
        reader.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT lo_create(0)")
