"""`python -m local.replay`: an EventStreams server on this machine, over invented or recorded events."""

import argparse
import asyncio
import contextlib
import json
import logging
import re
import signal
import sys
import textwrap
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from local.replay import faults as faults_module
from local.replay.faults import Faults
from local.replay.invent import Mixture
from local.replay.log import DATA_CENTRES, EventLog, MemoryLog
from local.replay.playhead import Playhead
from local.replay.recording import load
from local.replay.seconds import Recipe
from local.replay.server import ADDRESS, ReplayServer
from local.replay.synthetic import SyntheticLog
from local.replay.truth import GroundTruth
from wikiweir.clock import Clock, SystemClock

REMEMBER_SECONDS = 5.0
EPILOG = """\
Examples:
  python -m local.replay --port 8090 --history 26h --state .weir/run/replay.json
  python -m local.replay --port 8090 --recording 'recentchange-*.ndjson.gz' raw-sse-recentchange-*.sse.gz
  python -m local.replay --port 8090 --recording capture.sse.gz --as-recorded --rate 200 --ground-truth truth.ndjson
  python -m local.replay --port 0 --port-file port --fault cut_after_s=3 --fault cut_mode=half_utf8

A connect without `since` and Last-Event-ID begins at the newest record, as the real server does; what lies before
(a history, a recording) is asked for with `since=0` or by --fresh oldest.

Faults (--fault NAME=VALUE, or POST /_admin/faults with the same names):
"""


