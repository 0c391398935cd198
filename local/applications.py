"""What Airflow and Superset have in common: programs of others, each with an environment and a database of its own.

Their databases stand beside ours on the same server, each with a role that owns it and gets to nothing else. The
surprising thing: neither is imported. What has to be done in their environments is done by their own programs.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from local import instance as instances
from local import toolchain
from local.instance import Instance
from local.processes import NotReadyError
from sql.roles import Role, admin_connection, create_database, ensure_role
from wikiweir.settings import PROJECT, Settings


@dataclass(frozen=True, slots=True)
class Application:
    """`airflow` or `superset`; `database_password` is the entry of `secrets.env` that its role logs in with."""

    name: str
    database_password: str

    def folder(self, instance: Instance) -> Path:
        """Its files in the state folder."""
        return instance.home / self.name

    def binary(self, script: str) -> Path:
        """A console script of its environment."""
        return toolchain.root() / "env" / self.name / "bin" / script

    @property
    def role(self) -> str:
        return f"wikiweir_{self.name}"

    def database(self, settings: Settings) -> str:
        """The name of its metadata database, beside ours."""
        return f"{settings.postgres_dbname}_{self.name}"

    def database_uri(self, instance: Instance, settings: Settings) -> str:
        """Its database as SQLAlchemy wants it; without the driver's name version 2 takes psycopg 3."""
        password = quote(instance.secrets[self.database_password], safe="")
        server = f"{settings.postgres_host}:{settings.postgres_port}"
        return f"postgresql+psycopg2://{self.role}:{password}@{server}/{self.database(settings)}"

    def ensure_database(self, admin_dsn: str, instance: Instance, settings: Settings) -> None:
        """Role and database, where they are missing."""
        admin = admin_connection(admin_dsn)
        try:
            ensure_role(admin, Role(name=self.name), instance.secrets[self.database_password], settings)
            create_database(admin, self.database(settings), owner=self.role)
        finally:
            admin.close()

    def prepare(self, instance: Instance, settings: Settings, wanted: str, migrate: Callable[[], None]) -> None:
        """Role and database; then `migrate`, left out when it was done for `wanted` before."""
        assert settings.postgres_admin_dsn is not None
        self.ensure_database(settings.postgres_admin_dsn.get_secret_value(), instance, settings)
        stamp = self.folder(instance) / "prepared"
        if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
            return
        migrate()
        stamp.write_text(wanted, encoding="ascii")

    def run(self, instance: Instance, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run one of its console scripts to the end, in this environment alone; its output goes to a log."""
        log = instance.logs / f"{self.name}-prepare.log"
        with log.open("ab") as sink:
            done = subprocess.run(
                [str(self.binary(arguments[0])), *arguments[1:]],
                env={"PYTHONPATH": str(PROJECT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
            )
        if done.returncode:
            said = f"{self.name}: {' '.join(arguments)} ended with {done.returncode}"
            raise NotReadyError(f"{said}; its output is in {log}")


AIRFLOW = Application("airflow", instances.AIRFLOW_DATABASE_PASSWORD)
SUPERSET = Application("superset", instances.SUPERSET_DATABASE_PASSWORD)
APPLICATIONS = (AIRFLOW, SUPERSET)
