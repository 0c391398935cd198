"""How long each step of a piece of work took, for its log and for `ops`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wikiweir.clock import Clock


@dataclass
class Steps:
    """Seconds by name of the step, in order."""

    clock: Clock
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done within."""
        began = self.clock.monotonic()
        yield
        self.seconds[name] = round(self.clock.monotonic() - began, 2)

    def __str__(self) -> str:
        return ", ".join(f"{name} in {seconds:.1f} s" for name, seconds in self.seconds.items())
