"""The command line over a state folder of a test's own, as a person uses it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import instance as instances
from local import toolchain
from wikiweir.settings import PROJECT, Settings, load

TOOLCHAIN = toolchain.root()


class Weir:
    """The command line over one state folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WIKIWEIR_")}
        here = {"WIKIWEIR_HOME": str(home), "WIKIWEIR_TOOLCHAIN": str(TOOLCHAIN), "PYTHONPATH": str(PROJECT)}
        self.environment = {**kept, **here}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "local", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def processes(self) -> list[psutil.Process]:
        """supervisord, and everything that it has started."""
        supervisord = psutil.Process(int((self.home / "run" / "supervisord.pid").read_text(encoding="ascii")))
        return [supervisord, *supervisord.children(recursive=True)]

    def status(self) -> dict[str, dict[str, Any]]:
        """Name -> component, as `status --json` has it."""
        return {part["name"]: part for part in json.loads(self("status", "--json").stdout)["components"]}


def settings_of(weir: Weir, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that programs of the instance read."""
    for name in instances.from_outside():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WIKIWEIR_HOME", str(weir.home))
    return load()
