"""What a program weighs, while its children come and go."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from local.status import memory_mib


@pytest.fixture
def restless() -> Iterator[int]:
    """A shell that starts one short-lived child after the other."""
    with subprocess.Popen(["sh", "-c", "while :; do sleep 0.001; done"]) as shell:
        yield shell.pid
        shell.kill()


def test_a_child_that_ends_meanwhile_weighs_nothing(restless: int) -> None:
    weights = [memory_mib(restless) for _ in range(300)]
    assert all(weights)


def test_a_program_that_is_gone_weighs_nothing_at_all() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert memory_mib(ended.pid) is None
    assert memory_mib(os.getpid())
