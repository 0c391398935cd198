"""Which folders keep PostgreSQL's own account from its files, and that they are opened to search only."""

import os
import pwd
from pathlib import Path

import pytest

from local import postgres


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")
def test_closed_folders_get_search_permission_and_nothing_more(tmp_path: Path) -> None:
    somebody = pwd.getpwuid(65534).pw_name
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    assert closed in postgres.closed_parents(inner / "file", somebody)
    opened = postgres.let_through(inner / "file", somebody)
    assert closed in opened
    assert closed.stat().st_mode & 0o777 == 0o701
    assert postgres.closed_parents(inner / "file", somebody) == []
