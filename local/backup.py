"""A whole instance as a folder of plain files, and back; and throwing one away.

Only a stopped instance is copied: Kafka's log, the lake, the checkpoints and the database then belong to one moment.
The surprising thing: the restored instance gets new ports, so it may stand beside the one it came from. Of the two
applications Superset's database is copied, for what people have made there by hand; Airflow's is made anew.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from local import instance as instances
from local import kafka, ports, postgres, stack, toolchain
from local.applications import APPLICATIONS, SUPERSET
from local.instance import CONTROLLER_PORT, SUPERUSER_PASSWORD, Instance, InstanceError
from local.processes import NotReadyError
from local.supervision import Supervisor
from wikiweir.settings import Settings, load

FOLDERS = ("kafka", "lake", "checkpoints", "replay")
MANIFEST = "MANIFEST.sha256"
DUMP = "database.dump"
SUPERSET_DUMP = "superset.dump"

Say = Callable[[str], None]


def backup(instance: Instance, folder: Path, say: Say) -> None:
    """Write the instance into a new folder; complete only when its manifest is there."""
    _refuse_running(instance, "a backup")
    if folder.exists():
        raise InstanceError(f"expected a folder that does not exist yet, found {folder}")
    draft = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    settings = load()
    with _database(instance, settings) as dsn:
        _dump(dsn, settings.postgres_dbname, draft / DUMP)
        if _has_database(dsn, SUPERSET.database(settings)):
            _dump(dsn, SUPERSET.database(settings), draft / SUPERSET_DUMP)
    say(f"  database: {(draft / DUMP).stat().st_size / 1e6:,.0f} MB")
    for name in FOLDERS:
        if (instance.home / name).exists():
            shutil.copytree(instance.home / name, draft / name, symlinks=True)
    for file in (instance.settings_file, instance.secrets_file):
        shutil.copy2(file, draft / file.name)
    lines = [f"{digest} {size} {name}" for name, (size, digest) in _contents(draft).items()]
    (draft / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.rename(folder)
    say(f"  {len(lines)} files in {folder}; it holds secrets, keep it as safe as the instance")


def restore(instance: Instance, folder: Path, say: Say) -> None:
    """Make an instance out of a backup."""
    if instance.exists or (instance.home / "postgres").exists():
        raise InstanceError(f"expected no instance in {instance.home}; ./weir reset --yes, or WIKIWEIR_HOME=DIR")
    verify(folder)
    instance.home.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        if (folder / name).exists():
            shutil.copytree(folder / name, instance.home / name, symlinks=True)
    shutil.copy2(folder / instance.secrets_file.name, instance.secrets_file)
    values = instances.read_env(folder / instance.settings_file.name)
    instances.write_env(instance.settings_file, _with_new_ports(values), mode=0o644)
    instances.create(instance)
    settings = load()
    with _database(instance, settings) as dsn:
        _restore_database(settings, dsn, folder / DUMP)
        if (folder / SUPERSET_DUMP).exists():
            SUPERSET.ensure_database(dsn, instance, settings)
            _restore(dsn, SUPERSET.database(settings), folder / SUPERSET_DUMP)
    say(f"  restored into {instance.home}; ./weir up goes on from there")


def verify(folder: Path) -> None:
    """Every file of the manifest with its size and checksum, and none besides; all differences at once."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        raise InstanceError(f"expected {manifest}, found none: {folder} is no backup, or one that was not finished")
    lines = (line.split(" ", 2) for line in manifest.read_text(encoding="utf-8").splitlines())
    expected = {name: (int(size), digest) for digest, size, name in lines}
    found = _contents(folder)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        shown = "".join(f"\n  {name}: {_difference(expected.get(name), found.get(name))}" for name in wrong[:20])
        raise InstanceError(
            f"{len(wrong)} files of {folder} are not as its manifest says; nothing was restored:{shown}"
        )


def reset(instance: Instance, say: Say) -> None:
    """Stop and delete. The toolchain stays; so does everything on an outside server that is not ours."""
    supervisor = Supervisor(instance)
    if supervisor.is_running:
        stack.down(stack.Report(say=say))
    if instance.exists:
        settings = load()
        if "postgres" not in instance.embedded:
            _drop_database(settings)
            say(f"  database {settings.postgres_dbname} dropped at {settings.postgres_host}:{settings.postgres_port}")
        if "kafka" not in instance.embedded:
            kafka.delete_topics(settings)
            say(f"  topics deleted at {settings.kafka_bootstrap}")
    for name in instances.FOLDERS:
        shutil.rmtree(instance.home / name, ignore_errors=True)
    for file in (instance.settings_file, instance.secrets_file):
        file.unlink(missing_ok=True)
    say(f"  {instance.home} is empty; ./weir up begins anew")


