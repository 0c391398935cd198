"""Health by the age of the last acknowledgement; metrics as Prometheus reads them."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingestion.health import Health, HealthServer
from ingestion.metrics import Tally
from tests.unit.ingestion.support import EQIAD, T0, HandClock


@pytest.fixture
def served() -> Iterator[tuple[Tally, HandClock, HealthServer]]:
    tally, clock = Tally(), HandClock()
    server = HealthServer(Health(tally, clock), tally, clock, 0)
    yield tally, clock, server
    server.close()


def ask(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_bad_until_something_is_acknowledged_and_bad_again_within_30_s(
    served: tuple[Tally, HandClock, HealthServer],
) -> None:
    tally, clock, server = served
    assert ask(server, "/healthz")[0] == 503
    tally.last_acknowledged_at = clock.monotonic()
    assert ask(server, "/healthz")[0] == 200
    clock.sleep(15)
    assert ask(server, "/healthz")[0] == 200
    clock.sleep(14)
    status, body = ask(server, "/healthz")
    assert status == 503
    assert "nothing acknowledged for 29 s" in json.loads(body)["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"in_flight": 7, "is_connected": True}, "Kafka does not answer for 7 records"),
        ({"is_connected": True}, "connected and silent"),
        ({"source_state": "waiting 12.0 s after http_5xx"}, "waiting 12.0 s after http_5xx"),
    ],
)
def test_the_reason_names_the_part(
    served: tuple[Tally, HandClock, HealthServer], change: dict[str, object], reason: str
) -> None:
    tally, _, server = served
    for name, value in change.items():
        setattr(tally, name, value)
    assert reason in json.loads(ask(server, "/healthz")[1])["reason"]


def test_metrics(served: tuple[Tally, HandClock, HealthServer]) -> None:
    tally, clock, server = served
    tally.count_event(EQIAD[0], "edit")
    tally.count_event(EQIAD[0], "edit")
    tally.count_event(EQIAD[0], 'a "type"\n')
    tally.dead_letters["too_large"] = 3
    tally.reconnects["planned_cut"] = 2
    tally.acknowledged = 5
    tally.canaries, tally.last_canary_at = 1, clock.monotonic() - 60
    tally.last_dt, tally.last_received_ms = clock.now().isoformat(), T0 + 1500
    tally.cursor = {EQIAD: T0}
    status, text = ask(server, "/metrics")
    assert status == 200
    values = {
        (sample.name.removeprefix("wikiweir_producer_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["events_total", EQIAD[0], "edit"] == 2
    assert values["events_total", EQIAD[0], 'a "type"\n'] == 1
    assert values["dead_letters_total", "too_large"] == 3
    assert values["reconnects_total", "planned_cut"] == 2
    assert values["acknowledged_total",] == 5
    assert values["canary_age_seconds",] == 60
    assert values["source_lag_seconds",] == pytest.approx(1.5)
    assert values["cursor_timestamp_seconds", "0", EQIAD[0]] == T0 / 1000


def test_anything_else_is_404(served: tuple[Tally, HandClock, HealthServer]) -> None:
    assert ask(served[2], "/")[0] == 404
