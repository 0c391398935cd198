"""Rendered configuration: loopback only, no secret in it, and the one exit code that ends the stream for good."""

import configparser
import itertools
import json
import re
from pathlib import Path

import pytest

from local import airflow, kafka, postgres, programs, source, spark, supervision
from local import instance as instances
from local.instance import Instance
from local.programs import ProgramSpec
from local.source import Wish
from wikiweir.settings import Settings, load

ADDRESS = re.compile(r"\b\d+\.\d+\.\d+\.\d+\b")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    for name in instances.from_outside():
        monkeypatch.delenv(name, raising=False)
    toolchain = tmp_path / "toolchain"
    for kind in ("spark", "kafka"):
        (toolchain / "jars" / kind).mkdir(parents=True)
        (toolchain / "jars" / kind / f"{kind}-1.jar").touch()
    monkeypatch.setenv("WIKIWEIR_TOOLCHAIN", str(toolchain))
    monkeypatch.setenv("WIKIWEIR_HOME", str(tmp_path / "spaced state"))
    monkeypatch.setenv("WIKIWEIR_JAVA_HOME", str(tmp_path / "java"))
    made = instances.current()
    instances.create(made)
    source.bind(made, Wish(), contact=None, now_ms=0)
    return made


@pytest.fixture
def conf(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> configparser.RawConfigParser:
    monkeypatch.setattr(postgres, "account", lambda: "somebody")
    monkeypatch.setattr("local.toolchain.program", lambda name: Path("/invented/bin") / name)
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(supervision.render(instance, programs.programs(instance, load())))
    return parser


def test_every_part_is_supervised_and_none_starts_by_itself(conf: configparser.RawConfigParser) -> None:
    parts = [name.removeprefix("program:") for name in conf.sections() if name.startswith("program:")]
    assert sorted(parts) == sorted(programs.START_ORDER)
    assert sorted(itertools.chain(*programs.STOP_ORDER)) == sorted(programs.START_ORDER)
    assert all(conf[f"program:{part}"]["autostart"] == "false" for part in parts)


def test_crashes_are_restarted_but_a_fenced_stream_is_not(conf: configparser.RawConfigParser) -> None:
    assert conf["program:stream"]["autorestart"] == "unexpected"
    assert conf["program:stream"]["exitcodes"] == "3,78"
    assert conf["program:producer"]["exitcodes"] == "78"
    for part in ("postgres", "kafka"):
        assert conf[f"program:{part}"]["autorestart"] == "true"


def test_tasks_end_with_the_scheduler_and_while_the_api_server_still_listens(
    conf: configparser.RawConfigParser,
) -> None:
    asked_as_group = [name for name in conf.sections() if conf[name].get("stopasgroup") == "true"]
    assert asked_as_group == ["program:scheduler"]
    stages = {name: stage for stage, names in enumerate(programs.STOP_ORDER) for name in names}
    assert stages["scheduler"] < stages["api-server"] < stages["stream"]
    assert "-m local.orphans " in conf["program:scheduler"]["command"]


def test_supervisord_is_reached_by_its_socket_only(conf: configparser.RawConfigParser) -> None:
    assert "inet_http_server" not in conf
    assert conf["unix_http_server"]["chmod"] == "0700"


def test_no_secret_is_rendered(instance: Instance, conf: configparser.RawConfigParser) -> None:
    settings = load()
    spark.write_configuration(instance, settings)
    everything = "".join(path.read_text(encoding="utf-8") for path in (instance.run / "spark").iterdir())
    everything += "".join(value for section in conf.values() for value in section.values())
    for secret in instance.secrets.values():
        assert secret not in everything


def test_a_path_too_long_for_a_socket_gets_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = Instance(tmp_path / ("d" * 120))
    path = supervision.socket_path(deep)
    assert path.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert supervision.socket_path(deep) == path


def test_kafka_listens_on_loopback_and_takes_the_largest_event() -> None:
    layout = kafka.Layout(folder=Path("/invented"), port=1, controller_port=2, max_event_bytes=10_000_000)
    lines = dict(line.split("=", 1) for line in kafka.render_properties(layout).splitlines() if "=" in line)
    for name in ("listeners", "advertised.listeners", "controller.quorum.voters"):
        assert set(ADDRESS.findall(lines[name])) == {"127.0.0.1"}
    assert lines["auto.create.topics.enable"] == "false"
    assert int(lines["message.max.bytes"]) > 10_000_000


def test_postgres_takes_passwords_over_loopback_and_nothing_else() -> None:
    conf = postgres.render_conf(postgres.Layout(folder=Path("/invented"), port=5))
    assert "listen_addresses = '127.0.0.1'" in conf
    assert "unix_socket_directories = ''" in conf
    assert "synchronous_commit = on" in conf
    rules = [line.split() for line in postgres.HBA.splitlines() if line and not line.startswith("#")]
    assert rules == [["host", "all", "all", "127.0.0.1/32", "scram-sha-256"]]


def test_spark_binds_to_loopback_and_has_its_jars_on_the_class_path() -> None:
    jars = [Path("/invented/a.jar"), Path("/invented/b.jar")]
    text = spark.render_defaults(Settings(), jars=jars, work=Path("/invented/work"), log4j=Path("/invented/log4j"))
    lines = dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines["spark.driver.host"] == lines["spark.driver.bindAddress"] == "127.0.0.1"
    assert lines["spark.driver.extraClassPath"] == "/invented/a.jar:/invented/b.jar"
    assert lines["spark.ui.enabled"] == "false"
    assert lines["spark.driver.memory"] == Settings().spark_driver_memory


def test_airflow_listens_on_loopback_asks_for_a_password_and_keeps_its_keys_to_itself(instance: Instance) -> None:
    settings = load()
    airflow.write_files(instance, settings)
    folder = airflow.Layout(instance).folder
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    conf = configparser.RawConfigParser()
    conf.read(folder / "airflow.cfg", encoding="utf-8")
    assert conf["api"]["host"] == "127.0.0.1"
    assert conf["api"]["expose_config"] == "False"
    assert "simple_auth_manager_all_admins" not in conf["core"]
    assert conf["core"]["simple_auth_manager_users"] == f"{airflow.USER}:admin"
    assert conf["database"]["sql_alchemy_conn"].startswith("postgresql+psycopg2://wikiweir_airflow:")
    keys = {conf["core"]["fernet_key"], conf["api"]["secret_key"], conf["api_auth"]["jwt_secret"]}
    assert len(keys) == 3
    assert keys <= set(instance.secrets.values())
    same_everywhere = (airflow.DEFINITIONS / "airflow.cfg").read_text(encoding="utf-8")
    assert not [secret for secret in instance.secrets.values() if secret in same_everywhere]
    connections = json.loads((folder / "connections.json").read_text(encoding="utf-8"))
    assert connections["wikiweir_spark"]["host"] == settings.spark_master
    assert connections["wikiweir_postgres"]["login"] == "wikiweir_reader", "DAGs look, jobs write"


def test_the_spark_connection_follows_the_setting(instance: Instance) -> None:
    elsewhere = load().model_copy(update={"spark_master": "spark://master.example:7077"})
    assert json.loads(airflow.render_connections(elsewhere))["wikiweir_spark"]["host"] == "spark://master.example:7077"


def test_airflow_serves_no_logs_of_its_own() -> None:
    assert "--skip-serve-logs" in airflow.command("scheduler")
    assert "--skip-serve-logs" in airflow.command("triggerer")


def test_a_program_needs_no_more_than_name_and_command(instance: Instance) -> None:
    rendered = supervision.render(instance, [ProgramSpec(name="some", command=["/bin/echo", "two words"])])
    assert "command=/bin/echo 'two words'" in rendered
