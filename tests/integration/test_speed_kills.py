"""Faults 8 and 9: the driver killed at each step of a batch, fenced out of a COPY, its checkpoint deleted or torn.

Each kill leaves evidence that it hit its window. The surprising thing: the tests that leave a mechanism out assert that
the tables are *wrong* then; without them nobody would know that the others can fail.
"""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.parts import wait_for
from tests.integration.speed_rig import Driver, Rig, event

KILLED = -signal.SIGKILL
STEPS = ("batch_begun", "spark_job", "in_copy", "before_commit", "after_commit")


def end_at(rig: Rig, step: str, *, action: str = "kill", nth: int = 2, **options: Any) -> tuple[Driver, dict[str, Any]]:
    """Run a driver into a step: some batches, then the end. The driver and what it wrote down."""
    evidence = rig.folder / f"{step}-{len(rig.drivers)}.json"
    driver = rig.driver(name=step, step=step, nth=nth, action=action, evidence=str(evidence), **options)
    rig.send(event(seed) for seed in range(60))
    wait_for(lambda: bool(rig.ledger()) or options.get("leave_out") == ["ledger"], 120, lambda: driver.log[-3000:])
    for more in range(60, 600, 20):
        rig.send(event(seed % 300) for seed in range(more, more + 20))
        try:
            wait_for(lambda: evidence.exists() and bool(evidence.read_text()), 4, lambda: step)
            break
        except TimeoutError:
            continue
    assert evidence.exists(), f"{step} was not reached\n{driver.log[-3000:]}"
    if action == "kill":
        assert driver.wait(30) in (KILLED, 128 + signal.SIGKILL)
    return driver, json.loads(evidence.read_text())


def newest(folder: Path) -> int:
    return max((int(path.name) for path in folder.glob("[0-9]*")), default=-1)


@pytest.mark.parametrize("step", STEPS)
def test_a_driver_killed_at_any_step_counts_nothing_twice(rig: Rig, step: str) -> None:
    _, facts = end_at(rig, step)
    batch = facts["batch"]
    [checkpoint] = rig.speed_checkpoints
    in_ledger = (batch,) in rig.ledger("batch_id")
    assert newest(checkpoint / "offsets") == batch, "Spark had planned the batch"
    assert newest(checkpoint / "commits") == batch - 1, "Spark had not committed it"
    assert in_ledger == (step == "after_commit"), "PostgreSQL had it only after its commit"
    rig.send(event(seed) for seed in range(250, 320))
    rig.driver()
    rig.drain()
    rig.assert_exact()
    assert len({row[0] for row in rig.ledger("checkpoint_id")}) == 1, "the checkpoint was good: it is used on"
    # of the lake there may be one: the kill may also hit it, before its first batch
    assert rig.query("SELECT kind, message FROM ops.incidents WHERE subject = 'speed'") == []


def test_without_the_ledger_a_kill_after_the_commit_is_counted_twice(rig: Rig) -> None:
    end_at(rig, "after_commit", leave_out=["ledger"])
    driver = rig.driver(leave_out=["ledger"])
    total = sum(rig.kafka_ends().values())

    def counted() -> int:
        return int(rig.query("SELECT coalesce(sum(records), 0) FROM ops.stream_outcomes")[0][0])

    wait_for(lambda: counted() >= total, 120, lambda: driver.log[-3000:])
    wait_for(lambda: counted() > total, 60, lambda: f"the repeated batch: {counted()} of {total}")
    assert rig.differences()


def test_without_deduplication_copies_are_counted(rig: Rig) -> None:
    rig.send(event(seed % 40) for seed in range(60))
    rig.driver(leave_out=["deduplication"])
    rig.drain()
    assert {found.table for found in rig.differences()} >= {"activity", "outcomes"}


def test_a_driver_woken_inside_copy_is_fenced_and_writes_nothing(rig: Rig) -> None:
    zombie, facts = end_at(rig, "in_copy", action="stop")
    rig.driver(name="second", other_port=True)
    rig.drain()
    rows = rig.ledger("sequence, owner_epoch")
    assert {epoch for _, epoch in rows} == {facts["epoch"], facts["epoch"] + 1}
    zombie.signal(signal.SIGCONT)
    assert zombie.wait(60) == 3, zombie.log[-3000:]
    rig.send(event(seed) for seed in range(290, 330))
    rig.drain()
    rig.assert_exact()
    later = [epoch for sequence, epoch in rig.ledger("sequence, owner_epoch") if sequence > rows[-1][0]]
    assert set(later) == {facts["epoch"] + 1}


def test_without_the_fence_a_woken_driver_goes_on(rig: Rig) -> None:
    zombie, _ = end_at(rig, "in_copy", action="stop", leave_out=["fence"])
    rig.driver(name="second", other_port=True, leave_out=["fence"])
    rig.drain()
    zombie.signal(signal.SIGCONT)
    with pytest.raises(TimeoutError):
        zombie.wait(25)


@pytest.mark.parametrize("damage", ["deleted", "torn_offsets", "offset_gone"])
def test_a_damaged_checkpoint_is_replaced_from_the_ledger(rig: Rig, damage: str) -> None:
    first = rig.driver()
    for start in (0, 40, 80):
        rig.send(event(seed) for seed in range(start, start + 60))
        rig.drain()
    first.terminate()
    assert first.wait(40) == 0, first.log[-3000:]
    [checkpoint] = rig.speed_checkpoints
    hurt(checkpoint, damage)
    rig.send(event(seed) for seed in range(120, 180))
    rig.driver()
    rig.drain()
    rig.assert_exact()
    assert len({row[0] for row in rig.ledger("checkpoint_id")}) == 2
    [(kind, message)] = rig.query("SELECT kind, message FROM ops.incidents WHERE subject = 'speed'")
    assert kind == "checkpoint_retired"
    assert message


def hurt(checkpoint: Path, damage: str) -> None:
    """Do to a checkpoint what disks and people do. Hadoop's checksum files go first, or they would find it."""
    for checksum in checkpoint.rglob(".*.crc"):
        checksum.unlink()
    last = checkpoint / "offsets" / str(newest(checkpoint / "offsets"))
    if damage == "deleted":
        shutil.rmtree(checkpoint)
    elif damage == "torn_offsets":
        last.write_bytes(last.read_bytes()[:-9])
    else:
        last.unlink()
