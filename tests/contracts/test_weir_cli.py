"""The command line as users meet it: every command explains itself; the jar lists are whole and consistent."""

import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "up",
    "down",
    "status",
    "doctor",
    "logs",
    "psql",
    "reset",
    "test",
    "bench",
    "generate",
    "backup",
    "restore",
)


def weir(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a state folder of its own, in the environment that runs this test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WIKIWEIR_")}
    environment |= {
        "WIKIWEIR_HOME": str(tmp_path / "state"),
        "PYTHONPATH": str(PROJECT),
        "COLUMNS": "200",
        "TERM": "dumb",
    }
    command = [sys.executable, "-m", "local", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = weir(tmp_path, "--help")
    assert shown.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^│ {command} +\S", shown.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_touches_nothing(tmp_path: Path, command: str) -> None:
    shown = weir(tmp_path, command, "--help")
    assert shown.returncode == 0
    assert f"Usage: ./weir {command}" in shown.stdout
    assert len(shown.stdout.splitlines()) > 5
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments", [("down",), ("status",), ("logs", "stream"), ("psql",), ("backup", "copy")], ids=lambda given: given[0]
)
def test_without_an_instance_the_message_says_what_makes_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = weir(tmp_path, *arguments)
    assert refused.returncode == 1
    assert "./weir up makes one" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("reset",), "./weir reset --yes"),
        (("restore", "nowhere"), "is no backup"),
        (("up", "--live", "--seed", "3"), "different sources"),
        (("up", "--live"), "WIKIWEIR_CONTACT"),
        (("up", "--without", "kafka"), "--without takes airflow, superset, replay, producer, stream"),
        (("up", "some.ndjson"), "files follow --recording"),
    ],
)
def test_refusals_say_what_to_do_and_leave_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    refused = weir(tmp_path, *arguments)
    assert refused.returncode == 1
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("kind", ["spark", "kafka"])
def test_every_jar_has_a_version_and_a_checksum(kind: str) -> None:
    lines = (PROJECT / "local" / "jars" / f"{kind}.sha256").read_text(encoding="ascii").splitlines()
    matches = [re.fullmatch(r"[0-9a-f]{64}  ([\w.+-]+\.jar)", line) for line in lines]
    assert all(matches), lines
    names = [match[1] for match in matches if match]
    assert len(set(names)) == len(names)
    tree = ElementTree.parse(PROJECT / "local" / "jars" / f"{kind}.xml")
    modules = tree.findall("./dependencies/dependency")
    assert sorted(f"{module.get('name')}-{module.get('rev')}.jar" for module in modules) == sorted(names)
    assert all(module.get("transitive") == "false" for module in modules)


def test_no_jar_of_ours_is_in_pyspark_already() -> None:
    pyspark = importlib.util.find_spec("pyspark")
    assert pyspark is not None
    assert pyspark.origin is not None
    theirs = {_artifact(path.name) for path in (Path(pyspark.origin).parent / "jars").glob("*.jar")}
    lines = (PROJECT / "local" / "jars" / "spark.sha256").read_text(encoding="ascii").splitlines()
    assert not {_artifact(line.split()[1]) for line in lines} & theirs


def test_deltas_jar_and_package_are_of_one_version() -> None:
    from importlib.metadata import version

    jars = (PROJECT / "local" / "jars" / "spark.sha256").read_text(encoding="ascii")
    assert f"delta-spark_4.2_2.13-{version('delta-spark')}.jar" in jars
    assert f"spark-sql-kafka-0-10_2.13-{version('pyspark')}.jar" in jars


def _artifact(jar: str) -> str:
    """`name` of `name-1.2.3.jar`."""
    return re.sub(r"-\d[\w.+-]*\.jar$", "", jar)
