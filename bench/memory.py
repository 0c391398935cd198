"""Memory: what the whole stack costs, warm after load, by component and process.

The stack runs for some minutes at ten times the live rate, both queries at work; then every process's PSS is read
some times. The surprising thing: the highest of the samples is the figure, not the median, because a machine must
have room for it.
"""

import tempfile
from pathlib import Path
from statistics import median

from bench import lib_memory, lib_result, lib_stack
from bench.lib_result import Bar, Document
from local import instance as instances

SAMPLES = 6
SAMPLE_SECONDS = 10.0
BAR_MIB = 3 * 1024


def run(*, minutes: float = 5, rate: float = 400, is_quick: bool = False, running: bool = False) -> Document:
    """Measure, print and write `memory.json`; `running`: the instance that runs now, without load of ours."""
    if running:
        instance = instances.required()
        samples = _samples(instance, {}, 2 if is_quick else SAMPLES)
        return _report(samples, {"stack": "the running instance"}, is_quick)
    with (
        tempfile.TemporaryDirectory(prefix="weir-bench-") as folder,
        lib_stack.running(Path(folder), rate) as stack,
    ):
        lib_stack.wait_for(minutes * 60)
        samples = _samples(stack.instance, {"replay": stack.replay.program.pid}, 2 if is_quick else SAMPLES)
    about = {"stack": "one of its own", "events_per_second": rate, "minutes_of_load": minutes}
    return _report(samples, about, is_quick)


def _samples(instance: instances.Instance, extra: dict[str, int], count: int) -> list[list[lib_memory.ProcessMemory]]:
    samples = []
    for _ in range(count):
        lib_stack.wait_for(SAMPLE_SECONDS)
        samples.append(lib_memory.sample(instance, extra))
    return samples


def _report(samples: list[list[lib_memory.ProcessMemory]], about: Document, is_quick: bool) -> Document:
    """Totals, the table, the file."""
    totals = [sum(one.pss_mib for one in sample) for sample in samples]
    highest = samples[totals.index(max(totals))]
    components = sorted({one.component for sample in samples for one in sample})
    sums = {name: [lib_memory.by_component(sample).get(name, 0.0) for sample in samples] for name in components}
    bars = [Bar("whole stack, highest sample", max(totals), BAR_MIB, "MiB", at_least=False)]
    document = {
        "machine": lib_result.machine(),
        "input": about,
        "total_mib": {"highest": round(max(totals)), "median": round(median(totals))},
        "components_mib": {name: {"highest": round(max(s)), "median": round(median(s))} for name, s in sums.items()},
        "processes": [
            {"component": one.component, "process": one.process, "pss_mib": round(one.pss_mib, 1)}
            for one in sorted(highest, key=lambda one: (one.component, -one.pss_mib))
        ],
        "answers_equal": True,
        "answers": "no answer to compare: memory is read from the system",
    }
    rows = [[f"{one.component}: {one.process}", one.pss_mib, one.rss_mib] for one in sorted(highest, key=_size)]
    rows.append(["together", max(totals), ""])
    lib_result.show("memory: PSS of each process, highest of the samples", ["process", "MiB PSS", "MiB RSS"], rows)
    lib_result.show_bars(bars)
    lib_result.console.print(f"  {lib_result.write('memory', document, bars, is_quick=is_quick)}")
    return document


def _size(one: lib_memory.ProcessMemory) -> tuple[str, float]:
    return one.component, -one.pss_mib
