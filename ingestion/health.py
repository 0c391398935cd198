"""`/healthz` and `/metrics` of the producer, on loopback.

The surprising thing: health is judged by age of the last acknowledgement alone, because every fault that stops progress
(source silent or refusing, Kafka away, the main loop stuck) ends in that; the rest of the answer says which one it is.
"""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ingestion.metrics import ProducerCollector, Tally, source_lag_seconds
from wikiweir.clock import Clock

log = logging.getLogger(__name__)

STALE_SECONDS = 20.0
"""A fault must show within 30 s; at 35 events/s even 10 s without one are abnormal."""


class Health:
    """Judges a tally; callable from any thread."""

    def __init__(self, tally: Tally, clock: Clock, *, stale_seconds: float = STALE_SECONDS) -> None:
        self._tally = tally
        self._clock = clock
        self._stale_seconds = stale_seconds

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether the producer makes progress, and what an operator wants to know first."""
        tally = self._tally
        last = tally.last_acknowledged_at
        age = None if last is None else self._clock.monotonic() - last
        is_healthy = age is not None and age <= self._stale_seconds
        lag = source_lag_seconds(tally)
        return is_healthy, {
            "status": "ok" if is_healthy else "bad",
            "reason": "" if is_healthy else self._reason(age),
            "source": tally.source_state,
            "acknowledged": tally.acknowledged,
            "acknowledged_age_seconds": None if age is None else round(age, 1),
            "in_flight": tally.in_flight,
            "source_lag_seconds": None if lag is None else round(lag, 1),
        }

    def _reason(self, age: float | None) -> str:
        since = "yet" if age is None else f"for {age:.0f} s (bound {self._stale_seconds:g} s)"
        tally = self._tally
        if tally.in_flight:
            return f"nothing acknowledged {since}: Kafka does not answer for {tally.in_flight} records"
        if tally.is_connected:
            return f"nothing acknowledged {since}: the source is connected and silent"
        return f"nothing acknowledged {since}: source {tally.source_state}"


class HealthServer:
    """Serves until closed. Port 0 takes a free one, see `port`."""

    def __init__(self, health: Health, tally: Tally, clock: Clock, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(ProducerCollector(tally, clock))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif self.path == "/healthz":
                    is_healthy, report = health.report()
                    self._answer(200 if is_healthy else 503, "application/json", json.dumps(report).encode())
                else:
                    self._answer(404, "text/plain", b"expected /healthz or /metrics\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                log.debug(format, *args)

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
