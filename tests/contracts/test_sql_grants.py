"""Who may do what in PostgreSQL: the whole matrix, and the real statements of somebody who tries."""

import psycopg2
import pytest
from psycopg2 import errors

from tests.conftest import Postgres

ROLLUPS = ("activity", "edit_sizes", "page_activity", "user_activity")
COARSER = tuple(f"{name}_{grain}" for name in ROLLUPS for grain in ("hourly", "daily"))
EVERY_OPS_TABLE = (
    "dashboard_checks", "dashboard_import", "generations", "hour_ends", "hour_outcomes", "incidents", "instance",
    "lake_tables", "partition_rules", "pruned_hours",
    "published_days", "published_hours", "quality_results", "ranked_periods", "reconciliation", "repeatable_files",
    "schema_version", "seen_partitions", "stream_batches", "stream_gaps", "stream_outcomes", "stream_owner",
    "stream_progress",
)  # fmt: skip
VIEWS = (
    *ROLLUPS, *COARSER, *(f"{name}_places" for name in ROLLUPS), "activity_places_hourly", "activity_places_daily",
    "accounting", "accounting_hours", "complaints", "dim_wiki", "disk_usage", "editors_by_period", "editors_hourly",
    "event_type_counts", "hour_states", "hour_totals", "minute_totals", "namespace_edit_counts", "newest_periods",
    "newest_top_editors", "newest_top_pages", "patrol_changes", "recent_changes", "recent_user_activity",
    "source_state", "top_contributors_hourly", "top_editors_by_period", "top_pages", "top_pages_by_period",
    "user_edit_counts",
)  # fmt: skip

STREAM = (
    {f"speed.{name}": "SIU" for name in (*ROLLUPS, "wikis")}
    | {"speed.seen": "SI", "speed.recent_changes": "SI"}
    | {f"ops.{name}": "S" for name in EVERY_OPS_TABLE}
    | {"ops.stream_batches": "SI", "ops.stream_gaps": "SI", "ops.hour_ends": "SI", "ops.stream_owner": "SU"}
    | {f"ops.{name}": "SIU" for name in ("stream_outcomes", "seen_partitions", "stream_progress", "incidents")}
)
BATCH = (
    {
        f"batch.{name}": "SID"
        for name in (*ROLLUPS, *COARSER, "top_pages", "top_editors", "editor_counts", "hour_totals", "minute_totals")
    }
    | {f"speed.{name}": "S" for name in (*ROLLUPS, "wikis", "seen", "recent_changes")}
    | {f"ops.{name}": "S" for name in EVERY_OPS_TABLE}
    | {f"ops.{name}": "SIU" for name in ("published_hours", "published_days", "ranked_periods")}
    | {f"ops.{name}": "SIU" for name in ("incidents", "pruned_hours", "dashboard_checks", "dashboard_import")}
    | {"ops.lake_tables": "SI"}
    | {f"ops.{name}": "SID" for name in ("hour_outcomes", "reconciliation", "quality_results")}
)
READER = {f"serving.{name}": "S" for name in VIEWS} | {f"ops.{name}": "S" for name in EVERY_OPS_TABLE}
READ_BY_ALL = {"ops.complaints", "ops.hour_waits_for", "ops.last_offsets"}
"""These only read what their caller may read."""
WITH_OWN_RIGHTS = {"batch.rank_periods", "batch.rank_tops", "batch.total_hour"}
"""These only write what their caller may write."""
FUNCTIONS = {
    "stream": READ_BY_ALL | {
        "ops.bind_instance", "speed.drop_generation", "speed.ensure_generation",
        "speed.ensure_partitions", "speed.expire_ledger", "speed.expire_recent_changes", "speed.expire_seen",
        "speed.swap_generation",
    },
    "batch": READ_BY_ALL | WITH_OWN_RIGHTS | {
        "batch.ensure_partitions", "batch.expire_partitions", "ops.bind_instance", "ops.expire_findings",
        "speed.expire_minutes",
    },
    "reader": READ_BY_ALL,
}  # fmt: skip


@pytest.mark.parametrize(("role", "wanted"), [("stream", STREAM), ("batch", BATCH), ("reader", READER)])
def test_matrix_of_tables(postgres: Postgres, role: str, wanted: dict[str, str]) -> None:
    """Leaves and branches are looked at too: nobody has anything on them."""
    with postgres.connect("stream") as stream, stream.cursor() as cursor:
        cursor.execute("SELECT speed.ensure_partitions(1, '{2026-11-23}', '{2026-11-23}', '{2026-11-23}')")
    with postgres.connect("owner") as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT format('%%I.%%I', n.nspname, c.relname), string_agg(p.letter, '' ORDER BY p.place)
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            CROSS JOIN (
                VALUES (1, 'S', 'SELECT'), (2, 'I', 'INSERT'), (3, 'U', 'UPDATE'), (4, 'D', 'DELETE'),
                    (5, 'T', 'TRUNCATE'), (6, 'R', 'REFERENCES'), (7, 'G', 'TRIGGER')
            ) AS p (place, letter, privilege)
            WHERE n.nspname IN ('ops', 'speed', 'batch', 'serving', 'public') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND has_table_privilege(%(role)s, c.oid, p.privilege)
            GROUP BY 1
            """,
            {"role": f"wikiweir_{role}"},
        )
        assert dict(cursor.fetchall()) == wanted


@pytest.mark.parametrize("role", ["stream", "batch", "reader"])
def test_matrix_of_functions(postgres: Postgres, role: str) -> None:
    with postgres.connect("owner") as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT format('%%I.%%I', n.nspname, p.proname)
            FROM pg_proc AS p
            JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname IN ('ops', 'speed', 'batch', 'serving', 'public')
                AND has_function_privilege(%(role)s, p.oid, 'EXECUTE')
                AND has_schema_privilege(%(role)s, n.oid, 'USAGE')
            """,
            {"role": f"wikiweir_{role}"},
        )
        assert {name for (name,) in cursor.fetchall()} == FUNCTIONS[role]


