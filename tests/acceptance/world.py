"""The stack of the acceptance: its source, what one asks and tells it, and who watches."""

import hashlib
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.processes import Program
from tests.acceptance.watch import Watch
from tests.integration.airflow_rig import AirflowRig
from tests.integration.parts import wait_for
from tests.integration.source import drain_producer
from tests.integration.speed_rig import Driver
from wikiweir.hours import LENGTH, Hour
from wikiweir.rollups import ROLLUPS
from wikiweir.settings import PROJECT

SOURCE = ["--duplicates", "0.01", "--late", "0.001", "--odd", "0.001", "--backdated", "0.000002"]
"""Copies, events up to five hours late, hidden users and the like, and a few events that are years old."""
DRAIN_SECONDS = 300.0
QUIET_SECONDS = 10.0
"""Builds have the cores meanwhile, and a run of hours should not end at a producer that had no time."""


@dataclass(kw_only=True)
class World(AirflowRig):
    """A running stack, its source, and who watches."""

    port: int
    watch: Watch
    hours: int
    running_hour: Hour | None = None
    """The one that was not over when the history was in and the stream ran live."""

    def submit(self, *arguments: str) -> Driver:
        """Begin `./weir submit build_hours`."""
        command = [sys.executable, "-m", "local", "submit", "build_hours", *arguments]
        return Driver(command, self.weir.environment, self.weir.home / "logs" / f"submit-{time.time_ns()}.log")

    def of_the_past(self) -> list[Hour]:
        """Full hours that the history has whole, oldest first."""
        last = Hour.of(datetime.now(UTC)).start
        return [Hour(last - LENGTH * back) for back in range(self.hours - 1, 0, -1)]

    def is_live(self) -> bool:
        """Whether the speed layer has what happened a minute ago."""
        newest = "SELECT newest_event_at >= now() - interval '1 minute' FROM ops.stream_progress WHERE query = 'speed'"
        return self.query(newest) == [(True,)]

    def drain(self) -> dict[str, int]:
        """Pause the source and wait until both queries hold what is in Kafka; how far that is."""

        def status() -> str:
            return self.weir("status").stdout

        last = drain_producer(self.port, self.kafka_ends, DRAIN_SECONDS, status, QUIET_SECONDS)

        def reached() -> bool:
            rows = self.query("SELECT end_offsets FROM ops.stream_progress")
            return len(rows) == 2 and all({**dict.fromkeys(last, 0), **(ends or {})} == last for (ends,) in rows)

        wait_for(reached, DRAIN_SECONDS, status)
        return last

    def left_to_batch(self) -> int:
        """Records that the speed layer could not tell from copies."""
        [(left,)] = self.query(
            "SELECT coalesce(sum(o.records), 0) FROM ops.stream_outcomes AS o"
            " JOIN ops.generations AS g USING (generation) WHERE g.state = 'live' AND o.outcome = 'left_to_batch'"
        )
        return int(left)

    def digests(self, hours: list[Hour]) -> dict[tuple[Hour, str], str]:
        """(hour, table of `batch`) -> sha256 of its rows in order."""
        rollups = [rollup.table(grain) for rollup in ROLLUPS for grain in ("minute", "hour")]
        # a day, week or month begins where its first hour does, and is written when it is its turn
        tops = dict.fromkeys(("top_pages", "top_editors", "editor_counts"), " AND grain = 'hour'")
        wanted = {**dict.fromkeys((*rollups, "hour_totals", "minute_totals"), ""), **tops}
        found = {}
        for hour in hours:
            for name, grain in wanted.items():
                rows = self.query(
                    f"SELECT t::text FROM batch.{name} AS t WHERE window_start >= %s AND window_start < %s{grain}"
                    " ORDER BY 1",
                    hour.start, hour.end,
                )  # fmt: skip
                assert rows, name
                found[hour, name] = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        return found

    def tell_figures(self) -> None:
        """What it took, for the record."""
        steps = "SELECT key, percentile_cont(0.5) WITHIN GROUP (ORDER BY value::float8), max(value::float8)" \
                " FROM ops.published_hours, jsonb_each_text(seconds) GROUP BY key"  # fmt: skip
        print()
        for name, median, most in self.query(steps):
            print(f"{name}: median {median:.1f} s, at most {most:.1f} s an hour")
        print(self.weir("status").stdout)


def source_of(stack: ExitStack, folder: Path, rate: float, hours: int, port: int = 0) -> int:
    """Start the replay server, which goes on with the same events wherever it is started anew; its port."""
    port_file = folder / "port"
    replay = [sys.executable, "-m", "local.replay", "--port", str(port), "--port-file", str(port_file)]
    replay += ["--rate", str(rate), "--history", f"{hours}h", *SOURCE]
    source = Program(replay, folder / "replay.log", env={"PYTHONPATH": str(PROJECT)})
    source.start(lambda: port_file.exists() and bool(port_file.read_text().strip()), 300)
    stack.callback(source.stop)
    return int(port_file.read_text())
