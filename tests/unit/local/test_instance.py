"""A state folder: ports and secrets are made once, and secrets are for our eyes only."""

import stat
from pathlib import Path

import pytest

from local import instance as instances
from local.instance import Instance, InstanceError
from wikiweir.settings import load


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    for name in instances.from_outside():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WIKIWEIR_HOME", str(tmp_path / "state"))
    return instances.current()


def test_secrets_are_in_a_file_of_mode_0600_and_all_different(instance: Instance) -> None:
    instances.create(instance)
    assert stat.S_IMODE(instance.secrets_file.stat().st_mode) == 0o600
    secrets = instance.secrets
    generated = [value for name, value in secrets.items() if name.endswith(("PASSWORD", "SECRET", "KEY"))]
    assert len(generated) == len(set(generated)) == 14
    assert all(len(value) >= 32 for value in generated)
    assert not set(secrets) & set(instance.values), "a secret must not stand in instance.env"


def test_settings_read_what_was_chosen(instance: Instance) -> None:
    instances.create(instance)
    settings = load()
    assert settings.postgres_owner_password.get_secret_value() == instance.secrets["WIKIWEIR_POSTGRES_OWNER_PASSWORD"]
    assert settings.kafka_bootstrap == instance.values["WIKIWEIR_KAFKA_BOOTSTRAP"]
    assert settings.postgres_admin_dsn is not None
    assert f":{settings.postgres_port}/" in settings.postgres_admin_dsn.get_secret_value()
    ports = [settings.producer_port, settings.stream_port, settings.replay_port, settings.postgres_port]
    assert len(set(ports)) == 4


def test_a_second_start_changes_nothing(instance: Instance) -> None:
    instances.create(instance)
    before = instance.values, instance.secrets
    instances.create(instance)
    assert (instance.values, instance.secrets) == before


def test_an_instance_of_an_earlier_version_gets_what_it_lacks_and_keeps_the_rest(instance: Instance) -> None:
    instances.create(instance)
    values, secrets = instance.values, instance.secrets
    later = {name for name in (*values, *secrets) if "AIRFLOW" in name}
    assert len(later) > 3
    for file, found, mode in ((instance.settings_file, values, 0o644), (instance.secrets_file, secrets, 0o600)):
        instances.write_env(file, {name: value for name, value in found.items() if name not in later}, mode=mode)
    instances.create(instance)
    assert instance.values.keys() == values.keys()
    assert instance.secrets.keys() == secrets.keys()
    assert values.items() - instance.values.items() <= {(name, values.get(name)) for name in later}
    assert {name for name, value in secrets.items() if instance.secrets[name] != value} == later & secrets.keys()
    assert stat.S_IMODE(instance.secrets_file.stat().st_mode) == 0o600


def test_programs_that_run_elsewhere_are_not_ours(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIKIWEIR_KAFKA_BOOTSTRAP", "broker.example:9092")
    monkeypatch.setenv("WIKIWEIR_POSTGRES_ADMIN_DSN", "postgresql://boss:pass%40word@db.example:6543/postgres")
    instances.create(instance)
    assert instance.embedded == frozenset()
    for name in ("WIKIWEIR_KAFKA_BOOTSTRAP", "WIKIWEIR_POSTGRES_ADMIN_DSN"):
        monkeypatch.delenv(name)
    settings = load()
    assert (settings.postgres_host, settings.postgres_port) == ("db.example", 6543)
    assert settings.kafka_bootstrap == "broker.example:9092"
    assert settings.postgres_admin_dsn is not None
    assert settings.postgres_admin_dsn.get_secret_value().startswith("postgresql://boss:")
    assert "pass%40word" not in instance.settings_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["50%", "it's", "a,b", "a:b", 'say "x"'])
def test_a_path_that_some_part_cannot_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InstanceError, match="WIKIWEIR_HOME"):
        instances.create(Instance(tmp_path / name))
    assert not (tmp_path / name).exists()


def test_no_instance_says_what_makes_one(instance: Instance) -> None:
    with pytest.raises(InstanceError, match=r"\./weir up makes one"):
        instances.required()


@pytest.mark.parametrize("value", ["plain", "with space", "a$b", "a#b", "a\\b", 'a"b', "a=b", "ünï"])
def test_env_files_give_back_what_was_written(tmp_path: Path, value: str) -> None:
    path = tmp_path / "some.env"
    instances.write_env(path, {"WIKIWEIR_X": value}, mode=0o600)
    assert instances.read_env(path) == {"WIKIWEIR_X": value}
