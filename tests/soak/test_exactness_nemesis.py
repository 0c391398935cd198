"""Kills, outages and a data-centre switch while events flow and a reader watches; afterwards everything is exact.

Seeded: the seed is printed and `--nemesis-seed` replays it; `--kills N` kills the driver N times and the producer 2 N
times. The tests share a stack and run in the order of the file; each waits until numbers rise again. The surprising
thing: where in a batch a kill fell is read from Spark's checkpoint and the ledger afterwards, because sleeping at
random proves nothing by itself. (Kills at a chosen step have tests of their own.)
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.checks import check
from tests.integration.harness import Stack
from tests.integration.parts import wait_for
from tests.integration.reader import Reader

SOURCE = ["--rate", "150", "--flat-rate", "--history", "90s", "--duplicates", "0.02", "--late", "0.01", "--odd", "0.01"]
OUTAGE_SECONDS = 20.0
"""The fault itself: so long a part is away."""
RECOVERY_SECONDS = 60.0
"""I6: numbers rise again so long after a fault clears, at the latest."""


@dataclass(slots=True)
class Nemesis:
    """A stack under a seeded hand, who watches it, and what was done to it."""

    stack: Stack
    reader: Reader
    chance: random.Random
    kills: int
    windows: Counter[str] = field(default_factory=Counter)
    torn_runs_allowed: int = 0

    def facts(self) -> int:
        """Facts committed so far."""
        [(total,)] = self.stack.query("SELECT coalesce(sum(facts), 0)::bigint FROM ops.stream_batches")
        return int(total)

    def wait_progress(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until facts are committed that entered Kafka after this call."""
        ends = self.stack.kafka_ends()

        def has_moved() -> bool:
            return sum(self.stack.ledger_ends().values()) > sum(ends.values())

        wait_for(
            has_moved,
            seconds,
            lambda: f"the ledger to pass {ends}, it is at {self.stack.ledger_ends()}\n{self.stack.logs()}",
        )

    def note_window(self) -> None:
        """Where in a batch the driver died, by what it left behind."""
        time.sleep(0.3)  # PostgreSQL may still be at a commit it had been sent
        rows = self.stack.query(
            "SELECT generation, checkpoint_id, batch_id FROM ops.stream_batches"
            " ORDER BY generation DESC, sequence DESC LIMIT 1"
        )
        generation, checkpoint, batch = rows[0] if rows else (1, "", -1)
        folder = self.stack.instance.home / "checkpoints" / f"speed-g{generation}" / checkpoint
        planned, committed = newest(folder / "offsets"), newest(folder / "commits")
        if planned == batch and committed < planned:
            self.windows["after PostgreSQL's commit, before Spark's"] += 1
        elif planned > batch:
            self.windows["planned by Spark, not in PostgreSQL"] += 1
        elif planned == committed == batch:
            self.windows["between two batches"] += 1
        else:
            self.windows[f"planned {planned - batch}, committed {committed - batch} from the ledger's batch"] += 1


def newest(folder: Path) -> int:
    return max((int(child.name) for child in folder.glob("*") if child.name.isdigit()), default=-1)


@pytest.fixture(scope="module")
def nemesis(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Nemesis]:
    seed = request.config.getoption("--nemesis-seed", default=None) or random.SystemRandom().randrange(1, 10**6)
    kills = request.config.getoption("--kills", default=3)
    print(f"\nnemesis seed {seed}, {kills} kills of the driver")
    settings = {"WIKIWEIR_READ_TIMEOUT_SECONDS": "5"}
    with Stack(tmp_path_factory.mktemp("nemesis"), ["--seed", str(seed), *SOURCE], settings) as stack:
        reader = Reader(stack.settings.postgres_dsn("reader"))
        with reader:
            yield Nemesis(stack, reader, random.Random(seed), kills)


def test_kills_of_producer_and_driver_at_random(nemesis: Nemesis) -> None:
    stack = nemesis.stack
    over = threading.Event()
    producer_kills = [nemesis.chance.uniform(0.2, 6.0) for _ in range(2 * nemesis.kills)]

    def kill_producer() -> None:
        for seconds in producer_kills:
            before = stack.producer.starts
            if over.wait(seconds):
                return
            stack.producer.kill()
            stack.producer.wait_started(before)

    killer = threading.Thread(target=kill_producer, name="killer of producers")
    killer.start()
    try:
        for _ in range(nemesis.kills):
            time.sleep(nemesis.chance.uniform(0.0, 4.0))  # so that the kill hits anywhere in a batch
            before = stack.driver.starts
            stack.driver.kill()
            nemesis.note_window()
            stack.driver.wait_started(before)
            nemesis.wait_progress()
        killer.join(60 * nemesis.kills)
    finally:
        over.set()
        killer.join(60)
    nemesis.torn_runs_allowed += len(producer_kills)
    starts = f"starts of the producer {stack.producer.starts}, of the driver {stack.driver.starts}"
    print(f"\nwindows hit: {dict(nemesis.windows)}; {starts}")
    assert stack.producer.starts == 1 + len(producer_kills)
    assert stack.driver.starts == 1 + nemesis.kills
    nemesis.wait_progress()


