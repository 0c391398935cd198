"""Carries progress out of the driver: rows in `ops` every other second, `/metrics` and `/healthz` on loopback.

It also writes down when the producer has read past the end of an hour, for the batch layer to wait for.

The surprising thing: it has a PostgreSQL connection of its own and may fail as it likes; what it could not write it
writes the next time, and `/healthz` says meanwhile what is wrong.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg2
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from jobs.lib import ledger, offsets
from jobs.lib.hour_ends import CursorTopic, HourEnd, hour_end
from jobs.lib.offsets import Gap
from jobs.lib.postgres import connect
from jobs.lib.progress import QueryProgress
from wikiweir.settings import Settings

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Incident:
    """Something to be written down as soon as PostgreSQL answers."""

    query: str
    kind: str
    message: str
    details: dict[str, Any]
    gaps: tuple[Gap, ...] = ()


@dataclass(kw_only=True, eq=False)
class Reporter:
    """Looks at Kafka's end, and tells. `port` 0: no web server."""

    settings: Settings
    queries: list[QueryProgress]
    stop: threading.Event
    port: int
    trouble: dict[str, str] = field(default_factory=dict)
    """What is away, by name: `kafka`, `postgres`."""
    _incidents: deque[Incident] = field(default_factory=deque)
    _connection: Connection | None = None
    _topic: offsets.Topic | None = None
    _cursors: CursorTopic | None = None
    _hour_end: HourEnd | None = None
    _written: HourEnd | None = None
    _server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Open the port, which fails loudly if it is taken, and begin."""
        if self.port:
            self._server = ThreadingHTTPServer((LOOPBACK, self.port), _handler(self))
            threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()
        threading.Thread(target=self._run, name="reporter", daemon=True).start()

    def note(self, incident: Incident) -> None:
        """Have it written to `ops.incidents` and `ops.stream_gaps`."""
        self._incidents.append(incident)

    def _run(self) -> None:
        while not self.stop.wait(EVERY_SECONDS):
            self.once()
        self.once()

    def once(self) -> None:
        """One look, one report."""
        try:
            bootstrap = self.settings.kafka_bootstrap
            self._topic = self._topic or offsets.Topic(bootstrap, self.settings.events_topic)
            self._cursors = self._cursors or CursorTopic(bootstrap, self.settings.cursors_topic, self.settings.streams)
            cursor = self._cursors.newest()
            ends = self._topic.latest()
            if cursor is not None:
                self._hour_end = hour_end(cursor, ends, self.settings.hour_grace)
            for query in self.queries:
                query.kafka_is_at(ends)
            self.trouble.pop("kafka", None)
        except (KafkaError, LookupError, OSError) as failure:
            self._say("kafka", failure)
        try:
            self._write()
            self.trouble.pop("postgres", None)
        except psycopg2.Error as failure:
            self._connection = None
            self._say("postgres", failure)

    def _say(self, what: str, failure: Exception) -> None:
        message = f"{type(failure).__name__}: {str(failure).strip()[:200]}"
        if what not in self.trouble:
            log.warning("%s does not answer: %s", what, message)
        self.trouble[what] = message

    def _write(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.settings.postgres_dsn("stream"), "wikiweir-stream-progress")
        with self._connection.cursor() as cursor:
            for query in self.queries:
                row = query.row()
                for name in ("end_offsets", "kafka_end_offsets"):
                    row[name] = Json(row[name])
                cursor.execute(_UPSERT, row)
            if (found := self._hour_end) and (self._written is None or found.hour > self._written.hour):
                row = found.row()
                cursor.execute(_HOUR_END, {**row, "end_offsets": Json(row["end_offsets"])})
                self._written = found
            while self._incidents:
                incident = self._incidents[0]
                cursor.execute("BEGIN")
                ledger.open_incident(
                    cursor,
                    incident.kind,
                    incident.query,
                    incident.message,
                    incident.details,
                    is_over=not incident.gaps,
                )
                ledger.record_gaps(cursor, incident.query, None, incident.gaps)
                cursor.execute("COMMIT")
                self._incidents.popleft()

    def health(self) -> dict[str, Any]:
        """What `/healthz` says; `complaints` is empty when all is well."""
        complaints = [complaint for query in self.queries if (complaint := query.complaint())]
        complaints += [f"{what} does not answer: {why}" for what, why in self.trouble.items()]
        rows = {query.name: {**query.row(), "newest_event_at": str(query.newest_event_at)} for query in self.queries}
        return {"healthy": not complaints, "complaints": complaints, "queries": rows}

    def collect(self) -> list[Any]:
        """Metrics, made when they are asked for (prometheus-client's collector protocol)."""
        gauges: dict[str, tuple[str, Callable[[QueryProgress], float | None]]] = {
            "wikiweir_stream_lag_records": ("Records in Kafka that are not in yet.", lambda q: q.lag),
            "wikiweir_stream_seconds_behind": (
                "Age of the newest state of Kafka that is in.",
                lambda q: q.seconds_behind,
            ),
            "wikiweir_stream_rows_per_second": ("Records committed a second.", lambda q: q.rows_per_second),
            "wikiweir_stream_healthy": ("1 while it runs and commits.", lambda q: q.complaint() is None),
        }
        found: list[Any] = []
        for name, (text, value) in gauges.items():
            family = GaugeMetricFamily(name, text, labels=["query"])
            for query in self.queries:
                if (number := value(query)) is not None:
                    family.add_metric([query.name], float(number))
            found.append(family)
        records = CounterMetricFamily("wikiweir_stream_records", "Records committed.", labels=["query", "outcome"])
        restarts = CounterMetricFamily("wikiweir_stream_restarts", "Restarts of the query.", labels=["query"])
        for query in self.queries:
            restarts.add_metric([query.name], query.restarts)
            for outcome, count in dict(query.records).items():
                records.add_metric([query.name, outcome], count)
        return [*found, records, restarts]


_HOUR_END = (
    "INSERT INTO ops.hour_ends (hour, cursor_at, end_offsets) VALUES (%(hour)s, %(cursor_at)s, %(end_offsets)s)"
    " ON CONFLICT (hour) DO NOTHING"
)
_COLUMNS = (
    "query",
    "generation",
    "state",
    "checkpoint_id",
    "batch_id",
    "end_offsets",
    "kafka_end_offsets",
    "lag",
    "rows_per_second",
    "newest_event_at",
    "seconds_behind",
    "message",
)
_UPSERT = (
    f"INSERT INTO ops.stream_progress ({', '.join(_COLUMNS)}, updated_at)"
    f" VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)}, now())"
    " ON CONFLICT (query) DO UPDATE SET updated_at = excluded.updated_at, "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
)


def _handler(reporter: Reporter) -> type[BaseHTTPRequestHandler]:
    registry = CollectorRegistry()
    registry.register(reporter)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(registry))
            elif self.path == "/healthz":
                health = reporter.health()
                body = json.dumps(health, indent=1).encode()
                self._answer(200 if health["healthy"] else 503, "application/json", body)
            else:
                self._answer(404, "text/plain", b"expected /metrics or /healthz\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged: a scrape every few seconds says nothing."""

    return Handler
