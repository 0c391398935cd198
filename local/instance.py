"""The state folder of one instance: its ports, its secrets, and the one source its data come from.

Two files, both in the form of `.env`: `instance.env` for everybody's eyes and `secrets.env` (mode 0600). Programs
read them by `wikiweir.settings.load()`. The surprising thing: what the environment or the project's `.env` says
about Kafka or PostgreSQL at the first start decides whether we run these ourselves.
"""

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from local import ports, postgres, toolchain
from wikiweir.settings import PROJECT, home

AIRFLOW_PORT = "WIKIWEIR_LOCAL_AIRFLOW_PORT"
AIRFLOW_PASSWORD = "WIKIWEIR_LOCAL_AIRFLOW_ADMIN_PASSWORD"  # noqa: S105
AIRFLOW_DATABASE_PASSWORD = "WIKIWEIR_LOCAL_AIRFLOW_DATABASE_PASSWORD"  # noqa: S105
AIRFLOW_FERNET_KEY = "WIKIWEIR_LOCAL_AIRFLOW_FERNET_KEY"
AIRFLOW_SESSION_KEY = "WIKIWEIR_LOCAL_AIRFLOW_SESSION_KEY"
AIRFLOW_TOKEN_KEY = "WIKIWEIR_LOCAL_AIRFLOW_TOKEN_KEY"  # noqa: S105

SUPERSET_PORT = "WIKIWEIR_LOCAL_SUPERSET_PORT"
SUPERSET_URL = "WIKIWEIR_SUPERSET_URL"
SUPERSET_PASSWORD = "WIKIWEIR_SUPERSET_PASSWORD"  # noqa: S105
SUPERSET_DATABASE_PASSWORD = "WIKIWEIR_LOCAL_SUPERSET_DATABASE_PASSWORD"  # noqa: S105
SUPERSET_SECRET_KEY = "WIKIWEIR_LOCAL_SUPERSET_SECRET_KEY"  # noqa: S105

FOLDERS = ("kafka", "postgres", "lake", "checkpoints", "replay", "airflow", "superset", "logs", "run")
PASSWORD_ROLES = ("owner", "stream", "batch", "reader")
EMBEDDED = "WIKIWEIR_LOCAL_EMBEDDED"
"""Which of kafka and postgres we run ourselves."""
CONTROLLER_PORT = "WIKIWEIR_LOCAL_CONTROLLER_PORT"
SUPERUSER_PASSWORD = "WIKIWEIR_LOCAL_POSTGRES_SUPERUSER_PASSWORD"  # noqa: S105 - a name, not a password


FORBIDDEN = frozenset("%'\",:\n")


class InstanceError(RuntimeError):
    """The state folder does not fit what was asked; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A state folder and what stands in its two files."""

    home: Path

    @property
    def settings_file(self) -> Path:
        return self.home / "instance.env"

    @property
    def secrets_file(self) -> Path:
        return self.home / "secrets.env"

    @property
    def exists(self) -> bool:
        return self.settings_file.exists()

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def values(self) -> dict[str, str]:
        """`instance.env` as a mapping."""
        return read_env(self.settings_file)

    @property
    def secrets(self) -> dict[str, str]:
        """`secrets.env` as a mapping; never to be printed."""
        return read_env(self.secrets_file)

    @property
    def embedded(self) -> frozenset[str]:
        """Which of kafka and postgres we run."""
        return frozenset(self.values.get(EMBEDDED, "").split(",")) - {""}

    def update(self, **changes: str | None) -> None:
        """Change entries of `instance.env`; None takes one out."""
        merged = {**self.values, **changes}
        write_env(self.settings_file, {name: value for name, value in merged.items() if value is not None}, mode=0o644)


def current() -> Instance:
    """The instance that WIKIWEIR_HOME names."""
    return Instance(home())


def required() -> Instance:
    """The instance, which must have been started once."""
    instance = current()
    if not instance.exists:
        raise InstanceError(f"expected an instance in {instance.home}, found none; ./weir up makes one")
    return instance


