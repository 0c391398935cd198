"""The four roles and the database, from settings, as the administrator of the server.

Works for a superuser and for a managed server's administrator with CREATEROLE and CREATEDB. The surprising thing:
a password reaches the server only as its SCRAM verifier, so no statement log can hold it; and it is changed only where
a log-in with it fails.
"""

from dataclasses import dataclass, field

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection, encrypt_password, make_dsn

from wikiweir.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A log-in role; `settings` are its session defaults."""

    name: str
    connection_limit: int = -1
    settings: dict[str, str] = field(default_factory=dict)


ROLES = (
    Role(name="owner", settings={"timezone": "UTC"}),
    Role(name="stream", settings={"timezone": "UTC"}),
    Role(name="batch", settings={"timezone": "UTC"}),
    Role(
        name="reader",
        connection_limit=25,
        settings={
            "timezone": "UTC",
            "default_transaction_read_only": "on",
            "statement_timeout": "30s",
            "idle_in_transaction_session_timeout": "60s",
        },
    ),
)


def ensure_roles(admin: connection, settings: Settings) -> None:
    """Create what is missing, change what differs."""
    for role in ROLES:
        password = getattr(settings, f"postgres_{role.name}_password").get_secret_value()
        if not password:
            raise ValueError(
                f"expected a password for role wikiweir_{role.name}, found none; "
                f"set WIKIWEIR_POSTGRES_{role.name.upper()}_PASSWORD"
            )
        ensure_role(admin, role, password, settings)


def ensure_role(admin: connection, role: Role, password: str, settings: Settings) -> None:
    """Create `wikiweir_<name>` if it is missing, change what differs."""
    name = f"wikiweir_{role.name}"
    with admin.cursor() as cursor:
        cursor.execute("SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = %s", (name,))
        found = cursor.fetchone()
        if found is None:
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
            found = (-1, None)
        if found[0] != role.connection_limit:
            limit = sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}")
            cursor.execute(limit.format(sql.Identifier(name), sql.Literal(role.connection_limit)))
        present = dict(entry.split("=", 1) for entry in found[1] or ())
        for parameter in sorted(role.settings.items() - {(k.lower(), v) for k, v in present.items()}):
            default = sql.SQL("ALTER ROLE {} SET {} = {}")
            cursor.execute(
                default.format(sql.Identifier(name), sql.Identifier(parameter[0]), sql.Literal(parameter[1]))
            )
        if not _can_log_in(admin, name, password, settings):
            verifier = encrypt_password(password, name, admin, "scram-sha-256")
            cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(name)), (verifier,))


def _can_log_in(admin: connection, name: str, password: str, settings: Settings) -> bool:
    try:
        psycopg2.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            dbname=admin.info.dbname,
            user=name,
            password=password,
            connect_timeout=10,
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def ensure_database(admin: connection, name: str) -> None:
    """Our database: the owner role's, and the other roles may connect."""
    create_database(admin, name, owner="wikiweir_owner")
    database = sql.Identifier(name)
    with admin.cursor() as cursor:
        cursor.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO wikiweir_stream, wikiweir_batch").format(database)
        )
        cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO wikiweir_reader").format(database))


def create_database(admin: connection, name: str, *, owner: str) -> None:
    """Create a database if it is not there, for its owner; leave PUBLIC nothing in it."""
    database, role = sql.Identifier(name), sql.Identifier(owner)
    with admin.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        if not cursor.rowcount:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = CURRENT_USER")
            if cursor.fetchone() != (True,):  # only a member may give a database to a role
                cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
            create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'")
            cursor.execute(create.format(database, role))
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        cursor.execute(sql.SQL("GRANT CREATE, CONNECT ON DATABASE {} TO {}").format(database, role))


def forbid_large_objects(admin_dsn: str, name: str) -> None:
    """Take large objects from PUBLIC: the one way to write that needs no privilege. Only a superuser can do it."""
    admin = admin_connection(make_dsn(admin_dsn, dbname=name))
    try:
        with admin.cursor() as cursor:
            cursor.execute(
                "SELECT p.oid::regprocedure::text FROM pg_proc AS p, pg_roles AS r"
                " WHERE p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')"
                " AND p.pronamespace = 'pg_catalog'::regnamespace AND r.rolname = CURRENT_USER AND r.rolsuper"
                " AND has_function_privilege('wikiweir_reader', p.oid, 'EXECUTE')"
            )
            for (function,) in cursor.fetchall():
                cursor.execute(f"REVOKE EXECUTE ON FUNCTION pg_catalog.{function} FROM PUBLIC")
    finally:
        admin.close()


def admin_connection(dsn: str) -> connection:
    """A connection in autocommit (CREATE DATABASE runs in no transaction)."""
    admin = psycopg2.connect(make_dsn(dsn, connect_timeout=10))
    admin.autocommit = True
    return admin
