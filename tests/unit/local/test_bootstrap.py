"""The bootstrap: standard library only, nothing to do when the stamp says so, and wrong jars are not taken."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import bootstrap

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["weir", "local/bootstrap.py", "local/__init__.py"])
def test_it_needs_nothing_that_is_not_there_yet(name: str) -> None:
    tree = ast.parse((PROJECT / name).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {module for module in imported if module.split(".")[0] not in sys.stdlib_module_names}
    assert outside <= {"local.bootstrap"}


def test_a_right_stamp_means_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = bootstrap.inputs(tmp_path)
    bootstrap.write_stamp(tmp_path, {**wanted, "env": wanted["jobs"]})
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started a program"))
    bootstrap.ensure(tmp_path, with_developer_tools=False)
    assert not bootstrap.satisfied(tmp_path, wanted, with_developer_tools=True)


def test_developer_tools_serve_the_others_too(tmp_path: Path) -> None:
    wanted = bootstrap.inputs(tmp_path)
    bootstrap.write_stamp(tmp_path, {**wanted, "env": wanted["dev"]})
    assert bootstrap.satisfied(tmp_path, wanted, with_developer_tools=False)
    assert bootstrap.satisfied(tmp_path, wanted, with_developer_tools=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "null"])
def test_half_a_stamp_is_no_stamp(tmp_path: Path, content: str) -> None:
    (tmp_path / "stamp.json").write_text(content, encoding="utf-8")
    assert bootstrap.read_stamp(tmp_path) == {}


def test_a_jar_that_differs_is_noticed(tmp_path: Path) -> None:
    pinned = {"a.jar": hashlib.sha256(b"right").hexdigest()}
    assert not bootstrap.verified(tmp_path, pinned)
    (tmp_path / "a.jar").write_bytes(b"right")
    assert bootstrap.verified(tmp_path, pinned)
    (tmp_path / "b.jar").write_bytes(b"unasked")
    assert not bootstrap.verified(tmp_path, pinned)
    (tmp_path / "b.jar").unlink()
    (tmp_path / "a.jar").write_bytes(b"wrong")
    assert not bootstrap.verified(tmp_path, pinned)


@pytest.mark.parametrize(
    ("printed", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ("nonsense", 0),
    ],
)
def test_javas_version_is_read(tmp_path: Path, printed: str, major: int) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{printed}' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    assert bootstrap.java_version(java) == major


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert bootstrap.java_version(tmp_path / "missing") == 0


def test_without_root_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(bootstrap.BootstrapError, match="sudo apt-get install openjdk-17-jre-headless"):
        bootstrap.apt_install(bootstrap.JAVA_PACKAGES, "Java is missing", any_of_them=True)
