"""The driver beside what goes wrong around it: PostgreSQL away, a lost lake checkpoint, a rebuild; and how it ends.

The surprising thing: the lake has to go on while PostgreSQL is away, so it is looked at in Delta's log, not in `ops`.
"""

import json
import shutil
import signal
import threading
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from jobs.lib.application import FENCED, REFUSED
from tests.integration.parts import wait_for
from tests.integration.speed_rig import Rig, event
from tests.integration.speed_watch import Watcher, bronze, in_kafka, wait_for_bronze


def health(rig: Rig) -> dict[str, Any]:
    url = f"http://127.0.0.1:{rig.settings.stream_port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as unwell:
        return dict(json.loads(unwell.read()))


class Backends(threading.Thread):
    """Ends every backend of the stream role again and again: to the driver, a PostgreSQL that is away."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self._dsn = rig.settings.postgres_dsn("owner")
        self._admin = rig.settings.postgres_admin_dsn.get_secret_value()  # type: ignore[union-attr]
        self._database = rig.settings.postgres_dbname
        self._over = threading.Event()

    def run(self) -> None:
        with closing(psycopg2.connect(self._admin)) as admin:
            admin.autocommit = True
            with admin.cursor() as cursor:
                cursor.execute(f"REVOKE CONNECT ON DATABASE {self._database} FROM wikiweir_stream")
                while not self._over.wait(0.05):
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE usename = 'wikiweir_stream' AND datname = %s",
                        (self._database,),
                    )
                cursor.execute(f"GRANT CONNECT ON DATABASE {self._database} TO wikiweir_stream")

    def end(self) -> None:
        self._over.set()
        self.join(20)


def test_postgres_away_does_not_stop_the_lake_and_nothing_is_lost(rig: Rig) -> None:
    driver = rig.driver()
    rig.send(event(seed) for seed in range(60))
    rig.drain()
    wait_for_bronze(rig)
    wait_for(lambda: health(rig)["healthy"], 30, lambda: str(health(rig)))
    rows = len(rig.ledger("sequence"))
    away = Backends(rig)
    away.start()
    rig.send(event(seed) for seed in range(40, 140))
    wait_for_bronze(rig)
    wait_for(lambda: not health(rig)["healthy"], 30, lambda: "an unhealthy answer")
    assert len(rig.ledger("sequence")) == rows
    away.end()
    rig.drain()
    wait_for(lambda: health(rig)["healthy"], 60, lambda: str(health(rig)))
    rig.assert_exact()
    assert bronze(rig) == in_kafka(rig)
    driver.terminate()
    assert driver.wait(40) == 0, driver.log[-3000:]


def test_a_lost_lake_checkpoint_goes_on_behind_bronze(rig: Rig) -> None:
    first = rig.driver()
    rig.send(event(seed) for seed in range(60))
    wait_for_bronze(rig)
    first.kill()
    shutil.rmtree(rig.folder / "checkpoints" / "lake")
    rig.send(event(seed) for seed in range(60, 120))
    rig.driver()
    wait_for_bronze(rig)
    rig.drain()
    assert bronze(rig) == in_kafka(rig), "each record once"
    rig.assert_exact()


def test_an_offset_file_missing_from_the_lakes_checkpoint_skips_nothing(rig: Rig) -> None:
    first = rig.driver()
    for start in (0, 40):
        rig.send(event(seed) for seed in range(start, start + 40))
        wait_for_bronze(rig)
    first.kill()
    [checkpoint] = (rig.folder / "checkpoints" / "lake").iterdir()
    newest = max((checkpoint / "offsets").glob("[0-9]*"), key=lambda path: int(path.name))
    newest.unlink()
    (newest.parent / f".{newest.name}.crc").unlink(missing_ok=True)
    rig.send(event(seed) for seed in range(80, 140))
    rig.driver()
    wait_for_bronze(rig)
    assert bronze(rig) == in_kafka(rig), "Delta would have skipped a batch of that number"


def test_records_that_kafka_lost_are_a_gap_and_the_failure_shows_no_key_material(rig: Rig) -> None:
    driver = rig.driver()
    rig.send(event(seed) for seed in range(60))
    rig.drain()
    before = rig.kafka_ends()
    driver.signal(signal.SIGSTOP)
    rig.send(event(seed) for seed in range(100, 190))
    lost = {partition: end - 5 for partition, end in rig.kafka_ends().items()}
    rig.lose_records(lost)
    driver.signal(signal.SIGCONT)
    rig.drain()
    gaps = rig.query("SELECT partition::text, from_offset, to_offset FROM ops.stream_gaps WHERE query = 'speed'")
    assert sorted(gaps) == sorted((partition, before[partition], lost[partition]) for partition in lost)
    [(received,)] = rig.query("SELECT sum(received)::bigint FROM ops.stream_batches")
    assert received == sum(rig.kafka_ends().values()) - sum(to - start for _, start, to in gaps)
    assert "STREAM_FAILED" in driver.log
    told = driver.log + str(rig.query("SELECT message FROM ops.stream_progress"))
    told += str(rig.query("SELECT message, details FROM ops.incidents"))
    assert not [hidden for hidden in rig.key_material() if hidden.upper() in told.upper()]


def test_a_rebuild_replaces_the_live_generation_while_it_goes_on(rig: Rig) -> None:
    live = rig.driver()
    rig.send(event(seed) for seed in range(200))
    rig.drain()
    watcher = Watcher(rig)
    watcher.start()
    rebuild = rig.driver(name="rebuild", rebuild=True)
    over = threading.Event()

    def feed() -> None:
        seed = 150
        while not over.wait(1.0):
            rig.send(event(number) for number in range(seed, seed + 15))
            seed += 10

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    assert rebuild.wait(400) == 0, rebuild.log[-3000:]
    over.set()
    feeder.join(10)
    rig.send(event(seed) for seed in range(500, 540))
    rig.drain()
    watcher.over.set()
    watcher.join(10)
    assert rig.query("SELECT generation, state FROM ops.generations ORDER BY 1") == [(1, "retired"), (2, "live")]
    assert live.exit_code is None, "the live driver went over to the new generation by itself"
    assert watcher.looks > 50
    assert watcher.falls == []
    rig.assert_exact()


def test_another_source_is_refused_with_the_way_out(rig: Rig) -> None:
    rig.query("SELECT ops.bind_instance('somewhere-else')")
    driver = rig.driver()
    assert driver.wait(120) == REFUSED
    assert "bound to source 'somewhere-else'" in driver.log
    assert FENCED != REFUSED


def test_a_killed_jvm_takes_its_python_with_it(rig: Rig, tmp_path: Path) -> None:
    driver = rig.driver()
    rig.send(event(seed) for seed in range(20))
    rig.drain()
    family = driver._family()
    family[0].send_signal(signal.SIGKILL)
    wait_for(lambda: not any(member.is_running() for member in family[1:]), 20, lambda: "Python to end")
