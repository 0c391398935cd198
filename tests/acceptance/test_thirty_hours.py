"""Thirty hours of the true volume through the whole stack with Airflow: every hour and every day equals the oracle.

The past is caught up while the stream runs and Airflow's schedule closes the hour that was running; hours are built
again and at once; at last the source is paused and everything is compared. The tests share a stack and run in the order
of the file. The surprising thing: it takes hours, so it has a tempo of its own and is never part of `./weir test`;
`--hours 2 --rate 10` shows that it works, and `--state FOLDER` compares once more what an earlier run left behind.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local import ports
from local.airflow import Layout
from local.airflow_api import Client
from local.instance import Instance
from local.processes import Program
from tests.acceptance import gold
from tests.acceptance.watch import Watch
from tests.fixtures.odd_events import odd_events
from tests.integration import evidence
from tests.integration.airflow_rig import AirflowRig
from tests.integration.harness import admin, inject
from tests.integration.parts import wait_for
from tests.integration.speed_rig import Driver, event
from tests.integration.weir import Weir, settings_of
from tests.oracle.compare import Difference, compare_days, compare_hours
from wikiweir.hours import LENGTH, Hour
from wikiweir.rollups import ROLLUPS
from wikiweir.settings import PROJECT

SOURCE = ["--duplicates", "0.01", "--late", "0.001", "--odd", "0.001", "--backdated", "0.000002"]
"""Copies, events up to five hours late, hidden users and the like, and a few events that are years old."""
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
FULL = 30
"""Hours of a run that shows all of it."""
REMEMBERED = timedelta(minutes=90)
"""How long the speed layer remembers ids: so long that no copy comes later, so short that it forgets within the run."""
FORGETS = timedelta(minutes=10)
"""Going on with a state, what came in its first so many minutes is forgotten: a pause makes no difference."""
FORGOTTEN = 5
"""Events that are sent of an hour that it has forgotten."""
AGAIN = 6
"""How many hours are built again."""
HOURS_SECONDS = 90
"""How long an hour may take on average while the past is caught up and the stream runs."""

pytestmark = pytest.mark.timeout(4 * 3600)


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

    def in_kafka(self) -> dict[str, int]:
        ends = evidence.end_offsets(self.settings.kafka_bootstrap, self.settings.events_topic)
        return {str(partition): end for partition, end in ends.items()}


def source_of(stack: ExitStack, folder: Path, rate: float, hours: int, port: int = 0) -> int:
    """Start the replay server, which goes on with the same events wherever it is started anew; its port."""
    port_file = folder / "port"
    replay = [sys.executable, "-m", "local.replay", "--port", str(port), "--port-file", str(port_file)]
    replay += ["--rate", str(rate), "--history", f"{hours}h", *SOURCE]
    source = Program(replay, folder / "replay.log", env={"PYTHONPATH": str(PROJECT)})
    source.start(lambda: port_file.exists() and bool(port_file.read_text().strip()), 300)
    stack.callback(source.stop)
    return int(port_file.read_text())


not_again = pytest.mark.skipif("config.getoption('--state')", reason="the run that made the state showed it")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    folder, left_behind = tmp_path_factory.mktemp("acceptance"), request.config.getoption("--state")
    hours, rate = request.config.getoption("--hours"), request.config.getoption("--rate")
    with ExitStack() as stack:
        made = Weir(left_behind or folder / "state")
        stack.callback(made, "down")
        made.environment["WIKIWEIR_KEEP_SEEN"] = f"PT{REMEMBERED.total_seconds():.0f}S"
        if left_behind:
            age = time.time() - (left_behind / "secrets.env").stat().st_mtime - FORGETS.total_seconds()
            made.environment["WIKIWEIR_KEEP_SEEN"] = f"PT{age:.0f}S"
            url = urlsplit(settings_of(made, stack.enter_context(pytest.MonkeyPatch.context())).source_url)
            port = source_of(stack, folder, rate, hours, url.port or 0)
            shown = made("up", "--without", "airflow")  # its maintenance would expire what is to be compared
        else:
            port = source_of(stack, folder, rate, hours)
            inject(port, [line for case in odd_events("acceptance", datetime.now(UTC)) for line in case.lines])
            shown = made("up", "--source", f"http://{ports.LOOPBACK}:{port}", "--since", f"{hours + 1}h")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        settings = settings_of(made, stack.enter_context(pytest.MonkeyPatch.context()))
        watch = stack.enter_context(Watch(settings.postgres_dsn("reader")))
        running = World(
            weir=made,
            settings=settings,
            client=Client(Layout(Instance(made.home))),
            role="owner",  # `batch` is nobody else's
            port=port,
            watch=watch,
            hours=hours,
        )
        yield running
        tell_figures(running)


def tell_figures(world: World) -> None:
    """What it took, for the record."""
    steps = "SELECT key, percentile_cont(0.5) WITHIN GROUP (ORDER BY value::float8), max(value::float8)" \
            " FROM ops.published_hours, jsonb_each_text(seconds) GROUP BY key"  # fmt: skip
    print()
    for name, median, most in world.query(steps):
        print(f"{name}: median {median:.1f} s, at most {most:.1f} s an hour")
    print(world.weir("status").stdout)


def of_the_past(world: World) -> list[Hour]:
    """Full hours that the history has whole, oldest first."""
    last = Hour.of(datetime.now(UTC)).start
    return [Hour(last - LENGTH * back) for back in range(world.hours - 1, 0, -1)]


def is_live(world: World) -> bool:
    """Whether the speed layer has what happened a minute ago."""
    newest = "SELECT newest_event_at >= now() - interval '1 minute' FROM ops.stream_progress WHERE query = 'speed'"
    return world.query(newest) == [(True,)]


def digests(world: World, hours: list[Hour]) -> dict[tuple[Hour, str], str]:
    """(hour, table of `batch`) -> sha256 of its rows in order."""
    found = {}
    for hour in hours:
        names = [rollup.table(grain) for rollup in ROLLUPS for grain in ("minute", "hour")]
        for name in (*names, "top_pages", "top_editors"):
            rows = world.query(
                f"SELECT t::text FROM batch.{name} AS t WHERE window_start >= %s AND window_start < %s ORDER BY 1",
                hour.start, hour.end,
            )  # fmt: skip
            assert rows, name
            found[hour, name] = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return found


def drain(world: World) -> dict[str, int]:
    """Pause the source and wait until both queries hold what is in Kafka; how far that is."""
    admin(world.port, "pause", {})
    last, since = world.in_kafka(), time.monotonic()
    while time.monotonic() - since < 10:
        time.sleep(1)  # the producer may still hold what it was sent
        if (now := world.in_kafka()) != last:
            last, since = now, time.monotonic()

    def reached() -> bool:
        rows = world.query("SELECT end_offsets FROM ops.stream_progress")
        return len(rows) == 2 and all({**dict.fromkeys(last, 0), **(ends or {})} == last for (ends,) in rows)

    wait_for(reached, 300, lambda: world.weir("status").stdout)
    return last


@not_again
def test_airflow_catches_the_past_up(world: World) -> None:
    wanted = of_the_past(world)
    wait_for(lambda: is_live(world), 3600, lambda: world.weir("status").stdout)
    world.running_hour = Hour.of(datetime.now(UTC))
    wait_for(
        lambda: set(wanted) <= world.published().keys(),
        600 + HOURS_SECONDS * len(wanted) * 2,
        lambda: f"{sorted(set(wanted) - world.published().keys())}; {world.weir('status').stdout}",
    )


@not_again
def test_hours_built_again_and_at_once_are_the_same(world: World) -> None:
    # late events reach back five hours, copies two more
    wanted = [hour for hour in of_the_past(world) if hour.end < datetime.now(UTC) - timedelta(hours=7)][:AGAIN]
    if not wanted:  # a short run: events still come for every hour it has
        drain(world)
        wanted = of_the_past(world)[:1]
        run = world.submit("--hour", str(wanted[0]))
        assert run.wait(600) == 0, run.log[-3000:]
    before, versions = digests(world, wanted), world.published()
    a_range, newest = ("--first", str(wanted[0]), "--last", str(wanted[-1])), ("--hour", str(wanted[-1]))
    for at_once in ([a_range], [a_range, newest]):  # a range is built from its newest hour on
        runs = [world.submit(*words) for words in at_once]
        for run in runs:
            assert run.wait(3600) == 0, run.log[-3000:]
        assert digests(world, wanted) == before
    assert {hour: world.published()[hour] - versions[hour] for hour in wanted} == {
        **dict.fromkeys(wanted, 2), wanted[-1]: 3
    }  # fmt: skip
    admin(world.port, "resume", {})


@not_again
def test_the_schedule_closes_an_hour_of_the_running_stream(world: World) -> None:
    hour = world.running_hour
    assert hour is not None, "the stream ran live"
    wait_for(lambda: hour in world.published(), 3600 + 1200, lambda: world.weir("status").stdout)
    [(run_id,)] = world.query("SELECT run_id FROM ops.published_hours WHERE hour = %s", hour.start)
    assert str(run_id).startswith("scheduled__"), run_id


@not_again
def test_no_hour_was_published_before_it_was_ready(world: World) -> None:
    ends = world.query("SELECT hour, end_offsets FROM ops.hour_ends ORDER BY hour")
    assert ends
    for hour, built_from in world.watch.seen.first_built_from.items():
        needed = next((wanted for at, wanted in ends if Hour.of(at) >= hour), None)
        assert needed is not None, hour
        assert all(built_from.get(partition, 0) >= end for partition, end in needed.items()), (hour, built_from, needed)


def left_to_batch(world: World) -> int:
    """Records that the speed layer could not tell from copies."""
    [(left,)] = world.query(
        "SELECT coalesce(sum(o.records), 0) FROM ops.stream_outcomes AS o JOIN ops.generations AS g USING (generation)"
        " WHERE g.state = 'live' AND o.outcome = 'left_to_batch'"
    )
    return int(left)


def send_forgotten(world: World) -> None:
    """Events of an hour whose ids the speed layer has forgotten, so that it must leave them to the batch layer."""

    def forgotten() -> list[Hour]:
        [(floor,)] = world.query("SELECT seen_floor FROM ops.generations WHERE state = 'live'")
        return sorted(hour for hour in world.published() if hour.start <= floor)

    wait_for(lambda: bool(forgotten()), 3600, lambda: "an hour to be forgotten")
    hour = forgotten()[-1]
    wait_for(lambda: is_live(world), 3600, lambda: world.weir("status").stdout)  # what is sent now comes after history
    ago = (datetime.now(UTC) - hour.start).total_seconds() - 60
    lines = [json.dumps(event(9_000_000 + number, seconds_ago=ago)).encode() for number in range(FORGOTTEN)]
    inject(world.port, lines)
    wait_for(lambda: left_to_batch(world) >= FORGOTTEN, 60, lambda: f"{left_to_batch(world)} were left to the batch")


def test_at_last_everything_equals_the_oracle(world: World, tmp_path: Path) -> None:
    if world.hours >= FULL:
        send_forgotten(world)
    last = drain(world)
    touched = world.submit("--touched")
    assert touched.wait(3600) == 0, touched.log[-3000:]
    end = max(world.published()).end
    records = evidence.records_of(world.settings.kafka_bootstrap, world.settings.events_topic)
    summary = evidence.run_oracle(world.settings, records, tmp_path, before=end)
    print(f"\n{summary['records']} records: {summary['outcomes']}; closed until {end}")
    assert summary["records"] == sum(last.values())
    dsn = world.settings.postgres_dsn("owner")
    found: list[Difference] = compare_hours(tmp_path, dsn, BEGINNING, end)
    found += compare_days(tmp_path, dsn, BEGINNING, end + timedelta(days=1))
    print("\n".join(f"{table.table}: {table.rows} rows" for table in found))
    assert not [table for table in found if not table.is_none], "\n".join(map(str, found))


def test_gold_and_silver_are_what_is_published(world: World, tmp_path: Path) -> None:
    lake = world.weir.home / "lake"
    looked_at, differing = gold.differences(lake, world.settings.postgres_dsn("owner"), tmp_path)
    print(f"\ngold: {looked_at} rows")
    assert not differing, "\n".join(differing)
    counted = world.query("SELECT to_char(hour, 'YYYY-MM-DD HH24:MI:SS'), records FROM ops.hour_outcomes"
                          " WHERE outcome = 'fact'")  # fmt: skip
    assert {hour: (n, n) for hour, n in counted} == gold.facts_by_hour(lake)


def test_the_layers_agree_to_the_event_and_the_accounting_closes(world: World) -> None:
    verdicts = dict(world.query("SELECT verdict, count(DISTINCT hour) FROM ops.reconciliation GROUP BY verdict"))
    print(f"\nhours by verdict: {verdicts}")
    assert verdicts.keys() <= {"equal", "explained"}
    [(explained,)] = world.query(
        "SELECT coalesce(sum(difference), 0) FROM ops.reconciliation WHERE rollup = 'activity' AND metric = 'events'"
    )
    left = left_to_batch(world)
    assert explained == left
    assert left >= FORGOTTEN or world.hours < FULL, "some events were older than what the speed layer remembers"
    end = max(world.published()).end
    [(closed,)] = world.query("SELECT sum(records) FROM ops.hour_outcomes WHERE outcome <> 'rewritten'")
    [(still_open,)] = world.query(
        "SELECT coalesce(sum(o.records), 0) FROM ops.stream_outcomes AS o JOIN ops.generations AS g USING (generation)"
        " WHERE g.state = 'live' AND o.event_hour >= %s", end,
    )  # fmt: skip
    assert closed + still_open == sum(world.in_kafka().values())
    assert world.query("SELECT * FROM ops.incidents WHERE closed_at IS NULL") == []
    checked = world.weir("submit", "check_published")
    assert checked.returncode == 0, checked.stdout[-3000:]


def test_a_reader_never_saw_an_hour_missing_doubled_or_half_there(world: World) -> None:
    seen = world.watch.seen
    assert world.watch.is_watching
    print(f"\n{seen.looks} looks, {seen.versions} versions")
    assert not seen.violations, "\n".join(seen.violations[:10])
    assert seen.versions >= len(world.published())
