"""What each process of a running stack costs in memory, as PSS: pages that several share are counted once in the sum.

The surprising thing: PostgreSQL's backends share most of what `top` charges each of them with; their RSS adds up to
several times what they cost together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.instance import Instance
from local.supervision import Supervisor

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process."""

    component: str
    process: str
    pid: int
    pss_mib: float
    rss_mib: float


def sample(instance: Instance, extra: dict[str, int] | None = None) -> list[ProcessMemory]:
    """Every process of the instance; `extra` names further ones by pid. One that ends meanwhile is left out."""
    supervisor = Supervisor(instance)
    roots = {name: int(info["pid"]) for name, info in supervisor.states().items() if info["pid"]}
    roots["supervisord"] = int((instance.run / "supervisord.pid").read_text().strip())
    roots |= extra or {}
    found = []
    for component, pid in roots.items():
        for process in _family(pid, is_alone=component == "supervisord"):
            try:
                memory, name = process.memory_full_info(), describe(process)
            except psutil.Error:
                continue
            found.append(ProcessMemory(component, name, process.pid, memory.pss / MIB, memory.rss / MIB))
    return found


def _family(pid: int, *, is_alone: bool) -> Iterator[psutil.Process]:
    try:
        root = psutil.Process(pid)
        yield root
        if not is_alone:  # its children are the components
            yield from root.children(recursive=True)
    except psutil.NoSuchProcess:
        return


def describe(process: psutil.Process) -> str:
    """What the process is, without its arguments (which hold paths)."""
    command = process.cmdline()
    if not command:
        return process.name()
    if command[0].startswith("postgres:"):
        return " ".join(command[0].split()[:3])
    program = Path(command[0]).name
    if program.startswith("python"):
        what = [part for part in command[1:] if not part.startswith("-")]
        return f"python {Path(what[0]).name}" if what else program
    if program == "java":
        mains = [part for part in command if part.startswith(("kafka.", "org.apache.spark."))]
        return f"java {mains[0].rpartition('.')[2]}" if mains else program
    return program


def by_component(processes: list[ProcessMemory]) -> dict[str, float]:
    """PSS of each component in MiB."""
    sums: dict[str, float] = {}
    for one in processes:
        sums[one.component] = sums.get(one.component, 0.0) + one.pss_mib
    return sums
