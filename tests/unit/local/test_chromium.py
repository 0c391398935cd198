"""The browser of the dashboards' tests is the distribution's own; where it is missing the command is said."""

import os
from pathlib import Path

import pytest

from local import bootstrap, chromium


def test_the_distributions_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find() is None
    browser = tmp_path / "chromium"
    browser.touch(0o755)
    assert chromium.find() == chromium.ensure() == browser


def test_without_root_the_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(bootstrap.BootstrapError, match="sudo apt-get install chromium"):
        chromium.ensure()
