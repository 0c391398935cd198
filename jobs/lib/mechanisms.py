"""What keeps the speed layer exact, as values that are handed in, and the named steps a test may stop at.

The surprising thing: no environment variable and no setting can switch a mechanism off. Only a program that wires the
application itself (an entry script under `tests/`) can, to show that the test which guards it goes red.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

Step = Literal["batch_begun", "spark_job", "in_copy", "before_commit", "after_commit"]
"""`batch_begun`: Spark's offset log is written. `spark_job`: tasks of the batch are about to run. `in_copy`: COPY has
sent part of its data. `before_commit`, `after_commit`: around PostgreSQL's commit, the second before Spark's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanisms:
    """Everything on; a test leaves one out."""

    ledger: bool = True
    """Write the ledger, skip what it holds, hold every checkpoint to it."""
    deduplication: bool = True
    """Keep the first copy of each id, in the batch and against `speed.seen`."""
    fence: bool = True
    """Terminate the former owner's backend at takeover, and commit only under one's own epoch."""


class Hooks(Protocol):
    """Is told where a batch stands, in the thread that does the work."""

    def at(self, step: Step, **facts: object) -> None:
        """`facts` is evidence: batch id, checkpoint, epoch."""
        ...


class NoHooks:
    """What runs in production."""

    def at(self, step: Step, **facts: object) -> None:
        pass


ALL = Mechanisms()
NO_HOOKS = NoHooks()
