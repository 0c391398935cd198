"""Rendered configuration: loopback only, no secret in it, and the one exit code that ends the stream for good."""

import configparser
import itertools
import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from dashboards import action_log
from local import airflow, gunicorn_config, kafka, postgres, programs, source, spark, superset, supervision
from local import instance as instances
from local.applications import APPLICATIONS
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


def test_tasks_are_told_the_jobs_environment(instance: Instance) -> None:
    told = airflow.environment(instance, load())
    assert Path(told["WIKIWEIR_PYTHON"]).name.startswith("python")
    assert Path(told["WIKIWEIR_SPARK_SUBMIT"]).parent == Path(told["WIKIWEIR_SPARK_PROPERTIES"]).parent


def test_tasks_submit_with_less_priority_than_the_stream(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    says_its_own = shutil.which("nice")
    assert says_its_own
    monkeypatch.setattr("local.toolchain.program", lambda _: Path(says_its_own))
    spark.write_configuration(instance, load())
    submit = airflow.environment(instance, load())["WIKIWEIR_SPARK_SUBMIT"]
    told = subprocess.run([submit], check=True, capture_output=True, text=True).stdout
    assert int(told) == os.nice(0) + spark.BATCH_NICENESS


def test_each_application_has_a_database_and_a_role_of_its_own(instance: Instance) -> None:
    settings = load()
    found = {each.database_uri(instance, settings) for each in APPLICATIONS}
    assert [uri.partition("//")[2].partition(":")[0] for uri in sorted(found)] == [
        "wikiweir_airflow",
        "wikiweir_superset",
    ]
    assert {uri.rpartition("/")[2] for uri in found} == {"wikiweir_airflow", "wikiweir_superset"}
    assert len({each.database_password for each in APPLICATIONS}) == 2


def test_superset_listens_on_loopback(instance: Instance) -> None:
    layout = superset.Layout(instance)
    command = superset.server(layout)
    assert command[command.index("--bind") + 1] == f"127.0.0.1:{layout.port}"
    assert gunicorn_config.control_socket_disable
    superset.announce(instance, is_running=True)
    assert load().superset_url == layout.url


def test_superset_that_is_left_out_is_nobody_to_sync_with(instance: Instance) -> None:
    superset.announce(instance, is_running=True)
    superset.announce(instance, is_running=False)
    assert load().superset_url is None


def test_superset_is_told_its_own_secrets_and_no_others(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load()
    monkeypatch.setenv("WIKIWEIR_POSTGRES_ADMIN_DSN", "postgresql://boss:very-secret@127.0.0.1/postgres")
    monkeypatch.setenv("SUPERSET__SQLALCHEMY_DATABASE_URI", "postgresql://somewhere.else/")
    told = superset.environment(instance, settings)
    assert "SUPERSET__SQLALCHEMY_DATABASE_URI" not in told
    assert told["WIKIWEIR_SUPERSET_SECRET_KEY"] == instance.secrets[instances.SUPERSET_SECRET_KEY]
    own = {instances.SUPERSET_SECRET_KEY, instances.SUPERSET_DATABASE_PASSWORD}
    everything = "\n".join(told.values())
    assert "very-secret" not in everything
    assert {name for name, secret in instance.secrets.items() if secret in everything} == own


def test_superset_is_started_anew_when_what_it_is_told_has_changed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = load()
    assert superset.supervised(instance, closed) == superset.supervised(instance, closed)
    opened = closed.model_copy(update={"superset_anonymous": True})
    assert superset.supervised(instance, opened) != superset.supervised(instance, closed)
    assert superset.fingerprint(instance, opened) != superset.fingerprint(instance, closed)
    elsewhere = closed.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    assert superset.fingerprint(instance, elsewhere) != superset.fingerprint(instance, closed)
    before = superset.fingerprint(instance, closed)
    monkeypatch.setattr(superset, "CONFIGURATION", superset.CONFIGURATION.with_name("__init__.py"))
    assert superset.fingerprint(instance, closed) != before


def read_configuration(instance: Instance, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """What Superset makes of it, in an interpreter that has nothing but the standard library of it."""
    for name, value in superset.configuration(instance, load().model_copy(update=changes)).items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(superset.CONFIGURATION))


def test_supersets_pages_load_from_itself_alone(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = read_configuration(instance, monkeypatch)
    assert conf["TALISMAN_ENABLED"]
    assert conf["TALISMAN_CONFIG"]["frame_options"] == "SAMEORIGIN"
    policy = conf["TALISMAN_CONFIG"]["content_security_policy"]
    assert set(itertools.chain(*policy.values())) == {
        "'self'",
        "'none'",
        "'strict-dynamic'",
        "'unsafe-inline'",
        "data:",
        "blob:",
    }
    assert policy["script-src"] == ["'self'", "'strict-dynamic'"]
    assert not conf["ENABLE_CORS"]
    assert not conf["THEME_DEFAULT"]["token"]["fontUrls"]
    for file in (superset.CONFIGURATION, *superset.HOOKS):
        assert not re.search("https?://(?!www.w3.org/)", file.read_text(encoding="utf-8"))


def test_superset_opens_to_everybody_only_when_asked(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_configuration(instance, monkeypatch)["PUBLIC_ROLE_LIKE"] is None
    assert read_configuration(instance, monkeypatch, superset_anonymous=True)["PUBLIC_ROLE_LIKE"] == "Public"


def test_supersets_answers_are_kept_in_files_or_in_redis(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_configuration(instance, monkeypatch)["DATA_CACHE_CONFIG"]
    assert files["CACHE_TYPE"] == "FileSystemCache"
    assert Path(files["CACHE_DIR"]).is_relative_to(instance.home / "superset")
    assert 0 < files["CACHE_DEFAULT_TIMEOUT"] < 10, "each refresh brings new numbers"
    redis = SecretStr("redis://:word@127.0.0.1:6379/0")
    elsewhere = read_configuration(instance, monkeypatch, redis_url=redis)["DATA_CACHE_CONFIG"]
    assert elsewhere["CACHE_TYPE"] == "RedisCache"
    assert elsewhere["CACHE_REDIS_URL"] == redis.get_secret_value()


def test_supersets_log_of_looks_is_off() -> None:
    written: list[str] = []
    logger = SimpleNamespace(log=written.append, log_with_context=written.append)
    action_log.keep_none(SimpleNamespace(config={"EVENT_LOGGER": logger}))
    logger.log_with_context("a tile")
    logger.log("a tile")
    assert not written


def test_supersets_keys_are_this_instances_own(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = read_configuration(instance, monkeypatch)
    assert conf["SECRET_KEY"] == instance.secrets[instances.SUPERSET_SECRET_KEY]
    keys = {conf[name] for name in ("SECRET_KEY", "GUEST_TOKEN_JWT_SECRET", "GLOBAL_ASYNC_QUERIES_JWT_SECRET")}
    assert all(len(key) >= 32 for key in keys)
    assert conf["SESSION_COOKIE_NAME"] not in {"session", "wikiweir"}, "a browser keeps cookies by host, not by port"


def test_a_program_needs_no_more_than_name_and_command(instance: Instance) -> None:
    rendered = supervision.render(instance, [ProgramSpec(name="some", command=["/bin/echo", "two words"])])
    assert "command=/bin/echo 'two words'" in rendered