def duration_s(value: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `26h`, `3d`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
    if match is None:
        raise argparse.ArgumentTypeError(f"{value!r} is no duration; expected e.g. 90s, 15m, 26h, 3d")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def switch_at(value: str) -> tuple[str, str]:
    """`AFTER:DC` of a data-centre switch."""
    after, colon, centre = value.partition(":")
    if not colon or centre not in DATA_CENTRES:
        raise argparse.ArgumentTypeError(f"{value!r}: expected AFTER:DC with DC one of {', '.join(DATA_CENTRES)}")
    duration_s(after)
    return after, centre


def parse_count(value: str) -> int:
    """A number of records."""
    if not value.isdigit():
        raise ValueError(f"--dc-switch {value}: with a recording, a number of records is expected")
    return int(value)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    epilog = EPILOG + "".join(
        textwrap.fill(f"{switch.name}: {switch.metadata['help']}", 110, initial_indent="  ", subsequent_indent="      ")
        + "\n"
        for switch in fields(Faults)
    )
    p = argparse.ArgumentParser(
        prog="python -m local.replay",
        description=__doc__,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--port", type=int, default=8090, help="0: a free one")
    p.add_argument("--port-file", type=Path, help="write the port here once it listens")
    p.add_argument("--verbose", action="store_true", help="log each connection to stderr")

    s = p.add_argument_group("synthetic source (default)")
    s.add_argument("--seed", type=int, help="of events and faults (default 1, or as remembered)")
    s.add_argument(
        "--epoch-ms", type=int, help="time of the log's first record (default now - history, or as remembered)"
    )
    s.add_argument(
        "--history", type=duration_s, default=None, help="so much of the past is there at the start: 26h, 31d"
    )
    s.add_argument(
        "--rate", type=float, help="synthetic: mean events/s of log time (default 37); recording: play at N/s"
    )
    s.add_argument("--flat-rate", action="store_true", default=None, help="no daily rhythm, no bursts")
    s.add_argument(
        "--duplicates", type=float, help="fraction of records that repeat an earlier meta.id (default 0.005)"
    )
    s.add_argument("--late", type=float, help="fraction with `timestamp` up to 5 h before meta.dt (default 0.0002)")
    s.add_argument("--backdated", type=float, help="fraction with meta.dt (and Kafka time) years ago (default 0)")
    s.add_argument(
        "--odd", type=float, help="fraction with hidden user, control characters, unknown type (default 0.0005)"
    )
    s.add_argument("--no-canaries", action="store_true", default=None, help="no heartbeat events")
    s.add_argument(
        "--state", type=Path, help="remembers seed, epoch and what was done to the log; read at the next start"
    )

    r = p.add_argument_group("recording source")
    r.add_argument("--recording", type=Path, nargs="+", metavar="FILE", help="NDJSON or SSE captures, plain or .gz")
    r.add_argument("--as-recorded", action="store_true", help="keep bytes and times exactly")
    r.add_argument("--shift", choices=("newest", "oldest"), default="newest", help="which record falls on now")

    c = p.add_argument_group("clock and connections")
    c.add_argument(
        "--speed", type=float, help="clock factor; a recording then plays by its time stamps from the first client on"
    )
    c.add_argument(
        "--fresh", choices=("latest", "oldest"), default="latest", help="where a connect without a position begins"
    )
    c.add_argument(
        "--dc-switch",
        type=switch_at,
        action="append",
        default=[],
        metavar="AFTER:DC",
        help="events go to the topics of eqiad or codfw from so long after the epoch (2h:codfw), or after so many "
        "records of a recording (500:codfw), on; may be repeated",
    )
    c.add_argument("--fault", action="append", default=[], metavar="NAME=VALUE", help="see below; may be repeated")
    c.add_argument("--fault-seed", type=int, help="of the faults (default: --seed)")

    t = p.add_argument_group("account")
    t.add_argument("--ground-truth", type=Path, help="NDJSON of every record from the first client's start on")
    t.add_argument("--send-log", type=Path, help="light NDJSON of {id, sent_ms} at first sending")
    return p


def parse_faults(settings: list[str]) -> Faults:
    """`NAME=VALUE` settings; values are JSON where they parse as it, else text."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--fault {setting}: expected NAME=VALUE")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
        if name == "retry_after":
            values[name] = value
    return faults_module.changed(Faults(), values)


class Memory:
    """The state file: what the same log can be made from again."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.held: dict[str, Any] = json.loads(path.read_text()) if path is not None and path.exists() else {}

    def recall(self, name: str, given: Any, default: Any) -> Any:
        """A value given now, remembered, or the default; refuses two that differ."""
        held = self.held.get(name)
        if held is not None and given is not None and given != held:
            raise ValueError(
                f"{self._path} remembers {name} {held}, found {given}; leave the option out or remove the file"
            )
        value = held if held is not None else given if given is not None else default
        self.held[name] = value
        return value

    def save(self, **values: Any) -> None:
        """Writes the file anew, atomically."""
        self.held.update(values)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(self.held, indent=1) + "\n")
            fresh.replace(self._path)


def build(a: argparse.Namespace, clock: Clock, memory: Memory) -> tuple[EventLog, Playhead, dict[str, Any], int]:
    """Log, clock, description of the source, and seed, from the command line."""
    now_ms = clock.now_ms()
    if a.recording:
        times = {} if a.as_recorded else {f"{a.shift}_at_ms": memory.recall("shift_at_ms", None, now_ms)}
        memory.save()
        lines = load(a.recording, **times)
        about = {
            "kind": "recording",
            "files": [path.name for path in a.recording],
            "as_recorded": a.as_recorded,
            "records": len(lines),
            "oldest_ms": min((line.kafka_ms for line in lines), default=None),
            "newest_ms": max((line.kafka_ms for line in lines), default=None),
        }
        if lines:
            about["topic"] = lines[-1].topic
        switches = {parse_count(after): centre for after, centre in a.dc_switch}
        log: EventLog = MemoryLog(lines, rate=a.rate, speed=a.speed, switches=switches)
        return log, Playhead(clock), about, a.seed or 1
    seed = memory.recall("seed", a.seed, 1)
    epoch_ms = memory.recall("epoch_ms", a.epoch_ms, now_ms - int((a.history or 0) * 1000))
    recipe = Recipe(
        seed=seed,
        epoch_s=epoch_ms // 1000,
        rate=memory.recall("rate", a.rate, 37.0),
        is_diurnal=not memory.recall("flat_rate", a.flat_rate, False),
        duplicates=memory.recall("duplicates", a.duplicates, 0.005),
        mixture=Mixture(
            late=memory.recall("late", a.late, 0.0002),
            backdated=memory.recall("backdated", a.backdated, 0.0),
            odd=memory.recall("odd", a.odd, 0.0005),
        ),
        canaries=not memory.recall("no_canaries", a.no_canaries, False),
    )
    moves = [[epoch_ms // 1000 + int(duration_s(after)), DATA_CENTRES.index(dc)] for after, dc in a.dc_switch]
    changes = memory.held.setdefault("changes", {"switches": moves, "extra": {}})
    begin_ms = memory.held.get("head_ms", epoch_ms) if a.history or epoch_ms < now_ms - 1000 else None
    playhead = Playhead(clock, speed=a.speed or 1.0, begin_ms=begin_ms)
    log = SyntheticLog(recipe, now_ms=playhead.now_ms(), changes=changes)
    memory.save()
    return log, playhead, {"kind": "synthetic", **asdict(recipe)}, seed


async def run(a: argparse.Namespace, clock: Clock) -> None:
    """Serves until SIGTERM or SIGINT."""
    memory = Memory(a.state)
    log, playhead, about, seed = build(a, clock, memory)
    truth = GroundTruth(log, file=a.ground_truth, send_file=a.send_log)
    server = ReplayServer(
        log, truth, clock, playhead=playhead, faults=parse_faults(a.fault), about=about,
        seed=seed if a.fault_seed is None else a.fault_seed, fresh_from_oldest=a.fresh == "oldest",
    )  # fmt: skip
    port = await server.start(a.port)
    if a.port_file:
        a.port_file.write_text(f"{port}\n")
    print(
        f"replay server on http://{ADDRESS}:{port}/v2/stream/recentchange, seed {server.seed}, {log.end_seq} records",
        flush=True,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    remembering = asyncio.ensure_future(_remember(server, log, memory))
    await server.serve(stop)
    remembering.cancel()
    await server.close()


async def _remember(server: ReplayServer, log: EventLog, memory: Memory) -> None:
    while isinstance(log, SyntheticLog):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.changed.wait(), REMEMBER_SECONDS)
        server.changed.clear()
        memory.save(changes=log.changes(), head_ms=server.playhead.now_ms())


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 for a wrong command line."""
    p = parser()
    a = p.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if a.verbose else logging.WARNING, format="%(asctime)s %(message)s")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(a, SystemClock()))
    except (ValueError, OSError) as error:
        print(f"python -m local.replay: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
