"""`up` of a new instance to live numbers, and what must hold while it runs: loopback only, no secret in sight,
a killed part comes back, another source is refused, `down` leaves nothing."""

import ipaddress
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from local.airflow import PROGRAMS
from local.instance import Instance
from local.processes import wait_until
from local.programs import START_ORDER
from tests.integration.weir import Weir, settings_of
from wikiweir.clock import SystemClock
from wikiweir.settings import PROJECT, Settings

CLOCK = SystemClock()
PARTS = set(START_ORDER)
LEFT_OUT = {*PROGRAMS, "superset"}


@pytest.fixture(scope="module")
def weir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    made = Weir(tmp_path_factory.mktemp("up") / "state")
    shown = made("up", "--rate", "200", "--history", "1m")
    try:
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert " events, " in shown.stdout, "the first numbers are shown"
        yield made
    finally:
        made("down")


@pytest.fixture
def settings(weir: Weir, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return settings_of(weir, monkeypatch)


def asked(question: Callable[[], list[Any]]) -> list[Any]:
    """What a process answers; nothing if it has ended meanwhile, as PostgreSQL's backends do all the time."""
    try:
        return question()
    except psutil.NoSuchProcess:
        return []


def test_every_part_runs_and_is_weighed(weir: Weir) -> None:
    parts = weir.status()
    assert set(parts) == PARTS
    assert {part["state"] for part in parts.values()} == {"running"}
    assert all(part["memory_mib"] for part in parts.values())
    assert all(part["figure"] for part in parts.values())


def test_nothing_listens_beyond_loopback(weir: Weir) -> None:
    listening = [
        (process.pid, ipaddress.ip_address(connection.laddr.ip))
        for process in weir.processes()
        for connection in asked(partial(process.net_connections, "inet"))
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= len(PARTS)
    for pid, address in listening:
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_loopback, (pid, address)


def test_no_secret_in_arguments_or_logs(weir: Weir) -> None:
    secrets = Instance(weir.home).secrets.values()
    arguments = "\n".join(" ".join(asked(process.cmdline)) for process in weir.processes())
    files = [path for path in (weir.home / "logs").rglob("*") if path.is_file()]
    logs = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    assert arguments
    assert logs
    assert not [secret for secret in secrets if secret in arguments or secret in logs]


def tour() -> list[str]:
    """The commands that the README leads a newcomer through, without the last one, which ends the instance."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"## Five minutes[^#]*?```sh\n(.*?)```", readme, re.DOTALL)
    *commands, last = str(block).strip().split("\n")
    assert last == "./weir down"
    return commands


@pytest.mark.parametrize("command", tour())
def test_the_readmes_tour_shows_something(weir: Weir, command: str) -> None:
    shown = subprocess.run(
        ["bash", "-c", command], env=weir.environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip()
    assert "(0 rows)" not in shown.stdout


def test_the_reader_reads_and_writes_nothing(settings: Settings) -> None:
    connection = psycopg2.connect(settings.postgres_dsn("reader"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(events) FROM serving.activity")
        assert (cursor.fetchone() or (0,))[0] > 0
        for statement in ("CREATE TABLE mine (n int)", "SELECT * FROM speed.activity", "DELETE FROM ops.incidents"):
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement)
    connection.close()


def test_a_second_up_changes_nothing(weir: Weir) -> None:
    before = {name: part["pid"] for name, part in weir.status().items()}
    assert weir("up").returncode == 0
    assert {name: part["pid"] for name, part in weir.status().items()} == before


def test_a_second_instance_runs_beside_the_first(weir: Weir, tmp_path: Path) -> None:
    before = {name: part["pid"] for name, part in weir.status().items()}
    second = Weir(tmp_path / "second")
    shown = second("up", "--rate", "50", "--seed", "2", "--without", "airflow,superset")
    try:
        assert shown.returncode == 0, shown.stdout + shown.stderr
        parts = {name: part["state"] for name, part in second.status().items() if name not in LEFT_OUT}
        assert set(parts.values()) == {"running"}
    finally:
        second("down")
    assert {name: part["pid"] for name, part in weir.status().items()} == before


def test_another_source_is_refused(weir: Weir) -> None:
    refused = weir("up", "--seed", "2")
    assert refused.returncode == 1
    assert "./weir reset --yes" in refused.stderr


def test_a_running_instance_is_not_copied(weir: Weir, tmp_path: Path) -> None:
    refused = weir("backup", str(tmp_path / "copy"))
    assert refused.returncode == 1
    assert "./weir down first" in refused.stderr
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("part", ["producer", "kafka", "postgres", "replay", "scheduler", "superset"])
def test_a_killed_part_comes_back(weir: Weir, part: str) -> None:
    killed: list[int] = []

    def is_killed() -> bool:
        # PostgreSQL's end may have taken the part down as well, and then it is just being started again
        pid = weir.status()[part]["pid"]
        with suppress(psutil.NoSuchProcess):
            if pid is not None:
                psutil.Process(pid).kill()
                killed.append(pid)
        return bool(killed)

    assert wait_until(is_killed, 60, clock=CLOCK, poll_seconds=0.5)

    def is_back() -> bool:
        found = weir.status()[part]
        return found["state"] == "running" and found["pid"] not in {None, *killed}

    assert wait_until(is_back, 60, clock=CLOCK, poll_seconds=0.5)


def test_down_backup_restore_and_the_copy_goes_on(weir: Weir, settings: Settings, tmp_path: Path) -> None:
    running = weir.processes()
    assert weir("down").returncode == 0
    assert not [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert weir("backup", str(tmp_path / "copy")).returncode == 0
    restored = Weir(tmp_path / "restored")
    assert restored("restore", str(tmp_path / "copy")).returncode == 0
    assert Instance(restored.home).values["WIKIWEIR_SOURCE_ID"] == settings.source_id
    shown = restored("up", "--without", "airflow,superset")
    try:
        assert shown.returncode == 0, shown.stdout + shown.stderr
        found = restored("psql", "-t", "-c", "SELECT count(*) FROM ops.incidents")
        assert found.stdout.strip() == "0", "ledger, checkpoint and Kafka belong to one moment"
        found = restored("psql", "-t", "-c", "SELECT count(DISTINCT checkpoint_id) FROM ops.stream_batches")
        assert found.stdout.strip() == "1", "the copy goes on with the checkpoint it had"
        found = restored(
            "psql", "--role", "admin", "-d", "wikiweir_superset", "-t", "-c", "SELECT username FROM ab_user"
        )
        assert found.stdout.strip() == "admin", "what people made in Superset is there again"
    finally:
        restored("down")
    assert restored("reset", "--yes").returncode == 0
    assert not (restored.home / "secrets.env").exists()
