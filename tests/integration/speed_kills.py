"""A driver killed at a chosen step of a batch, or robbed of its checkpoint: what the next one makes of it.

The surprising thing: the step is built into the driver under test (`tests/integration/speed_rig.py`), and each kill
leaves evidence of the step it hit.
"""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.integration.parts import wait_for
from tests.integration.speed_rig import Driver, Rig, event

KILLED = -signal.SIGKILL
STEPS = ("batch_begun", "spark_job", "in_copy", "before_commit", "after_commit")
DAMAGES = ("deleted", "torn_offsets", "offset_gone")


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


def survives_a_kill(rig: Rig, step: str) -> None:
    """Kill the driver at a step; with the next one everything is counted once."""
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


def survives_damage(rig: Rig, damage: str) -> None:
    """Damage the checkpoint of an ended driver; the next one goes on with another, from the ledger."""
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