def _refuse_running(instance: Instance, what: str) -> None:
    if Supervisor(instance).is_running:
        raise InstanceError(
            f"{what} of a running instance would not be of one moment; ./weir down first, ./weir up after"
        )


def _contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Relative name -> size and sha256 of every file but the manifest."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            with path.open("rb") as source:
                contents[name] = (path.stat().st_size, hashlib.file_digest(source, "sha256").hexdigest())
    return contents


def _difference(expected: tuple[int, str] | None, found: tuple[int, str] | None) -> str:
    if expected is None:
        return "not in the manifest"
    if found is None:
        return "missing"
    return f"{found[0]} bytes, expected {expected[0]}" if expected[0] != found[0] else "other content"


def _with_new_ports(values: dict[str, str]) -> dict[str, str]:
    """The same instance on ports that are free here."""
    kafka_port, controller, database, producer, stream, replay = map(str, ports.free_ports(6))
    changed = dict(values)
    for name in (instances.AIRFLOW_PORT, instances.SUPERSET_PORT, instances.SUPERSET_URL):
        changed.pop(name, None)  # the next up chooses anew
    embedded = values.get(instances.EMBEDDED, "").split(",")
    changed |= {"WIKIWEIR_PRODUCER_PORT": producer, "WIKIWEIR_STREAM_PORT": stream, "WIKIWEIR_REPLAY_PORT": replay}
    if "kafka" in embedded:
        changed |= {"WIKIWEIR_KAFKA_BOOTSTRAP": f"{ports.LOOPBACK}:{kafka_port}", CONTROLLER_PORT: controller}
    if "postgres" in embedded:
        changed["WIKIWEIR_POSTGRES_PORT"] = database
    url = urlsplit(values.get("WIKIWEIR_SOURCE_URL", ""))
    if url.port is not None and str(url.port) == values.get("WIKIWEIR_REPLAY_PORT"):
        changed["WIKIWEIR_SOURCE_URL"] = urlunsplit(url._replace(netloc=f"{url.hostname}:{replay}"))
    return changed


@contextmanager
def _database(instance: Instance, settings: Settings) -> Iterator[str]:
    """The administrator's DSN of a server that runs: the outside one, or ours for as long as it takes."""
    if "postgres" not in instance.embedded:
        assert settings.postgres_admin_dsn is not None
        yield settings.postgres_admin_dsn.get_secret_value()
        return
    layout = instances.postgres_layout(instance)
    server = postgres.Server(layout.folder, layout.port, instance.secrets[SUPERUSER_PASSWORD])
    server.start()
    try:
        yield server.admin_dsn
    finally:
        server.stop()


def _restore_database(settings: Settings, admin_dsn: str, dump: Path) -> None:
    from sql.roles import admin_connection, ensure_database, ensure_roles

    admin = admin_connection(admin_dsn)
    try:
        ensure_roles(admin, settings)
        ensure_database(admin, settings.postgres_dbname)
    finally:
        admin.close()
    _restore(admin_dsn, settings.postgres_dbname, dump)


def _dump(admin_dsn: str, database: str, file: Path) -> None:
    _pg("pg_dump", admin_dsn, "--format=custom", "--compress=1", f"--file={file}", database)


def _restore(admin_dsn: str, database: str, file: Path) -> None:
    _pg("pg_restore", admin_dsn, "--exit-on-error", f"--dbname={database}", str(file))


def _has_database(admin_dsn: str, name: str) -> bool:
    with closing(psycopg2.connect(admin_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        return bool(cursor.rowcount)


def _pg(program: str, dsn: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as the administrator, the password in a file that only we can read."""
    parts = psycopg2.extensions.parse_dsn(dsn)
    address = [f"--host={parts['host']}", f"--port={parts.get('port', '5432')}", f"--username={parts['user']}"]
    with tempfile.NamedTemporaryFile("w", prefix="wikiweir-", suffix=".pgpass") as passwords:
        secret = parts.get("password", "").replace("\\", "\\\\").replace(":", "\\:")
        passwords.write(f"*:*:*:*:{secret}\n")
        passwords.flush()
        done = subprocess.run(
            [str(toolchain.postgres_binaries() / program), *address, *arguments],
            env={"PGPASSFILE": passwords.name},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise NotReadyError(f"{program} ended with {done.returncode}:\n{done.stderr}")


def _drop_database(settings: Settings) -> None:
    from psycopg2 import sql

    assert settings.postgres_admin_dsn is not None
    connection = psycopg2.connect(settings.postgres_admin_dsn.get_secret_value())
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name in (settings.postgres_dbname, *(each.database(settings) for each in APPLICATIONS)):
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    connection.close()
