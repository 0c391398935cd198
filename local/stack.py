"""The whole stack of one instance: up until it is healthy, down until it is gone.

PostgreSQL and Kafka come up side by side, each with what it must hold (schema, topics); stream and Superset start as
soon as there is a schema, the producer as soon as there are topics. The surprising thing: everything here may be done
again at any time; what runs stays as it is.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psycopg2

from local import airflow, airflow_api, bootstrap, health, kafka, ports, postgres, source, spark, superset, toolchain
from local import instance as instances
from local.instance import Instance, InstanceError, postgres_layout
from local.processes import NotReadyError, tail, wait_until
from local.programs import STOP_ORDER, ProgramSpec, kafka_layout, programs
from local.supervision import Supervisor
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import Settings, load

GIB = 1024**3
PATIENCE_STARTS = 3
"""A program that ends this often while `up` waits for it will not get healthy by itself."""
REFUSED_BELOW_BYTES = 3 * GIB
"""PostgreSQL and Kafka stop badly on a full disk; a start without this much room is refused."""
WARNED_BELOW_BYTES = 25 * GIB
"""Kafka's two partitions at their size limit, a few days of lake, PostgreSQL."""

OPTIONAL = ("airflow", "superset", "replay", "producer", "stream")
"""What `--without` may leave out."""


@dataclass(slots=True)
class Report:
    """Tells what is going on, and how long each stage took."""

    say: Callable[[str], None]
    clock: Clock = field(default_factory=SystemClock)
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = self.clock.monotonic()
        yield
        self.stages[name] = self.clock.monotonic() - began
        self.say(f"  {name:<44}{self.stages[name]:6.1f} s")


def free_bytes(instance: Instance) -> int:
    """Room on the disk of the state folder."""
    folder = instance.home
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(instance: Instance, report: Report) -> None:
    """Refuse a start that would fill the disk, warn of one that may."""
    free = free_bytes(instance)
    if free < REFUSED_BELOW_BYTES:
        raise InstanceError(
            f"expected at least {REFUSED_BELOW_BYTES / GIB:.0f} GiB free for {instance.home}, found {free / GIB:.1f}; "
            "make room, or set WIKIWEIR_HOME to a bigger disk"
        )
    if free < WARNED_BELOW_BYTES:
        report.say(
            f"  note: {free / GIB:.1f} GiB free for {instance.home}; Kafka alone may keep "
            f"{WARNED_BELOW_BYTES / GIB:.0f} GiB with the default WIKIWEIR_KEEP_KAFKA_BYTES"
        )


def up(
    wish: source.Wish,
    report: Report,
    *,
    without: frozenset[str] = frozenset(),
    seconds: float = 300.0,
) -> tuple[Instance, Settings]:
    """Start what does not run yet and wait until all of it is healthy."""
    unknown = without - set(OPTIONAL)
    if unknown:
        raise InstanceError(f"--without takes {', '.join(OPTIONAL)}; found {', '.join(sorted(unknown))}")
    instance = instances.current()
    check_space(instance, report)
    contact = instances.from_outside().get("WIKIWEIR_CONTACT")
    source.judge(instance, wish, contact=contact)
    instances.create(instance)
    source.bind(instance, wish, contact=contact, now_ms=report.clock.now_ms())
    with_airflow, with_superset = "airflow" not in without, "superset" not in without
    superset.announce(instance, is_running=with_superset)
    settings = load()
    supervisor = Supervisor(instance, report.clock)
    for application in ("airflow", "superset"):
        if application not in without:
            bootstrap.ensure_application(toolchain.root(), application)
    with report.stage("configuration, supervisor"):
        toolchain.java(settings.java_home)
        check_ports(instance, supervisor)
        spark.write_configuration(instance, settings)
        left_out = without | (frozenset() if with_airflow else frozenset(airflow.PROGRAMS))
        specs = [spec for spec in programs(instance, settings) if spec.name not in left_out]
        supervisor.start(specs)
    wanted = {spec.name: spec for spec in specs}
    if "replay" in wanted:
        supervisor.start_program("replay")
    with ThreadPoolExecutor(max_workers=3) as pool:
        topics = pool.submit(_kafka_up, instance, settings, supervisor, wanted, report)
        schema = pool.submit(_postgres_up, instance, settings, supervisor, wanted, report)
        schema.result()
        began_at = health.database_time(settings)
        if "stream" in wanted:
            # its JVM takes longer to get ready than Kafka does; a query that comes too early is started again
            supervisor.start_program("stream")
        if with_superset:
            dashboards = pool.submit(_superset_up, instance, settings, supervisor, wanted, report, seconds)
        topics.result()
        if "producer" in wanted:
            supervisor.start_program("producer")
            with report.stage("producer healthy"):
                is_healthy = partial(health.answers, f"http://{ports.LOOPBACK}:{settings.producer_port}/healthz")
                _wait_healthy(supervisor, wanted["producer"], is_healthy, seconds)
        if "stream" in wanted:
            with report.stage("stream's first batch committed"):
                has_committed = partial(health.has_committed, settings, began_at)
                _wait_healthy(supervisor, wanted["stream"], has_committed, seconds)
        if with_airflow:
            _airflow_up(instance, settings, supervisor, wanted, report, seconds)
        if with_superset:
            dashboards.result()
    return instance, settings