def test_postgres_away_for_twenty_seconds(nemesis: Nemesis) -> None:
    lake_files = nemesis.stack.lake_files
    begun = lake_files()
    wait_for(lambda: lake_files() > begun, RECOVERY_SECONDS, lambda: f"a lake batch\n{nemesis.stack.logs()}")
    bronze = lake_files()
    nemesis.stack.postgres.stop()
    time.sleep(OUTAGE_SECONDS)  # the outage itself
    assert lake_files() > bronze, "the lake must go on while PostgreSQL is away"
    nemesis.stack.postgres.start()
    nemesis.wait_progress()


def test_postgres_killed(nemesis: Nemesis) -> None:
    nemesis.stack.postgres.kill()
    nemesis.stack.postgres.start()
    nemesis.wait_progress()


def test_kafka_away_for_twenty_seconds(nemesis: Nemesis) -> None:
    nemesis.stack.kafka.stop()
    time.sleep(OUTAGE_SECONDS)  # the outage itself
    nemesis.stack.kafka.start()
    nemesis.torn_runs_allowed += 1  # a producer that gave up waiting was started again
    nemesis.wait_progress()


def test_kafka_killed(nemesis: Nemesis) -> None:
    nemesis.stack.kafka.kill()
    nemesis.stack.kafka.start()
    nemesis.torn_runs_allowed += 1
    nemesis.wait_progress()


def test_data_centre_switches_while_the_producer_is_down(nemesis: Nemesis) -> None:
    nemesis.stack.producer.stop()
    nemesis.stack.admin("faults", {"dc_switch": "codfw"})
    time.sleep(4)  # events of the other data centre come meanwhile, which only a resume by time finds
    nemesis.stack.producer.start()
    nemesis.wait_progress()
    nemesis.stack.admin("faults", {"dc_switch": "eqiad"})
    time.sleep(2)  # some events after the way back, too
    assert {line.topic for line in nemesis.stack.truth()} == {
        "eqiad.mediawiki.recentchange",
        "codfw.mediawiki.recentchange",
    }


@pytest.mark.parametrize(
    ("faults", "sign"),
    [
        ({"cut_mode": "half_frame", "cut_after_s": 0.7, "cuts": 3}, "half_frame"),
        ({"cut_mode": "half_utf8", "cut_after_s": 0.7, "cuts": 3}, "half_utf8"),
        ({"cut_mode": "rst", "cut_after_s": 0.7, "cuts": 2, "rechunk": 7}, "rst"),
        ({"status": 429, "status_count": 2, "retry_after": "1", "cut_after_s": 0.2, "cuts": 1}, "answers_429"),
        ({"redeliver": 0.2, "comment_lines": 0.1, "crlf": True}, ""),
    ],
    ids=[
        "truncated frame",
        "inside a UTF-8 character",
        "reset, chunked anyhow",
        "429 with HTML",
        "delivered twice, CRLF",
    ],
)
def test_source_on_a_bad_day(nemesis: Nemesis, faults: dict[str, object], sign: str) -> None:
    before = nemesis.stack.admin("state")
    nemesis.stack.admin("faults", {"reset": True, **faults})

    def has_happened() -> bool:
        now = nemesis.stack.admin("state")
        done = {name: now["ended"].get(name, 0) - before["ended"].get(name, 0) for name in now["ended"]}
        done |= {name: now["counts"].get(name, 0) - before["counts"].get(name, 0) for name in now["counts"]}
        return not sign or done.get(sign, 0) > 0

    # cut short again and again, the producer waits up to a minute before it comes back
    wait_for(has_happened, 120, lambda: f"the source to show {sign}: {nemesis.stack.admin('state')}")
    time.sleep(2)  # for the faults that leave no sign to wait for, and more than one of the others
    nemesis.stack.admin("faults", {"reset": True})
    nemesis.wait_progress()


def test_silence_on_an_open_socket(nemesis: Nemesis) -> None:
    connections = nemesis.stack.admin("state")["counts"]["connections"]
    nemesis.stack.admin("faults", {"silence": True})

    def has_reconnected() -> bool:
        return bool(nemesis.stack.admin("state")["counts"]["connections"] > connections)

    wait_for(has_reconnected, 30, lambda: f"the producer to give up a silent source\n{nemesis.stack.producer.log}")
    nemesis.stack.admin("faults", {"reset": True})
    nemesis.wait_progress()


def test_afterwards_everything_is_exact(nemesis: Nemesis) -> None:
    nemesis.stack.drain()
    report = check(nemesis.stack)
    print(f"\n{report}\ntorn runs: {report.torn_runs}\nreader: {nemesis.reader.seen.polls} polls")
    assert not report.faults, str(report)
    assert len(report.torn_runs) <= nemesis.torn_runs_allowed, report.torn_runs
    assert report.facts["producer runs"] >= nemesis.stack.producer.starts
    assert not nemesis.reader.seen.violations, "\n".join(nemesis.reader.seen.violations[:10])
    assert nemesis.reader.seen.states > 10, nemesis.reader.seen
