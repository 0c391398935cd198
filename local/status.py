"""How each part is: state, process, memory, and the one figure that matters of it.

Asked of the parts themselves (supervisord, `/metrics`, Kafka, the `ops` tables). The surprising thing: memory is PSS,
which shares the pages that several processes have in common, so that the column adds up to what the stack costs.
"""

import json
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import psycopg2
from kafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families
from psycopg2.extras import RealDictCursor

from local import airflow, airflow_api, health, kafka, ports, source, superset
from local.instance import Instance
from local.programs import START_ORDER
from local.supervision import Supervisor
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import Settings

PRODUCER_PREFIX = "wikiweir_producer_"
RATE_SECONDS = 1.0
"""How long the producer is watched for its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One line of `./weir status`."""

    name: str
    state: str
    pid: int | None
    memory_mib: float | None
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole of it."""

    home: str
    source: str
    is_live: bool
    components: list[Component]
    database: dict[str, Any]

    @property
    def is_running(self) -> bool:
        return all(component.state in {"running", "external"} for component in self.components)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def memory_mib(pid: int) -> float | None:
    """PSS of a process and all below it, in MiB; none where it has ended, or the system does not tell.

    A child that ends meanwhile weighs nothing: PostgreSQL's backends come and go.
    """
    try:
        root = psutil.Process(pid)
        family, total = root.children(recursive=True), root.memory_full_info().pss
    except (psutil.Error, AttributeError):
        return None
    for child in family:
        with suppress(psutil.NoSuchProcess):
            total += child.memory_full_info().pss
    return float(total) / 1024**2


def collect(instance: Instance, settings: Settings, clock: Clock | None = None) -> Status:
    """Ask every part; a part that does not answer is reported, never waited for long. Takes about a second."""
    clock = clock or SystemClock()
    before, began = metrics(settings.producer_port), clock.monotonic()
    supervisor = Supervisor(instance)
    states = supervisor.states() if supervisor.is_running else {}
    database = database_figures(settings)
    in_kafka = _kafka_figure(settings) if states or "kafka" not in instance.embedded else ""
    if before:
        clock.sleep(max(0.0, RATE_SECONDS - (clock.monotonic() - began)))
    after, elapsed = metrics(settings.producer_port), clock.monotonic() - began
    figures = {
        "postgres": _postgres_figure(database),
        "kafka": in_kafka,
        "replay": _replay_figure(settings),
        "producer": _producer_figure(before, after, elapsed),
        "stream": _stream_figure(database),
        **(airflow_api.figures(airflow.Layout(instance)) if "api-server" in states else {}),
        **({"superset": _superset_figure(instance, settings)} if "superset" in states else {}),
    }
    components = []
    for name in START_ORDER:
        info = states.get(name)
        external = name in {"postgres", "kafka"} and name not in instance.embedded
        if info is None and not external and (states or name in {"replay", "superset", *airflow.PROGRAMS}):
            continue
        pid = int(info["pid"]) or None if info else None
        state = info["statename"].lower() if info else "external" if external else "stopped"
        memory = memory_mib(pid) if pid else None
        shown = figures.get(name, "") if state in {"running", "external"} else ""
        components.append(Component(name=name, state=state, pid=pid, memory_mib=memory, figure=shown))
    return Status(
        home=str(instance.home),
        source=source.describe(settings.source_id),
        is_live=source.is_live(settings.source_id),
        components=components,
        database=database,
    )


def database_figures(settings: Settings) -> dict[str, Any]:
    """Rows and progress as the reader role sees them; empty when the database does not answer."""
    try:
        connection = psycopg2.connect(settings.postgres_dsn("reader"), connect_timeout=2)
    except psycopg2.Error as problem:
        return {"problem": str(problem).strip().splitlines()[-1]}
    try:
        with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(
                "SELECT query, state, lag, rows_per_second, seconds_behind, message,"
                " extract(epoch FROM now() - updated_at)::double precision AS age_seconds FROM ops.stream_progress"
            )
            progress = {row.pop("query"): dict(row) for row in cursor.fetchall()}
            cursor.execute(
                "SELECT sum(events)::bigint AS events, sum(edits)::bigint AS edits, max(window_start)::text AS newest"
                " FROM serving.activity"
            )
            totals = dict(cursor.fetchone() or {})
            cursor.execute("SELECT pg_database_size(current_database()) AS bytes")
            size = dict(cursor.fetchone() or {})
            cursor.execute("SELECT runbook, subject, message FROM ops.complaints() ORDER BY 1, 2")
            complaints = [dict(row) for row in cursor.fetchall()]
            return {**totals, **size, "complaints": complaints, "progress": progress}
    except psycopg2.Error as problem:
        return {"problem": str(problem).strip().splitlines()[0]}
    finally:
        connection.close()


def _postgres_figure(database: dict[str, Any]) -> str:
    if "problem" in database:
        return str(database["problem"])
    return f"{database['bytes'] / 1024**2:,.0f} MiB, {database['events'] or 0:,} events in serving.activity"


def _stream_figure(database: dict[str, Any]) -> str:
    parts = []
    for query, row in sorted(database.get("progress", {}).items(), reverse=True):
        rate = f"{row['rows_per_second']:,.0f} rows/s" if row["rows_per_second"] is not None else "no rate yet"
        behind = f", {row['seconds_behind']:,.1f} s behind" if row["seconds_behind"] is not None else ""
        lag = f", lag {row['lag']:,}" if row["lag"] is not None else ""
        parts.append(f"{query}: {row['state']}, {rate}{behind}{lag}")
    return "; ".join(parts) or "nothing committed yet"


def _kafka_figure(settings: Settings) -> str:
    try:
        ends = kafka.end_offsets(settings.kafka_bootstrap, (settings.events_topic, settings.dead_letters_topic))
    except KafkaError as problem:
        return f"no answer: {type(problem).__name__}"
    events, dead = ends[settings.events_topic], ends[settings.dead_letters_topic]
    return f"{events:,} records, {dead:,} dead letters"


def _replay_figure(settings: Settings) -> str:
    try:
        with urllib.request.urlopen(
            f"http://{ports.LOOPBACK}:{settings.replay_port}/_admin/state", timeout=2
        ) as answer:
            state = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return "no answer on /_admin/state"
    return f"{state['sent']:,} frames sent, {state['behind']:,} of {state['available']:,} records to come"


def _producer_figure(before: dict[str, float], after: dict[str, float], seconds: float) -> str:
    name = f"{PRODUCER_PREFIX}acknowledged_total"
    if name not in after:
        return "no answer on /metrics"
    parts = [f"{after[name]:,.0f} acknowledged"]
    if name in before and after[name] >= before[name]:
        parts.append(f"{(after[name] - before[name]) / seconds:,.0f} events/s")
    if not after.get(f"{PRODUCER_PREFIX}connected"):
        parts.append("not connected")
    lag = after.get(f"{PRODUCER_PREFIX}source_lag_seconds")
    if lag is not None:
        parts.append(f"{lag:,.1f} s behind the source")
    return ", ".join(parts)


def _superset_figure(instance: Instance, settings: Settings) -> str:
    url = superset.Layout(instance).url
    if not health.answers(f"{url}/health"):
        return f"no answer on {url}/health"
    return f"{url}, log-in {settings.superset_user}{', open to read' if settings.superset_anonymous else ''}"


def metrics(port: int) -> dict[str, float]:
    """Name -> value of a program's `/metrics`, of the samples that carry no label; empty when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{ports.LOOPBACK}:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {sample.name: sample.value for sample in samples if not sample.labels}
