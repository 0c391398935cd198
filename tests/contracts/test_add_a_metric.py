"""The steps of docs/add-a-metric.md, done as written to a copy of the checkout, are enough."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wikiweir.settings import PROJECT

GUIDE = (PROJECT / "docs" / "add-a-metric.md").read_text(encoding="utf-8")
ROOMS = ("wikiweir", "sql", "local", "jobs", "expectations", "docs", "tests/contracts", "requirements")


def block(language: str) -> str:
    """The code of that language in the guide, without its indentation."""
    [found] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return "".join(f"{line.strip()}\n" for line in found.splitlines() if line.strip())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the contracts of the database need of the project."""
    for room in ROOMS:
        shutil.copytree(PROJECT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(PROJECT / file, tmp_path / file)
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=checkout, env=None, capture_output=True, text=True, check=False
    )


def contracts(checkout: Path) -> subprocess.CompletedProcess[str]:
    """The database as migrated, against the declarations, in a PostgreSQL of its own."""
    files = ("test_sql_drift.py", "test_sql_grants.py")
    options = ("-q", "-p", "no:cacheprovider", f"--basetemp={checkout / 'pytest'}")
    return run(checkout, "pytest", *options, *(f"tests/contracts/{file}" for file in files))


def test_the_guides_steps_are_enough(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    rollups = checkout / "wikiweir" / "rollups.py"
    text = rollups.read_text(encoding="utf-8")
    before, activity, after = text.partition("ACTIVITY = Rollup(")
    declared = after.replace("        REVERTS,\n", "        REVERTS,\n        LOG_ENTRIES,\n", 1)
    rollups.write_text(f"{before}{block('python')}\n{activity}{declared}", encoding="utf-8")
    missing = contracts(checkout)
    assert missing.returncode == 1
    assert "batch.activity_daily.log_entries" in missing.stdout

    last = max((checkout / "sql" / "versions").glob("0*.py"))
    number = f"{int(last.stem[:4]) + 1:04}"
    (checkout / "sql" / f"{number}_log_entries.sql").write_text(block("sql"), encoding="utf-8")
    version = re.sub(
        r"(?m)^down_revision = .*$", f'down_revision = "{last.stem[:4]}"', last.read_text(encoding="utf-8")
    )
    version = version.replace(last.stem, f"{number}_log_entries").replace(
        f'\nrevision = "{last.stem[:4]}"', f'\nrevision = "{number}"'
    )
    (checkout / "sql" / "versions" / f"{number}_log_entries.py").write_text(version, encoding="utf-8")
    assert run(checkout, "sql.generate").returncode == 0

    done = contracts(checkout)
    assert done.returncode == 0, done.stdout[-3000:]
    for view in ("serving.activity", "serving.activity_hourly", "serving.activity_daily"):
        comments = (checkout / "sql" / "generated" / "comments.sql").read_text(encoding="utf-8")
        assert f"COMMENT ON COLUMN {view}.log_entries IS 'Events of type log.';" in comments
