"""Faults 8 and 9: the driver killed at each step of a batch, fenced out of a COPY, its checkpoint deleted or torn.

Each kill leaves evidence that it hit its window; the soak tempo has all steps and damages. The surprising thing: the
tests that leave a mechanism out assert that the tables are *wrong* then; without them nobody would know that the others
can fail.
"""

import signal

import pytest

from tests.integration.parts import wait_for
from tests.integration.speed_kills import end_at, survives_a_kill, survives_damage
from tests.integration.speed_rig import Rig, event

SHORT_STEPS = ("before_commit", "after_commit")
"""Where the two commits part; the soak tempo has all steps."""


@pytest.mark.parametrize("step", SHORT_STEPS)
def test_a_driver_killed_at_a_step_counts_nothing_twice(rig: Rig, step: str) -> None:
    survives_a_kill(rig, step)


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


def test_a_damaged_checkpoint_is_replaced_from_the_ledger(rig: Rig) -> None:
    survives_damage(rig, "torn_offsets")
