"""`./weir test`: static checks and four tempos, in the order in which they fail fastest; the long ones by name only."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from local import bootstrap, chromium, toolchain
from wikiweir.clock import SystemClock
from wikiweir.settings import PROJECT

TEMPOS = ("checks", "unit", "spark", "contracts", "integration")
LONG = ("soak", "acceptance")
"""Kills at random and recorded streams; thirty hours of the true volume: as long as one lets them."""


def commands(tempo: str, arguments: Sequence[str]) -> list[list[str]]:
    """What a tempo runs."""
    binaries = Path(sys.executable).parent
    if tempo == "checks":
        return [
            [str(binaries / "ruff"), "check", "."],
            [str(binaries / "ruff"), "format", "--check", "."],
            [str(binaries / "mypy")],
            [str(binaries / "lint-imports")],
        ]
    folders = [f"tests/{tempo}", *(["tests/oracle"] if tempo == "unit" else [])]
    return [[sys.executable, "-m", "pytest", *folders, *arguments]]


def run(tempo: str | None, arguments: Sequence[str], say: Callable[[str], None]) -> int:
    """Run one tempo or all of them; how the first failing command ended, 0 when all passed."""
    if tempo is not None and tempo not in (*TEMPOS, *LONG):
        say(f"weir: expected a tempo out of {', '.join((*TEMPOS, *LONG))}, found {tempo!r}")
        return 2
    if tempo in (None, "integration"):
        try:
            chromium.ensure()
        except bootstrap.BootstrapError as problem:
            say(f"weir: {problem}")
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment["JAVA_HOME"] = str(toolchain.java().resolve().parent.parent)
    # tests bring their own instances: what this shell says about an instance must not reach them
    for name in [name for name in environment if name.startswith("WIKIWEIR_") and name != "WIKIWEIR_TOOLCHAIN"]:
        del environment[name]
    clock, failed = SystemClock(), 0
    for each in [tempo] if tempo else TEMPOS:
        began = clock.monotonic()
        codes = [
            subprocess.run(command, check=False, cwd=PROJECT, env=environment).returncode
            for command in commands(each, arguments)
        ]
        failed = failed or next((code for code in codes if code), 0)
        say(f"weir test {each}: {'failed' if any(codes) else 'passed'} in {clock.monotonic() - began:.0f} s")
    return failed
