"""A replay server as tests use it: what they tell it, lines of their own, the end of what a producer reads from it.

The surprising thing: a source that says nothing more is not enough for an end. What a killed producer had in flight
comes again with its next connection, and what it has read may still be on its way into Kafka.
"""

import base64
import json
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from kafka.errors import KafkaError

from local import ports
from tests.integration.parts import wait_for

QUIET_SECONDS = 3.0
"""How long nothing must have entered Kafka before the producer counts as done."""


def admin(port: int, path: str, body: Any = None) -> Any:
    """A call of a replay server's admin interface."""
    url = f"http://{ports.LOOPBACK}:{port}/_admin/{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def inject(port: int, lines: Sequence[bytes]) -> None:
    """Put these exact bytes at the head of a replay server's log."""
    admin(port, "inject", {"lines_base64": [base64.b64encode(line).decode() for line in lines]})


def drain_producer(
    port: int,
    counts: Callable[[], dict[str, int]],
    seconds: float,
    logs: Callable[[], str],
    quiet_seconds: float = QUIET_SECONDS,
) -> dict[str, int]:
    """Let the source's log end here, and wait until the producer has read it all and Kafka is quiet; its counts then.

    `counts`: what is in Kafka, now; `logs`: what a time-out shows. An endless source is paused, and only while a
    connection is there that has been sent all there is, because the next connection must not find the source paused.
    """
    admin(port, "resume", {})

    def at_end(state: dict[str, Any]) -> set[int]:
        return {link["number"] for link in state["connections"] if link["seq"] >= state["furthest"]}

    def is_at_end() -> bool:
        state = admin(port, "state")
        if state["source"]["kind"] == "recording":
            return bool(state["finished"] and at_end(state))
        if at_end(state):
            admin(port, "pause", {})
            if at_end(state) & at_end(admin(port, "state")):
                return True
            admin(port, "resume", {})
        return False

    wait_for(is_at_end, seconds, lambda: f"the producer to have read all of {admin(port, 'state')}\n{logs()}")
    last: dict[str, int] = {}
    since = time.monotonic()

    def is_quiet() -> bool:
        nonlocal last, since
        try:
            now = counts()
        except KafkaError:  # a broker that is starved of time is away for the moment
            now = {}
        if now != last or not now:
            last, since = now, time.monotonic()
        return time.monotonic() - since > quiet_seconds

    wait_for(is_quiet, seconds, lambda: f"Kafka to be quiet, {last}\n{logs()}")
    return last
