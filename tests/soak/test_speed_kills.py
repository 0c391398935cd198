"""The driver killed at every step of a batch, and every damage to its checkpoint."""

import pytest

from tests.integration.speed_kills import DAMAGES, STEPS, survives_a_kill, survives_damage
from tests.integration.speed_rig import Rig


@pytest.mark.parametrize("step", STEPS)
def test_a_driver_killed_at_any_step_counts_nothing_twice(rig: Rig, step: str) -> None:
    survives_a_kill(rig, step)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_replaced_from_the_ledger(rig: Rig, damage: str) -> None:
    survives_damage(rig, damage)
