"""The PostgreSQL JDBC driver that the baselines write with: fetched once by the Ivy inside pyspark, checked, kept.

Only the benchmark needs it, so it is not among the toolchain's jars: Wikiweir itself writes by COPY.
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

import pyspark

from local import toolchain

ORGANISATION, NAME, VERSION = "org.postgresql", "postgresql", "42.7.8"
SHA256 = "2a32a9dcbc42d67a50ad3a0de5efd102c8d2be46720045f2cbd6689f160ab7c7"


class DriverError(RuntimeError):
    """The driver could not be fetched, or is not the one that was pinned."""


def jar() -> Path:
    """The jar, fetched if it is not there yet."""
    target = toolchain.root() / "jars" / "bench" / f"{NAME}-{VERSION}.jar"
    if not target.exists():
        _fetch(target)
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != SHA256:
        raise DriverError(f"expected {target} to have sha256 {SHA256}, found {found}; delete it and run again")
    return target


def _fetch(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    ivy = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    with tempfile.TemporaryDirectory(prefix="weir-ivy-") as cache:
        command = [str(toolchain.java()), "-jar", str(ivy), "-cache", cache, "-dependency", ORGANISATION, NAME, VERSION]
        command += ["-confs", "default", "-types", "jar", "-retrieve", f"{target.parent}/[artifact]-[revision].[ext]"]
        # the driver alone: what it declares besides is for compiling it
        command += ["-notransitive"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not target.exists():
        raise DriverError(
            f"Ivy could not fetch {ORGANISATION}:{NAME}:{VERSION}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