def create(instance: Instance) -> None:
    """Folders, ports and secrets of a new instance. What is there already stays as it is."""
    for path in (instance.home, toolchain.root()):
        if found := FORBIDDEN & set(str(path)):
            raise InstanceError(
                f"expected a path without any of {' '.join(sorted(FORBIDDEN))}, which separate or quote in some part's "
                f"configuration; found {' '.join(sorted(found))} in {path}; set WIKIWEIR_HOME or WIKIWEIR_TOOLCHAIN"
            )
    for name in FOLDERS:
        (instance.home / name).mkdir(parents=True, exist_ok=True)
    outside = from_outside()
    known = instance.secrets
    if missing := {name: value for name, value in _new_secrets().items() if name not in known}:
        write_env(instance.secrets_file, {**known, **missing}, mode=0o600)
    if not instance.exists:
        write_env(instance.settings_file, _new_settings(outside), mode=0o644)
    if without := [name for name in (AIRFLOW_PORT, SUPERSET_PORT) if name not in instance.values]:
        chosen = map(str, ports.free_ports(len(without)))
        instance.update(**dict(zip(without, chosen, strict=True)))
    if "postgres" in instance.embedded:
        layout = postgres_layout(instance)
        dsn = layout.admin_dsn(instance.secrets[SUPERUSER_PASSWORD])
    else:
        dsn = outside.get("WIKIWEIR_POSTGRES_ADMIN_DSN", instance.secrets.get("WIKIWEIR_POSTGRES_ADMIN_DSN", ""))
    if instance.secrets.get("WIKIWEIR_POSTGRES_ADMIN_DSN") != dsn:
        write_env(instance.secrets_file, {**instance.secrets, "WIKIWEIR_POSTGRES_ADMIN_DSN": dsn}, mode=0o600)


def postgres_layout(instance: Instance) -> postgres.Layout:
    """Where the embedded PostgreSQL lives and listens."""
    return postgres.Layout(folder=instance.home / "postgres", port=int(instance.values["WIKIWEIR_POSTGRES_PORT"]))


def from_outside() -> dict[str, str]:
    """What the operator says, in the environment (which wins) or in the project's `.env`."""
    said = {**read_env(PROJECT / ".env"), **os.environ}
    return {name: value for name, value in said.items() if name.startswith("WIKIWEIR_") and value}


def _new_secrets() -> dict[str, str]:
    made = {f"WIKIWEIR_POSTGRES_{role.upper()}_PASSWORD": secrets.token_urlsafe(24) for role in PASSWORD_ROLES}
    made[SUPERUSER_PASSWORD] = secrets.token_urlsafe(24)
    made["WIKIWEIR_USER_KEY_SECRET"] = secrets.token_urlsafe(32)
    made[AIRFLOW_PASSWORD] = secrets.token_urlsafe(24)
    made[AIRFLOW_DATABASE_PASSWORD] = secrets.token_urlsafe(24)
    made[AIRFLOW_FERNET_KEY] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    made[AIRFLOW_SESSION_KEY] = secrets.token_urlsafe(32)
    made[AIRFLOW_TOKEN_KEY] = secrets.token_urlsafe(64)
    made[SUPERSET_PASSWORD] = secrets.token_urlsafe(24)
    made[SUPERSET_DATABASE_PASSWORD] = secrets.token_urlsafe(24)
    made[SUPERSET_SECRET_KEY] = secrets.token_urlsafe(48)
    return made


def _new_settings(outside: dict[str, str]) -> dict[str, str]:
    kafka, controller, database, producer, stream, replay = ports.free_ports(6)
    embedded = []
    made = {
        "WIKIWEIR_PRODUCER_PORT": str(producer),
        "WIKIWEIR_STREAM_PORT": str(stream),
        "WIKIWEIR_REPLAY_PORT": str(replay),
    }
    if bootstrap := outside.get("WIKIWEIR_KAFKA_BOOTSTRAP"):
        made["WIKIWEIR_KAFKA_BOOTSTRAP"] = bootstrap
    else:
        embedded.append("kafka")
        made["WIKIWEIR_KAFKA_BOOTSTRAP"] = f"{ports.LOOPBACK}:{kafka}"
        made[CONTROLLER_PORT] = str(controller)
    if dsn := outside.get("WIKIWEIR_POSTGRES_ADMIN_DSN"):
        address = urlsplit(dsn)
        made["WIKIWEIR_POSTGRES_HOST"] = unquote(address.hostname or ports.LOOPBACK)
        made["WIKIWEIR_POSTGRES_PORT"] = str(address.port or 5432)
    else:
        embedded.append("postgres")
        made["WIKIWEIR_POSTGRES_HOST"] = ports.LOOPBACK
        made["WIKIWEIR_POSTGRES_PORT"] = str(database)
    return {**made, EMBEDDED: ",".join(embedded)}


def read_env(path: Path) -> dict[str, str]:
    """A `.env` file; empty when there is none."""
    if not path.exists():
        return {}
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}


def write_env(path: Path, values: dict[str, str], *, mode: int) -> None:
    """Replace a `.env` file whole, with the mode from its first byte on."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as sink:
        for name, value in values.items():
            if "'" in value or "\n" in value:
                raise InstanceError(f"{name} holds a quote or a line break, which {path.name} cannot")
            sink.write(f"{name}='{value}'\n")
    draft.replace(path)
