"""Starts a variant of the stream benchmark as a Spark driver of its own, and checks what it wrote.

All get the same jars, driver memory, master and logging. Ours also gets the Java options that `local` renders for the
real stack, because finding them was part of the work: baselines start Java as Spark does. The surprising thing: a
baseline's JDBC driver comes by `--jars`, so that even the class path of ours is untouched.
"""

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql as pg_sql

from bench import lib_answers, lib_jdbc
from bench.lib_answers import Row
from bench.lib_preload import Load
from local import spark, toolchain
from local.ports import LOOPBACK
from local.postgres import Server
from sql.migrate import migrate
from wikiweir.settings import PROJECT, Settings

SCRIPTS = {"ours": "lib_stream_ours.py", "competent": "lib_stream_baselines.py", "defaults": "lib_stream_baselines.py"}
USUAL_JAVA = "-Duser.timezone=UTC"
"""In place of the Java options of ours."""
SCHEMAS = {"ours": "speed.", "competent": "usual.", "defaults": "usual."}


class Drivers:
    """Starts variants over a broker and a server, with the settings that all of them share."""

    def __init__(self, folder: Path, bootstrap: str, server: Server) -> None:
        self.folder, self.server = folder, server
        self.secret = secrets.token_urlsafe(16)
        passwords = {
            f"postgres_{role}_password": secrets.token_urlsafe(16) for role in ("owner", "stream", "batch", "reader")
        }
        self.settings = Settings(
            kafka_bootstrap=bootstrap,
            postgres_port=server.port,
            postgres_admin_dsn=server.admin_dsn,  # type: ignore[arg-type] # pydantic wraps it
            user_key_secret=self.secret,  # type: ignore[arg-type]
            source_id="bench",
            **passwords,  # type: ignore[arg-type]
        )
        spark.write_files(self.settings, folder / "spark" / "spark-defaults.conf", folder / "work")

    def run(self, variant: str, load: Load, number: int, expected: dict[str, list[Row]]) -> list[float]:
        """One driver over the whole topic into a database of its own; seconds of each batch, answers checked."""
        database = f"bench_{variant}_{load.size}_{number}"
        folder = self.folder / database
        folder.mkdir()
        dsn = self._database(database)
        job = self._job(variant, load, folder, dsn, database)
        self._submit(variant, job, folder)
        progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        times = [one["durationMs"]["triggerExecution"] / 1000 for one in progress if one["numInputRows"] == load.size]
        if len(times) != len(load.files):
            found = [one["numInputRows"] for one in progress]
            raise RuntimeError(f"{variant}: expected {len(load.files)} batches of {load.size} records, found {found}")
        lib_answers.compare(variant, expected, lib_answers.read_postgres(dsn, SCHEMAS[variant]))
        self._admin(pg_sql.SQL("DROP DATABASE {} WITH (FORCE)").format(pg_sql.Identifier(database)))
        return times

    def _database(self, name: str) -> str:
        """A new database, with the whole schema of ours in it; the superuser's DSN."""
        if name.startswith("bench_ours"):
            migrate(self.settings.model_copy(update={"postgres_dbname": name}))
        else:
            self._admin(pg_sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(pg_sql.Identifier(name)))
        return self.server.admin_dsn.rpartition("/")[0] + f"/{name}"

    def _admin(self, statement: pg_sql.Composable) -> None:
        admin = psycopg2.connect(self.server.admin_dsn)
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(statement)
        admin.close()

    def _job(self, variant: str, load: Load, folder: Path, dsn: str, database: str) -> dict[str, Any]:
        return {
            "variant": variant,
            "bootstrap": self.settings.kafka_bootstrap,
            "topic": load.topic,
            "size": load.size,
            "batches": len(load.files),
            "secret": self.secret,
            "dsn": dsn,
            "checkpoint": (folder / "checkpoint").as_uri(),
            "jdbc": {
                "url": f"jdbc:postgresql://{LOOPBACK}:{self.server.port}/{database}?ApplicationName=bench",
                "user": "postgres",
                "password": self.server.superuser_password,
                "driver": "org.postgresql.Driver",
            },
        }

    def _submit(self, variant: str, job: dict[str, Any], folder: Path) -> None:
        """spark-submit with ours or a baseline; its log is in the error when it fails."""
        job_file, out = folder / "job.json", folder / "progress.json"
        job_file.touch(mode=0o600)
        job_file.write_text(json.dumps(job), encoding="utf-8")
        environment = {
            **os.environ,
            **self._settings_environment(job, folder),
            "SPARK_CONF_DIR": str(self.folder / "spark"),
            "SPARK_LOCAL_IP": LOOPBACK,
            "PYSPARK_PYTHON": str(toolchain.python()),
            "PYSPARK_DRIVER_PYTHON": str(toolchain.python()),
            "PYTHONPATH": str(PROJECT),
        }
        command = [str(toolchain.program("spark-submit"))]
        command += ["--jars", str(lib_jdbc.jar()), "--driver-java-options", USUAL_JAVA] if variant != "ours" else []
        command += [str(PROJECT / "bench" / SCRIPTS[variant]), "--job", str(job_file), "--out", str(out)]
        log = folder / "driver.log"
        with log.open("wb") as sink:
            done = subprocess.run(command, env=environment, stdout=sink, stderr=sink, timeout=3600, check=False)
        if done.returncode != 0 or not out.exists():
            end = log.read_text(encoding="utf-8", errors="replace")[-4000:]
            raise RuntimeError(f"{variant}: the driver ended with code {done.returncode}:\n{end}")

    def _settings_environment(self, job: dict[str, Any], folder: Path) -> dict[str, str]:
        """The settings as a program of ours reads them."""
        changes = {
            "postgres_dbname": job["dsn"].rpartition("/")[2],
            "events_topic": job["topic"],
            "speed_max_events": job["size"],
            "checkpoints": (folder / "checkpoints").as_uri(),
            "lake": (folder / "lake").as_uri(),
        }
        said = {**self.settings.model_dump(exclude={"keep"}), **changes}
        values = {name: v.get_secret_value() if hasattr(v, "get_secret_value") else v for name, v in said.items()}
        set_ones = {f"WIKIWEIR_{name.upper()}": str(value) for name, value in values.items() if value is not None}
        # the topic was stamped when it was loaded; a slow run must not find its first records too old to show
        return {**set_ones, "WIKIWEIR_KEEP_RECENT_CHANGES": "PT24H", "WIKIWEIR_HOME": str(folder)}
