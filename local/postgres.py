"""A real PostgreSQL from the wheel's binaries: its files, its command, a handle.

It answers passwords (SCRAM) on 127.0.0.1 and nothing else, not even a socket file. The surprising thing:
PostgreSQL refuses to run as root, so for root it runs as an account of its own, and the folders above its
binaries and its data must let that account through (`x`, not `r`).
"""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2

from local import ports, toolchain
from local.processes import NotReadyError, Program, tail
from wikiweir.clock import Clock

ACCOUNT = "wikiweir"
"""System account that runs PostgreSQL when we are root."""

SUPERUSER = "postgres"

HBA = f"""\
# Rendered by local.postgres. Passwords over loopback, and no other way in.
host all all {ports.LOOPBACK}/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a server lives and listens."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def admin_dsn(self, password: str) -> str:
        """libpq URL of the superuser."""
        return f"postgresql://{SUPERUSER}:{quote(password, safe='')}@{ports.LOOPBACK}:{self.port}/postgres"


def render_conf(layout: Layout) -> str:
    """Settings for a machine that Spark and Kafka share; no setting that only one version knows."""
    lines = {
        "listen_addresses": f"'{ports.LOOPBACK}'",
        "port": layout.port,
        "unix_socket_directories": "''",
        "password_encryption": "'scram-sha-256'",
        "max_connections": 80,
        "shared_buffers": "'192MB'",
        "effective_cache_size": "'1GB'",
        "work_mem": "'16MB'",
        "maintenance_work_mem": "'64MB'",
        # a commit that was reported is on disk: the ledger rests on it
        "synchronous_commit": "on",
        "min_wal_size": "'128MB'",
        "max_wal_size": "'2GB'",
        "checkpoint_timeout": "'15min'",
        # views over hourly and daily leaves lock every leaf they read
        "max_locks_per_transaction": 512,
        "max_parallel_workers_per_gather": 1,
        "jit": "off",
        "random_page_cost": 1.1,
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "log_line_prefix": "'%m [%p] %q%u@%d %a '",
        "log_min_duration_statement": "'5s'",
        "log_parameter_max_length": 0,
        "log_parameter_max_length_on_error": 0,
    }
    return "# Rendered by local.postgres at every start.\n" + "".join(f"{key} = {val}\n" for key, val in lines.items())


def account() -> str | None:
    """The account to run as: none when we are not root; for root an own one, made if missing."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")
        if useradd is None:
            raise NotReadyError(
                f"PostgreSQL refuses to run as root and there is no account {ACCOUNT!r}; create it and start again"
            ) from None
        shell = [
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
        ]
        subprocess.run([useradd, *shell, ACCOUNT], check=True, capture_output=True)
    return ACCOUNT


def closed_parents(path: Path, user: str) -> list[Path]:
    """Folders above `path` that do not let the account through, outermost first."""
    entry = pwd.getpwnam(user)
    closed = []
    for folder in reversed(path.absolute().parents):
        info = folder.stat()
        if info.st_uid == entry.pw_uid:
            needed = stat.S_IXUSR
        elif info.st_gid == entry.pw_gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not info.st_mode & needed:
            closed.append(folder)
    return closed


def let_through(path: Path, user: str) -> list[Path]:
    """Give the folders above `path` search permission for others (not read); which ones needed it."""
    opened = closed_parents(path, user)
    for folder in opened:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
    return opened


def command(layout: Layout) -> list[str]:
    """The server's command line, for the account's own shell-less start."""
    return [str(toolchain.postgres_binaries() / "postgres"), "-D", str(layout.data)]


def prepare(layout: Layout, superuser_password: str) -> list[Path]:
    """Write the configuration, and make the cluster at the first start; folders that had to be opened to search."""
    user = account()
    layout.folder.mkdir(parents=True, exist_ok=True)
    opened: list[Path] = []
    if user:
        for path in (toolchain.postgres_binaries() / "postgres", layout.data):
            opened += let_through(path, user)
    if not (layout.data / "PG_VERSION").exists():
        _initialise(layout, superuser_password, user)
    (layout.data / "postgresql.conf").write_text(render_conf(layout), encoding="utf-8")
    (layout.data / "pg_hba.conf").write_text(HBA, encoding="utf-8")
    return opened


def _initialise(layout: Layout, superuser_password: str, user: str | None) -> None:
    """`initdb` into a new folder; an unfinished one of an earlier attempt is thrown away."""
    unfinished = layout.folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password_file = layout.folder / "initial-password"
    password_file.touch(mode=0o600)
    password_file.write_text(superuser_password, encoding="utf-8")
    if user:
        shutil.chown(unfinished, user, user)
        shutil.chown(password_file, user, user)
    try:
        done = subprocess.run(
            [
                str(toolchain.postgres_binaries() / "initdb"),
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    finally:
        password_file.unlink()
    if done.returncode != 0:
        raise NotReadyError(f"initdb failed in {unfinished}:\n{done.stdout}{done.stderr}")
    unfinished.rename(layout.data)


def answers(dsn: str) -> bool:
    """Whether the server lets us in and is not starting up."""
    try:
        psycopg2.connect(dsn, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


class Server:
    """A server of one's own, for tests and benchmarks. A context manager: leaving it kills the server."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        superuser_password: str | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.layout = Layout(folder=folder.absolute(), port=port or ports.free_port())
        self.superuser_password = superuser_password or secrets.token_urlsafe(16)
        self._program = Program(
            command(self.layout),
            self.layout.folder / "server.log",
            user=account(),
            stop_signal=signal.SIGINT,
            clock=clock,
        )

    @property
    def port(self) -> int:
        return self.layout.port

    @property
    def admin_dsn(self) -> str:
        """libpq URL of the superuser, database `postgres`."""
        return self.layout.admin_dsn(self.superuser_password)

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._program.pid

    @property
    def is_running(self) -> bool:
        return self._program.is_running

    @property
    def log(self) -> str:
        """The end of the server's log."""
        return tail(self._program.log, 50)

    def start(self, seconds: float = 60.0) -> "Server":
        """Start (`initdb` first if new) and return when it lets us in."""
        prepare(self.layout, self.superuser_password)
        self._program.start(lambda: answers(self.admin_dsn), seconds)
        return self

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, a checkpoint is written."""
        self._program.stop()

    def kill(self) -> None:
        """SIGKILL to all its processes, as a power cut would."""
        self._program.kill()

    def pause(self) -> None:
        """SIGSTOP to all its processes."""
        self._program.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._program.resume()

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