def test_public_has_nothing(postgres: Postgres) -> None:
    with postgres.connect("owner") as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT 'database', datname FROM pg_database, aclexplode(COALESCE(datacl, acldefault('d', datdba))) AS a
            WHERE datname = current_database() AND a.grantee = 0
            UNION ALL
            SELECT 'schema', nspname FROM pg_namespace, aclexplode(COALESCE(nspacl, acldefault('n', nspowner))) AS a
            WHERE nspname IN ('ops', 'speed', 'batch', 'serving', 'public') AND a.grantee = 0
            UNION ALL
            SELECT 'table', c.oid::regclass::text
            FROM pg_class AS c, aclexplode(COALESCE(relacl, acldefault('r', relowner))) AS a
            WHERE c.relnamespace::regnamespace::text IN ('ops', 'speed', 'batch', 'serving') AND a.grantee = 0
            UNION ALL
            SELECT 'function', p.oid::regproc::text
            FROM pg_proc AS p, aclexplode(COALESCE(proacl, acldefault('f', proowner))) AS a
            WHERE p.pronamespace::regnamespace::text IN ('ops', 'speed', 'batch', 'serving') AND a.grantee = 0
            """
        )
        assert cursor.fetchall() == []
        cursor.execute("CREATE FUNCTION ops.newcomer() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        cursor.execute("SELECT has_function_privilege('wikiweir_stream', 'ops.newcomer()', 'EXECUTE')")
        assert cursor.fetchone() == (False,)
        cursor.execute("DROP FUNCTION ops.newcomer()")


def test_definer_functions_have_a_fixed_search_path(postgres: Postgres) -> None:
    with postgres.connect("owner") as owner, owner.cursor() as cursor:
        cursor.execute(
            """
            SELECT format('%I.%I', p.pronamespace::regnamespace, p.proname), p.prosecdef,
                COALESCE('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
            FROM pg_proc AS p
            WHERE p.pronamespace::regnamespace::text IN ('ops', 'speed', 'batch', 'serving')
            """
        )
        found = cursor.fetchall()
        definers = (FUNCTIONS["stream"] | FUNCTIONS["batch"]) - READ_BY_ALL - WITH_OWN_RIGHTS
        assert {name for name, definer, _ in found if definer} == definers
        assert [name for name, _, fixed in found if not fixed] == []


def test_no_role_of_ours_is_powerful(postgres: Postgres) -> None:
    with postgres.connect("reader") as reader, reader.cursor() as cursor:
        cursor.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'wikiweir%'"
            " AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
        )
        assert cursor.fetchall() == []


READER_ATTEMPTS = [
    "INSERT INTO ops.incidents (kind, subject, message) VALUES ('x', 'x', 'x')",
    "INSERT INTO serving.dim_wiki VALUES ('x', 'x', 'x', 'x', 'x', 'x', now())",
    "UPDATE ops.generations SET state = 'retired'",
    "UPDATE serving.dim_wiki SET language = 'x'",
    "DELETE FROM ops.published_hours",
    "TRUNCATE ops.stream_batches",
    "SELECT * FROM ops.stream_owner FOR UPDATE",
    "SELECT * FROM speed.activity",
    "SELECT * FROM speed.seen",
    "SELECT * FROM speed.wikis",
    "SELECT * FROM batch.activity",
    "CREATE TABLE public.x (a integer)",
    "CREATE TABLE serving.x (a integer)",
    "CREATE TEMPORARY TABLE x (a integer)",
    "CREATE SCHEMA x",
    "CREATE ROLE x",
    "CREATE DATABASE x",
    "DROP VIEW serving.activity",
    "ALTER TABLE ops.incidents ADD COLUMN x text",
    "CREATE OR REPLACE VIEW serving.dim_wiki AS SELECT 1 AS one",
    "COMMENT ON TABLE ops.incidents IS 'x'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "COPY ops.incidents TO '/dev/null'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY ops.incidents FROM STDIN",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT rolpassword FROM pg_authid",
    "SET ROLE wikiweir_owner",
    "SET SESSION AUTHORIZATION wikiweir_owner",
    "SELECT speed.ensure_generation(9)",
    "SELECT speed.ensure_partitions(1, '{}', '{}', '{}')",
    "SELECT speed.expire_seen(1, '0')",
    "SELECT speed.swap_generation(1, 2)",
    "SELECT speed.drop_generation(1)",
    "SELECT batch.ensure_partitions('{}')",
    "SELECT batch.expire_partitions('activity', '0')",
    "SELECT ops.bind_instance('x')",
]


@pytest.mark.parametrize("statement", READER_ATTEMPTS)
def test_reader_cannot(postgres: Postgres, statement: str) -> None:
    """Not even after switching its read-only default off: the grants are the wall."""
    connected = postgres.connect("reader")
    with connected.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)) as refused:
            cursor.execute(statement)
    connected.close()
    # a view over a union or a join says "cannot insert into view" before it looks at grants
    assert refused.type is errors.InsufficientPrivilege or "view" in str(refused.value)


def test_reader_sees_serving_and_operations(postgres: Postgres) -> None:
    with postgres.connect("reader") as reader, reader.cursor() as cursor:
        for name in READER:
            cursor.execute(f"SELECT * FROM {name} LIMIT 1")


def test_reader_is_bounded(postgres: Postgres) -> None:
    with postgres.connect("reader") as reader, reader.cursor() as cursor:
        shown = {}
        for parameter in ("default_transaction_read_only", "statement_timeout", "timezone"):
            cursor.execute(f"SHOW {parameter}")
            ((shown[parameter],),) = cursor.fetchall()
        assert shown == {"default_transaction_read_only": "on", "statement_timeout": "30s", "timezone": "UTC"}
        cursor.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'wikiweir_reader'")
        ((limit,),) = cursor.fetchall()
        assert 0 < limit <= 40
        with pytest.raises(errors.ReadOnlySqlTransaction):
            cursor.execute("CREATE TABLE public.x (a integer)")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("stream", "CREATE TABLE speed.x (a integer)"),
        ("stream", "CREATE TABLE public.x (a integer)"),
        ("stream", "ALTER TABLE speed.activity ADD COLUMN x text"),
        ("stream", "DROP TABLE speed.seen"),
        ("stream", "TRUNCATE speed.activity"),
        ("stream", "DELETE FROM speed.activity"),
        ("stream", "DELETE FROM ops.stream_batches"),
        ("stream", "UPDATE ops.stream_batches SET facts = 0"),
        ("stream", "UPDATE ops.generations SET seen_floor = '-infinity'"),
        ("stream", "SELECT * FROM batch.activity"),
        ("stream", "INSERT INTO batch.edit_sizes VALUES (now(), 'x', 'x', 'x', 1)"),
        ("stream", "CREATE VIEW serving.x AS SELECT 1"),
        ("stream", "INSERT INTO serving.dim_wiki VALUES ('x', 'x', 'x', 'x', 'x', 'x', now())"),
        ("stream", "INSERT INTO ops.published_hours VALUES (now(), 1, 1, '{}', 'x')"),
        ("stream", "SELECT speed.expire_minutes('0')"),
        ("stream", "SELECT ops.ensure_leaves('batch', NULL, '{2026-11-23}', '{}', '{}')"),
        ("batch", "INSERT INTO speed.edit_sizes VALUES (1, now(), 'x', 'x', 'x', 1)"),
        ("batch", "UPDATE speed.activity SET events = 0"),
        ("batch", "DELETE FROM speed.seen"),
        ("batch", "UPDATE ops.stream_owner SET epoch = 0"),
        ("batch", "INSERT INTO ops.stream_gaps VALUES (now(), 'x', 1, 0, 0, 1, 'x')"),
        ("batch", "UPDATE ops.lake_tables SET bytes = 0"),
        ("batch", "UPDATE batch.activity_hourly SET edits = 0"),
        ("batch", "DELETE FROM ops.published_hours"),
        ("stream", "INSERT INTO ops.dashboard_checks VALUES ('x', 'x', 'x', 0, 0, NULL)"),
        ("batch", "CREATE TABLE batch.x (a integer)"),
        ("batch", "SELECT speed.drop_generation(1)"),
    ],
)
def test_writer_cannot(postgres: Postgres, role: str, statement: str) -> None:
    connected = postgres.connect(role)
    with connected.cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
        cursor.execute(statement)
    connected.close()


def test_serving_shows_only_declared_words(postgres: Postgres) -> None:
    """Free text in `serving` is titles and names, which are masked before they are stored; no summary, no address."""
    with postgres.connect("reader") as reader, reader.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT column_name FROM information_schema.columns"
            " WHERE table_schema = 'serving' AND data_type = 'text'"
        )
        assert {name for (name,) in cursor.fetchall()} == {
            "wiki", "type", "user_class", "user_name", "title", "size_bucket", "severity", "log_type", "log_action",
            "layer", "server_name", "project", "language", "language_name", "territory", "grain", "scope",
            "outcome", "reason", "state", "run_id", "source_id", "relation", "diff_url",
            "runbook", "subject", "message",
        }  # fmt: skip


def test_wrong_password_is_refused(postgres: Postgres) -> None:
    """The server of these tests asks for passwords, so the log-ins above prove something."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.dsn("reader").replace("invented-reader", "wrong"))
