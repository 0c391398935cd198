"""Whether what came out is what went in: every claim of RELIABILITY's I1, I2, I3, I5 held against one drained stack.

The surprising thing: it returns faults instead of raising at the first, because what is wrong at several places at once
tells where it went wrong.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration import evidence
from tests.integration.evidence import KafkaRecord
from tests.integration.harness import Stack
from tests.oracle.compare import Difference, compare


@dataclass(slots=True)
class Report:
    """What was looked at, in numbers, and what was wrong."""

    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    torn_runs: list[str] = field(default_factory=list)
    """Producer runs that ended with a hole: only a run that was killed may."""
    oracle: Path = Path()

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return "\n".join([f"looked at: {numbers}", *self.faults])


def check(stack: Stack) -> Report:
    """All checks on a stack whose producer is quiet and whose queries have caught up (`Stack.drain`)."""
    report = Report()
    events = evidence.read_topic(stack.kafka.bootstrap, stack.settings.events_topic)
    letters = evidence.read_topic(stack.kafka.bootstrap, stack.settings.dead_letters_topic)
    report.facts |= {"events in Kafka": len(events), "dead letters": len(letters)}
    _no_loss(report, stack, events, letters)
    _sequences(report, [*events, *letters])
    summary = _exact(report, stack, events)
    _account(report, stack, events, summary)
    _bronze(report, stack, events)
    return report


def _no_loss(report: Report, stack: Stack, events: list[KafkaRecord], letters: list[KafkaRecord]) -> None:
    """I1: each line the source offered is in Kafka with its bytes, or a dead letter; and nothing else is."""
    offered = stack.truth()
    sent = {line.sha256 for line in offered}
    arrived = {record.sha256 for record in events} | {record.headers["sha256"] for record in letters}
    lost = [line for line in offered if line.sha256 not in arrived]
    invented = [record.value[:200] for record in events if record.sha256 not in sent]
    report.facts |= {"lines offered": len(offered), "ids offered": len({line.id for line in offered})}
    if lost:
        places = [f"{line.topic} {line.offset} {line.id} sent {line.is_sent}" for line in lost[:3]]
        report.faults.append(f"I1: {len(lost)} of {len(offered)} lines lost, first {places}")
    if invented:
        report.faults.append(f"I2: {len(invented)} records hold bytes that were never offered, first {invented[:2]}")


def _sequences(report: Report, records: Iterable[KafkaRecord]) -> None:
    """I5, producer: nothing twice in a run; a hole only at the end of a run (the test says how many may be torn)."""
    runs: dict[str, Counter[int]] = {}
    for record in records:
        run, sequence = record.relay
        runs.setdefault(run, Counter())[sequence] += 1
    for run, sequences in sorted(runs.items()):
        if again := [number for number, count in sequences.items() if count > 1]:
            report.faults.append(f"I5: run {run} delivered sequences {again[:5]} more than once")
        holes = sorted(set(range(max(sequences) + 1)) - sequences.keys())
        if holes:
            report.torn_runs.append(f"{run}: {len(sequences)} records, first hole at {holes[0]} of {max(sequences)}")
    report.facts |= {"producer runs": len(runs), "torn runs": len(report.torn_runs)}


def _exact(report: Report, stack: Stack, events: list[KafkaRecord]) -> dict[str, Any]:
    """I3: every table equals the oracle's, row for row."""
    report.oracle = stack.folder / "oracle"
    summary = evidence.run_oracle(stack.settings, events, report.oracle)
    differences: list[Difference] = compare(report.oracle, stack.settings.postgres_dsn("owner"))
    report.facts |= {f"rows of {found.table}": found.rows for found in differences}
    report.faults.extend(f"I3: {found}" for found in differences if not found.is_none)
    return summary


def _account(report: Report, stack: Stack, events: list[KafkaRecord], summary: dict[str, Any]) -> None:
    """I5: outcomes, ledger and Kafka come to the same; the ledger goes from offset to offset without a step."""
    rows = stack.query(
        "SELECT sequence, start_offsets, end_offsets, received, facts, duplicates, canaries, rejected, left_to_batch"
        " FROM ops.stream_batches JOIN ops.generations USING (generation) WHERE state = 'live' ORDER BY sequence"
    )
    totals = dict(zip(("received", "fact", "duplicate", "canary", "rejected", "left_to_batch"), [0] * 6, strict=True))
    reached: dict[str, int] = {}
    for sequence, start, end, *counts in rows:
        if any(reached.get(partition, 0) != offset for partition, offset in start.items() if partition in reached):
            report.faults.append(f"I5: ledger row {sequence} starts at {start}, the one before ended at {reached}")
        if sum(end.values()) - sum(start.values()) != counts[0]:
            report.faults.append(f"I5: ledger row {sequence} spans {start} to {end} but received {counts[0]}")
        reached |= end
        totals = {name: total + count for (name, total), count in zip(totals.items(), counts, strict=True)}
    expected = {"received": len(events), **{name: summary["outcomes"].get(name, 0) for name in list(totals)[1:]}}
    report.facts |= {"batches": len(rows), **totals}
    if totals != expected:
        report.faults.append(f"I5: the ledger comes to {totals}, Kafka and the oracle to {expected}")
    gaps = stack.query("SELECT query, partition, from_offset, to_offset, reason FROM ops.stream_gaps")
    if gaps:
        report.faults.append(f"I5: gaps were recorded: {gaps}")


def _bronze(report: Report, stack: Stack, events: list[KafkaRecord]) -> None:
    """I2, bronze: each offset once, with the bytes Kafka holds; per event hour as many rows as outcomes."""
    rows = evidence.bronze_rows(stack.folder / "home" / "lake" / "bronze")
    copies = Counter((row["partition"], row["offset"]) for row in rows)
    raw = {(row["partition"], row["offset"]): row["raw"] for row in rows}
    again = [place for place, count in copies.items() if count > 1]
    missing = [record for record in events if (record.partition, record.offset) not in raw]
    other = [record for record in events if raw.get((record.partition, record.offset), record.value) != record.value]
    report.facts["rows of bronze"] = len(rows)
    if again or missing or other or len(copies) != len(events):
        report.faults.append(
            f"I2: bronze holds {len(copies)} of {len(events)} offsets, {len(again)} of them more than once,"
            f" {len(missing)} missing, {len(other)} with other bytes"
        )
    hours = Counter(row["event_hour"][:13].replace(" ", "T") for row in rows)
    counted = stack.query(
        "SELECT to_char(event_hour AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24'), sum(records)::bigint"
        " FROM ops.stream_outcomes JOIN ops.generations USING (generation) WHERE state = 'live' GROUP BY 1"
    )
    if hours != Counter(dict(counted)):
        report.faults.append(
            f"I5: hours of bronze {dict(hours - Counter(dict(counted)))} are more than the outcomes say"
        )
