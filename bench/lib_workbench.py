"""What benchmarks with Spark drivers share: settings, databases on one server, spark-submit as `./weir submit` does it.

All drivers get the same jars, memory, master and logging. Ours also get the Java options that `local` renders for the
real stack, because finding them was part of the work: baselines start Java as Spark does. The surprising thing: a
baseline's JDBC driver comes by `--jars`, so that even the class path of ours is untouched.
"""

import json
import os
import resource
import secrets
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql as pg_sql

from bench import lib_jdbc
from local import spark
from local.ports import LOOPBACK
from local.postgres import Server
from sql.migrate import migrate
from wikiweir.clock import SystemClock
from wikiweir.settings import PROJECT, Settings

USUAL_JAVA = "-Duser.timezone=UTC"
"""In place of the Java options of ours."""
LOOK_SECONDS = 0.05
AT_MOST_SECONDS = 3600
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a driver took from its start to its end: time (to a twentieth), and processor time of all its processes."""

    seconds: float
    cpu_seconds: float


class Workbench:
    """A folder, a PostgreSQL server, and the settings that all drivers of a benchmark share."""

    def __init__(self, folder: Path, server: Server, **more: Any) -> None:
        self.folder, self.server = folder, server
        self.secret = secrets.token_urlsafe(16)
        passwords = {
            f"postgres_{role}_password": secrets.token_urlsafe(16) for role in ("owner", "stream", "batch", "reader")
        }
        self.settings = Settings(
            postgres_port=server.port,
            postgres_admin_dsn=server.admin_dsn,  # type: ignore[arg-type] # pydantic wraps it
            user_key_secret=self.secret,  # type: ignore[arg-type]
            source_id="bench",
            **passwords,  # type: ignore[arg-type]
            **more,
        )
        self._properties = spark.write_files(
            self.settings, folder / "spark" / "spark-defaults.conf", folder / "work", spark.shared_classes()
        )

    def dsn(self, database: str) -> str:
        """The superuser's DSN of a database."""
        return self.server.admin_dsn.rpartition("/")[0] + f"/{database}"

    def jdbc(self, database: str) -> dict[str, str]:
        """The same as options of Spark's JDBC writer."""
        return {
            "url": f"jdbc:postgresql://{LOOPBACK}:{self.server.port}/{database}?ApplicationName=bench",
            "user": "postgres",
            "password": self.server.superuser_password,
            "driver": "org.postgresql.Driver",
        }

    def create(self, database: str, *, with_schema: bool) -> None:
        """A new database; `with_schema`: with everything that ours needs in it."""
        if with_schema:
            migrate(self.settings.model_copy(update={"postgres_dbname": database}))
        else:
            self._admin(pg_sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(pg_sql.Identifier(database)))

    def drop(self, database: str) -> None:
        """Delete a database."""
        self._admin(pg_sql.SQL("DROP DATABASE {} WITH (FORCE)").format(pg_sql.Identifier(database)))

    def _admin(self, statement: pg_sql.Composable) -> None:
        admin = psycopg2.connect(self.server.admin_dsn)
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(statement)
        admin.close()

    def application(
        self, script: str, job: dict[str, Any], folder: Path, *, is_ours: bool, changes: Mapping[str, Any] = NOTHING
    ) -> tuple[Any, Spent]:
        """Run a script of `bench/` that ends with `lib_application.main`; its answer, and what it took."""
        job_file, out = folder / "job.json", folder / "out.json"
        job_file.touch(mode=0o600)
        job_file.write_text(json.dumps(job), encoding="utf-8")
        options = () if is_ours else ("--jars", str(lib_jdbc.jar()), "--driver-java-options", USUAL_JAVA)
        arguments = ("--job", str(job_file), "--out", str(out))
        spent = self.submit(PROJECT / "bench" / script, arguments, folder, options=options, changes=changes)
        return json.loads(out.read_text(encoding="utf-8")), spent

    def submit(
        self,
        script: Path,
        arguments: Sequence[str],
        folder: Path,
        *,
        options: Sequence[str] = (),
        changes: Mapping[str, Any] = NOTHING,
        look: Callable[[], None] = lambda: None,
    ) -> Spent:
        """spark-submit to its end. `look` is called meanwhile.

        `changes`: settings that differ. The log is `driver.log` in `folder`; its end is in the error of a failure.
        """
        *start, last = spark.submit(self._properties, script)
        command, log, clock = [*start, *options, last, *arguments], folder / "driver.log", SystemClock()
        began, cpu_before = clock.monotonic(), _cpu_of_children()
        with log.open("wb") as sink:
            process = subprocess.Popen(command, env=self._environment(folder, changes), stdout=sink, stderr=sink)
            try:
                while process.poll() is None and clock.monotonic() < began + AT_MOST_SECONDS:
                    look()
                    clock.sleep(LOOK_SECONDS)
            finally:
                process.kill()
                code = process.wait()
        spent = Spent(clock.monotonic() - began, _cpu_of_children() - cpu_before)
        if code != 0:
            end = log.read_text(encoding="utf-8", errors="replace")[-4000:]
            raise RuntimeError(f"{script.stem} in {folder.name}: the driver ended with code {code}:\n{end}")
        return spent

    def _environment(self, folder: Path, changes: Mapping[str, Any]) -> dict[str, str]:
        """The settings as a program of ours reads them, and what spark-submit needs."""
        said = {**self.settings.model_dump(exclude={"keep"}), **changes}
        values = {name: v.get_secret_value() if hasattr(v, "get_secret_value") else v for name, v in said.items()}
        return {
            **os.environ,
            **{f"WIKIWEIR_{name.upper()}": str(value) for name, value in values.items() if value is not None},
            **spark.environment(self.settings),
            "WIKIWEIR_HOME": str(folder),
            "PYTHONPATH": str(PROJECT),
        }


def _cpu_of_children() -> float:
    """Processor seconds of the processes that have been waited for, and of those they had waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
