"""From the replay server's write to the socket until a reader holds the row: of every event sent in some span.

The surprising thing: nothing is sampled. An id that was sent and never seen makes the run void.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import lib_result
from bench.lib_result import Document, UnequalAnswersError
from bench.lib_stack import Stack
from local.processes import Program
from wikiweir.settings import PROJECT


@contextmanager
def watching(stack: Stack) -> Iterator[Path]:
    """A reader in a process of its own beside the block; the file in which it notes what it sees."""
    folder = stack.instance.home.parent
    seen = folder / "seen"
    env = {"PYTHONPATH": str(PROJECT), "WIKIWEIR_HOME": str(stack.instance.home)}
    command = [sys.executable, "-m", "bench.lib_watch", "--out", str(seen)]
    watcher = Program(command, folder / "watch.log", env=env)
    watcher.start(seen.exists, 30)
    try:
        yield seen
    finally:
        watcher.stop()


def summary(sent: Mapping[str, int], seen: Path, begin_ms: int, end_ms: int) -> Document:
    """Latencies, in seconds, of the ids first sent in [begin, end)."""
    first: dict[str, int] = {}
    for line in seen.read_text(encoding="ascii").splitlines():
        event_id, _, at_ms = line.partition(" ")
        first.setdefault(event_id, int(at_ms))
    wanted = {event_id: at_ms for event_id, at_ms in sent.items() if begin_ms <= at_ms < end_ms}
    if missing := sorted(wanted.keys() - first.keys()):
        raise UnequalAnswersError(f"of {len(wanted):,} ids sent, {len(missing):,} were never seen, e.g. {missing[:3]}")
    latencies = sorted((first[event_id] - at_ms) / 1000 for event_id, at_ms in wanted.items())
    return {
        "events": len(wanted),
        "events_per_second": round(len(wanted) / ((end_ms - begin_ms) / 1000), 1),
        **{f"p{share}": round(lib_result.quantile(latencies, share / 100), 3) for share in (50, 95, 99)},
        "max": round(latencies[-1], 3),
    }
