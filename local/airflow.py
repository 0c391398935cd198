"""Airflow as its separate programs: environment, configuration, metadata database, log-in; and what it says of itself.

The surprising thing: it lives in an environment of its own, because its Spark provider brings a `pyspark` without
`spark-submit`; so nothing of it is imported here. Its own command line and its REST API are asked instead.
"""

import configparser
import io
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

from local import bootstrap, ports, spark, toolchain
from local import instance as instances
from local.instance import Instance
from local.processes import NotReadyError
from sql.roles import Role, admin_connection, create_database, ensure_role
from wikiweir.settings import PROJECT, Settings

PROGRAMS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"
DATABASE_ROLE = "wikiweir_airflow"

DEFINITIONS = PROJECT / "airflow"
"""What is the same in every instance."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an instance's Airflow lives and listens."""

    instance: Instance

    @property
    def folder(self) -> Path:
        """AIRFLOW_HOME."""
        return self.instance.home / "airflow"

    @property
    def port(self) -> int:
        return int(self.instance.values[instances.AIRFLOW_PORT])

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}"


def database(settings: Settings) -> str:
    """The name of its metadata database, beside ours."""
    return f"{settings.postgres_dbname}_airflow"


def binary(name: str) -> Path:
    """A console script of Airflow's environment."""
    return toolchain.root() / "env" / "airflow" / "bin" / name


def render_configuration(layout: Layout, settings: Settings) -> str:
    """`airflow.cfg`: what is the same everywhere, and this instance's addresses and keys."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(DEFINITIONS / "airflow.cfg", encoding="utf-8")
    secret, logs = layout.instance.secrets, layout.instance.logs / "airflow"
    login = f"{DATABASE_ROLE}:{quote(secret[instances.AIRFLOW_DATABASE_PASSWORD], safe='')}"
    server = f"{settings.postgres_host}:{settings.postgres_port}"
    here: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": PROJECT / "dags",
            "fernet_key": secret[instances.AIRFLOW_FERNET_KEY],
            "execution_api_server_url": f"{layout.url}/execution/",
            "simple_auth_manager_passwords_file": layout.folder / "passwords.json",
        },
        # without the driver's name SQLAlchemy takes psycopg 3
        "database": {"sql_alchemy_conn": f"postgresql+psycopg2://{login}@{server}/{database(settings)}"},
        "api": {
            "base_url": layout.url,
            "host": ports.LOOPBACK,
            "port": layout.port,
            "secret_key": secret[instances.AIRFLOW_SESSION_KEY],
        },
        "api_auth": {"jwt_secret": secret[instances.AIRFLOW_TOKEN_KEY]},
        "logging": {
            "base_log_folder": logs,
            "dag_processor_child_process_log_directory": logs / "dag_processor",
        },
        "secrets": {"backend_kwargs": json.dumps({"connections_file_path": str(layout.folder / "connections.json")})},
    }
    for section, entries in here.items():
        if not config.has_section(section):
            config.add_section(section)
        for name, value in entries.items():
            config.set(section, name, str(value))
    sink = io.StringIO("# Rendered by local.airflow at every start.\n\n")
    sink.seek(0, io.SEEK_END)
    config.write(sink)
    return sink.getvalue()


def render_connections(settings: Settings) -> str:
    """`connections.json` with this instance's addresses and passwords."""
    values = {
        "spark_master": settings.spark_master,
        "postgres_host": settings.postgres_host,
        "postgres_port": settings.postgres_port,
        "postgres_dbname": settings.postgres_dbname,
        "postgres_reader_password": settings.postgres_reader_password.get_secret_value(),
        "postgres_batch_password": settings.postgres_batch_password.get_secret_value(),
    }
    return Template((DEFINITIONS / "connections.json").read_text(encoding="utf-8")).substitute(values)


def write_files(instance: Instance, settings: Settings) -> None:
    """Everything Airflow reads, in its folder, for our eyes only."""
    layout = Layout(instance)
    files = {
        "airflow.cfg": render_configuration(layout, settings),
        "connections.json": render_connections(settings),
        "passwords.json": json.dumps({USER: instance.secrets[instances.AIRFLOW_PASSWORD]}),
    }
    for name, text in files.items():
        handle = os.open(layout.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as sink:
            sink.write(text)


def environment(instance: Instance, settings: Settings) -> dict[str, str]:
    """What its programs, and the tasks they start, need in their environment."""
    return {
        "AIRFLOW_HOME": str(Layout(instance).folder),
        "WIKIWEIR_SPARK_SUBMIT": str(toolchain.program("spark-submit")),
        "WIKIWEIR_SPARK_PROPERTIES": str(spark.properties_file(instance)),
        **spark.environment(settings),
    }


def command(program: str) -> list[str]:
    """The command line of one of its programs. Their log servers, which listen everywhere, stay off."""
    quiet = ["--skip-serve-logs"] if program in {"scheduler", "triggerer"} else []
    # a scheduler that was killed has left its workers behind
    first = [str(toolchain.python()), "-m", "local.orphans"] if program == "scheduler" else []
    return [*first, str(binary("airflow")), program, *quiet]


def prepare(instance: Instance, settings: Settings) -> None:
    """Role, database, schema, pools. Does nothing where all of it is as the checkout says."""
    _ensure_database(instance, settings)
    layout = Layout(instance)
    wanted = bootstrap.digest(PROJECT / "requirements" / "airflow.txt", DEFINITIONS / "pools.json")
    stamp = layout.folder / "prepared"
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    _airflow(instance, settings, "db", "migrate")
    _airflow(instance, settings, "pools", "import", str(DEFINITIONS / "pools.json"))
    stamp.write_text(wanted, encoding="ascii")


def _ensure_database(instance: Instance, settings: Settings) -> None:
    assert settings.postgres_admin_dsn is not None
    admin = admin_connection(settings.postgres_admin_dsn.get_secret_value())
    try:
        ensure_role(admin, Role(name="airflow"), instance.secrets[instances.AIRFLOW_DATABASE_PASSWORD], settings)
        create_database(admin, database(settings), owner=DATABASE_ROLE)
    finally:
        admin.close()


def _airflow(instance: Instance, settings: Settings, *arguments: str) -> None:
    log = instance.logs / "airflow-prepare.log"
    with log.open("ab") as sink:
        done = subprocess.run(
            [str(binary("airflow")), *arguments],
            env={**os.environ, "PYTHONPATH": str(PROJECT), **environment(instance, settings)},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
        )
    if done.returncode:
        raise NotReadyError(f"airflow {' '.join(arguments)} ended with {done.returncode}; its output is in {log}")