def check_ports(instance: Instance, supervisor: Supervisor) -> None:
    """A remembered port that somebody else has taken meanwhile is a clear message, not a crash loop."""
    if supervisor.is_running:
        return
    values = instance.values
    mine = ["WIKIWEIR_PRODUCER_PORT", "WIKIWEIR_STREAM_PORT", "WIKIWEIR_REPLAY_PORT"]
    mine += [instances.AIRFLOW_PORT, instances.SUPERSET_PORT]
    mine += ["WIKIWEIR_POSTGRES_PORT"] if "postgres" in instance.embedded else []
    mine += [instances.CONTROLLER_PORT] if "kafka" in instance.embedded else []
    taken = [name for name in mine if ports.is_open(int(values[name]))]
    if taken:
        raise InstanceError(
            f"another program listens on {', '.join(f'{name}={values[name]}' for name in taken)}; "
            f"end it, or change the port in {instance.settings_file}"
        )


def _postgres_up(
    instance: Instance, settings: Settings, supervisor: Supervisor, wanted: dict[str, ProgramSpec], report: Report
) -> None:
    from sql.migrate import migrate

    assert settings.postgres_admin_dsn is not None
    dsn = settings.postgres_admin_dsn.get_secret_value()
    if "postgres" in instance.embedded:
        with report.stage("PostgreSQL"):
            opened = postgres.prepare(postgres_layout(instance), instance.secrets[instances.SUPERUSER_PASSWORD])
            for folder in opened:
                report.say(f"  note: chmod o+x {folder}, so that PostgreSQL's own account gets to its files")
            supervisor.start_program("postgres")
            _wait_healthy(supervisor, wanted["postgres"], lambda: postgres.answers(dsn), 120)
    elif not wait_until(lambda: postgres.answers(dsn), 30, clock=report.clock, poll_seconds=0.5):
        where = f"{settings.postgres_host}:{settings.postgres_port}"
        raise NotReadyError(f"PostgreSQL at {where} does not let us in; check WIKIWEIR_POSTGRES_ADMIN_DSN")
    with report.stage("database schema"):
        migrate(settings)
        with psycopg2.connect(settings.postgres_dsn("owner")) as owner, owner.cursor() as cursor:
            cursor.execute("SELECT ops.bind_instance(%s)", (settings.source_id,))
        owner.close()


def _kafka_up(
    instance: Instance, settings: Settings, supervisor: Supervisor, wanted: dict[str, ProgramSpec], report: Report
) -> None:
    if "kafka" in instance.embedded:
        with report.stage("Kafka"):
            kafka.prepare(kafka_layout(instance, settings), java_home=settings.java_home)
            supervisor.start_program("kafka")
            host, _, port = settings.kafka_bootstrap.rpartition(":")
            _wait_healthy(supervisor, wanted["kafka"], lambda: ports.is_open(int(port), host), 120)
    with report.stage("topics"):
        kafka.create_topics(settings)


def _airflow_up(
    instance: Instance,
    settings: Settings,
    supervisor: Supervisor,
    wanted: dict[str, ProgramSpec],
    report: Report,
    seconds: float,
) -> None:
    layout = airflow.Layout(instance)
    with report.stage("Airflow's database"):
        airflow.write_files(instance, settings)
        airflow.prepare(instance, settings)
    with report.stage("Airflow"):
        for name in airflow.PROGRAMS:
            supervisor.start_program(name)
        for name in airflow.PROGRAMS:
            _wait_healthy(supervisor, wanted[name], partial(_reports_in, layout, name), seconds)


def _superset_up(
    instance: Instance,
    settings: Settings,
    supervisor: Supervisor,
    wanted: dict[str, ProgramSpec],
    report: Report,
    seconds: float,
) -> None:
    with report.stage("Superset's database"):
        superset.prepare(instance, settings)
    with report.stage("Superset"):
        supervisor.start_program("superset")
        is_healthy = partial(health.answers, f"{superset.Layout(instance).url}/health")
        _wait_healthy(supervisor, wanted["superset"], is_healthy, seconds)
    with report.stage("dashboards"):
        superset.bring_dashboards()


def _reports_in(layout: airflow.Layout, name: str) -> bool:
    return name not in airflow_api.unhealthy(layout)


def _wait_healthy(supervisor: Supervisor, spec: ProgramSpec, is_ready: Callable[[], bool], seconds: float) -> None:
    """Wait for a program; one that has ended for good, keeps ending, or takes too long is reported with its log."""
    pids: set[int] = set()
    problem = ""

    def settled() -> bool:
        nonlocal problem
        if is_ready():
            return True
        has_ended, pid = supervisor.look(spec.name, spec.final_exit_codes)
        pids.add(pid)
        if has_ended:
            problem = "has ended"
        elif len(pids - {0}) > PATIENCE_STARTS:
            problem = f"was started {PATIENCE_STARTS} times and ended each time; it goes on being started"
        return bool(problem)

    if not wait_until(settled, seconds, clock=supervisor.clock, poll_seconds=0.1):
        problem = f"was not healthy after {seconds:.0f} s"
    if problem:
        log = supervisor.instance.logs / f"{spec.name}.log"
        raise NotReadyError(f"{spec.name} {problem}; the rest keeps running. The end of {log}:\n{tail(log, 25)}")


def down(report: Report) -> None:
    """Stop everything in the order that leaves nothing half done."""
    supervisor = Supervisor(instances.required(), report.clock)
    if not supervisor.is_running:
        report.say("  nothing runs")
        return
    for names in STOP_ORDER:
        if running := supervisor.running(names):
            with report.stage(f"{', '.join(running)} stopped"):
                supervisor.stop_programs(*running)
    supervisor.shutdown()
