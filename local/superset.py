"""Superset as one more program: environment, command, metadata database, log-in.

The surprising thing: supervisord starts `python -m local.superset`, which then becomes the server. supervisord's
configuration holds no secrets, so they get into the server's environment here; and nothing else of ours does.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from local import bootstrap, ports, toolchain
from local import instance as instances
from local.applications import SUPERSET
from local.instance import Instance
from local.processes import NotReadyError
from wikiweir.settings import PROJECT, Settings, load

CONFIGURATION = PROJECT / "dashboards" / "superset_config.py"
"""What is the same in every instance."""
HOOKS = tuple(PROJECT / "dashboards" / name for name in ("action_log.py", "shared_answers.py", "theme.py"))
"""That it takes along."""
SERVING = PROJECT / "local" / "gunicorn_config.py"

FOREIGN = ("WIKIWEIR_", "SUPERSET", "FLASK", "TALISMAN_", "GUNICORN_", "PYTHON")
"""What the shell says under these names is not for the server: our own secrets, and ways around our configuration."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an instance's Superset lives and listens."""

    instance: Instance

    @property
    def folder(self) -> Path:
        return SUPERSET.folder(self.instance)

    @property
    def port(self) -> int:
        return int(self.instance.values[instances.SUPERSET_PORT])

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}"


def announce(instance: Instance, *, is_running: bool) -> None:
    """Have the instance's settings say whether there is a Superset to bring dashboards to."""
    instance.update(**{instances.SUPERSET_URL: Layout(instance).url if is_running else None})


def configuration(instance: Instance, settings: Settings) -> dict[str, str]:
    """What `dashboards/superset_config.py` reads."""
    redis = settings.redis_url.get_secret_value() if settings.redis_url else ""
    return {
        "WIKIWEIR_SUPERSET_SECRET_KEY": instance.secrets[instances.SUPERSET_SECRET_KEY],
        "WIKIWEIR_SUPERSET_DATABASE_URI": SUPERSET.database_uri(instance, settings),
        "WIKIWEIR_SUPERSET_CACHE": str(Layout(instance).folder / "cache"),
        "WIKIWEIR_SUPERSET_ANONYMOUS": str(settings.superset_anonymous).lower(),
        **({"WIKIWEIR_REDIS_URL": redis} if redis else {}),
    }


def environment(instance: Instance, settings: Settings) -> dict[str, str]:
    """Everything in the environment of its programs."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
        **configuration(instance, settings),
        "SUPERSET_CONFIG_PATH": str(CONFIGURATION),
        "SUPERSET_HOME": str(Layout(instance).folder),
        # "the last 60 minutes" end at the clock of its time zone
        "TZ": "UTC",
        # without a bound each thread keeps an arena of its own
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
    }


def fingerprint(instance: Instance, settings: Settings) -> str:
    """Changes with everything that decides how it is prepared and served."""
    pinned = PROJECT / "requirements" / "superset.txt"
    told = {**configuration(instance, settings), "password": instance.secrets[instances.SUPERSET_PASSWORD]}
    script = PROJECT / "local" / "prepare_superset.py"
    command = " ".join(server(Layout(instance)))
    return bootstrap.digest(
        pinned, CONFIGURATION, *HOOKS, SERVING, script, command, *(f"{name}={told[name]}" for name in sorted(told))
    )


def supervised(instance: Instance, settings: Settings) -> tuple[list[str], Mapping[str, str]]:
    """Command and environment for supervisord, which starts it anew when either has changed."""
    told = {
        "WIKIWEIR_SUPERSET_FINGERPRINT": fingerprint(instance, settings),
        # else a supervisord that was started open to everybody would keep it so
        "WIKIWEIR_SUPERSET_ANONYMOUS": str(settings.superset_anonymous).lower(),
    }
    return [str(toolchain.python()), "-m", "local.superset"], told


def server(layout: Layout) -> list[str]:
    """gunicorn's command line."""
    address = f"{ports.LOOPBACK}:{layout.port}"
    command = [str(SUPERSET.binary("gunicorn")), "--config", str(SERVING), "--bind", address]
    return [*command, "superset.app:create_app()"]


def prepare(instance: Instance, settings: Settings) -> None:
    """Role, database, tables, roles of its own, administrator. Does nothing where all of it is as it should be."""
    layout = Layout(instance)
    layout.folder.chmod(0o700)  # what it has in its cache it would run

    def migrate() -> None:
        password = {instances.SUPERSET_PASSWORD: instance.secrets[instances.SUPERSET_PASSWORD]}
        script = ["python", "-m", "local.prepare_superset", settings.superset_user]
        SUPERSET.run(instance, script, {**environment(instance, settings), **password})

    SUPERSET.prepare(instance, settings, fingerprint(instance, settings), migrate)


def bring_dashboards() -> None:
    """What `dashboards_rebuild` does on each published hour, done once before there is one."""
    command = [str(toolchain.python()), "-m", "dashboards.sync"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReadyError(f"Superset runs, but the dashboards did not get into it:\n{done.stderr.strip()[-4000:]}")


def main() -> NoReturn:
    """Become the server."""
    instance = instances.required()
    command = server(Layout(instance))
    os.execve(command[0], command, environment(instance, load()))  # noqa: S606 - a fixed program, no shell


if __name__ == "__main__":
    main()
