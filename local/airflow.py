"""Airflow as its separate programs: environment, configuration, metadata database, log-in; and what it says of itself.

The surprising thing: it lives in an environment of its own, because its Spark provider brings a `pyspark` without
`spark-submit`; so nothing of it is imported here. Its own command line and its REST API are asked instead.
"""

import configparser
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from string import Template

from local import bootstrap, ports, spark, toolchain
from local import instance as instances
from local.applications import AIRFLOW
from local.instance import Instance
from wikiweir.settings import PROJECT, Settings

PROGRAMS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"

DEFINITIONS = PROJECT / "airflow"
"""What is the same in every instance."""

FOREIGN = ("WIKIWEIR_", "AIRFLOW", "PYTHON")
"""What the shell says under these names is not for its preparation: our secrets, and ways around our configuration."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an instance's Airflow lives and listens."""

    instance: Instance

    @property
    def folder(self) -> Path:
        """AIRFLOW_HOME."""
        return AIRFLOW.folder(self.instance)

    @property
    def port(self) -> int:
        return int(self.instance.values[instances.AIRFLOW_PORT])

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}"


def render_configuration(layout: Layout, settings: Settings) -> str:
    """`airflow.cfg`: what is the same everywhere, and this instance's addresses and keys."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(DEFINITIONS / "airflow.cfg", encoding="utf-8")
    secret, logs = layout.instance.secrets, layout.instance.logs / "airflow"
    here: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": PROJECT / "dags",
            "fernet_key": secret[instances.AIRFLOW_FERNET_KEY],
            "execution_api_server_url": f"{layout.url}/execution/",
            "simple_auth_manager_passwords_file": layout.folder / "passwords.json",
        },
        "database": {"sql_alchemy_conn": AIRFLOW.database_uri(layout.instance, settings)},
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
        "WIKIWEIR_PYTHON": str(toolchain.python()),
        "WIKIWEIR_SPARK_SUBMIT": str(spark.patient_submit(instance)),
        "WIKIWEIR_SPARK_PROPERTIES": str(spark.properties_file(instance)),
        **spark.environment(settings),
    }


def command(program: str) -> list[str]:
    """The command line of one of its programs. Their log servers, which listen everywhere, stay off."""
    quiet = ["--skip-serve-logs"] if program in {"scheduler", "triggerer"} else []
    # a scheduler that was killed has left its workers behind
    first = [str(toolchain.python()), "-m", "local.orphans"] if program == "scheduler" else []
    return [*first, str(AIRFLOW.binary("airflow")), program, *quiet]


def prepare(instance: Instance, settings: Settings) -> None:
    """Role, database, schema, pools. Does nothing where all of it is as the checkout says."""

    def migrate() -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        of_airflow = kept | environment(instance, settings)
        AIRFLOW.run(instance, ["airflow", "db", "migrate"], of_airflow)
        AIRFLOW.run(instance, ["airflow", "pools", "import", str(DEFINITIONS / "pools.json")], of_airflow)

    wanted = bootstrap.digest(PROJECT / "requirements" / "airflow.txt", DEFINITIONS / "pools.json")
    AIRFLOW.prepare(instance, settings, wanted, migrate)
