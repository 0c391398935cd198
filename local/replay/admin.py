"""The admin endpoint: state to look at, faults to switch, records to put into the log.

Every answer is JSON. The surprising thing: it has no password; it listens where the server does, on loopback.
"""

import base64
import json
from typing import TYPE_CHECKING, Any

from local.replay import odd
from local.replay.faults import Faults, changed
from local.replay.http import Request, json_answer
from local.replay.lines import layout, parse_dt, split_for_position, text
from local.replay.log import DATA_CENTRES, Line
from local.replay.recording import DEFAULT_TOPIC

if TYPE_CHECKING:
    from local.replay.server import ReplayServer

ACTIONS = ("dc_switch", "retention_s", "refuse_s", "canary", "odd", "cut")
"""What `POST /_admin/faults` does at once, besides the switches of `Faults`."""


async def handle(server: "ReplayServer", request: Request) -> bytes:
    """The answer to a request under `/_admin/`."""
    name = request.path.removeprefix("/_admin/")
    if request.method == "GET":
        if name == "state":
            if request.query.get("flush"):
                server.log.advance(server.playhead.now_ms())
                server.truth.catch_up()
            server.truth.flush()
            return json_answer(200, state(server))
        if name == "faults":
            return json_answer(200, _as_dict(server.faults))
    elif request.method == "POST":
        try:
            body = json.loads(request.body) if request.body.strip() else {}
            if not isinstance(body, dict):
                raise ValueError("expected a JSON object as body")
            return json_answer(200, _post(server, name, body))
        except (ValueError, TypeError, KeyError) as error:
            return json_answer(400, {"error": str(error) or type(error).__name__})
    known = "GET state, faults; POST faults, inject, pause, resume, cut, truth"
    return json_answer(404, {"error": f"no {request.method} {request.path}; there are {known}"})


def _post(server: "ReplayServer", name: str, body: dict[str, Any]) -> dict[str, Any]:
    if name == "faults":
        actions = {key: body.pop(key) for key in list(body) if key in ACTIONS}
        base = Faults() if body.pop("reset", False) else server.faults
        server.set_faults(changed(base, body))
        for action, value in actions.items():
            _act(server, action, value)
        return _as_dict(server.faults)
    if name == "inject":
        return inject(server, body)
    if name in ("pause", "resume"):
        server.is_paused = name == "pause"
        for connection in server.connections.values():
            connection.is_paused = server.is_paused
        return {"paused": server.is_paused}
    if name == "cut":
        _act(server, "cut", body.get("mode", "eof"))
        return {"cut": len(server.connections)}
    if name == "truth":
        server.log.advance(server.playhead.now_ms())
        server.truth.catch_up()
        server.truth.flush()
        return {"records": server.truth.records, "skipped": server.truth.skipped}
    raise ValueError(f"no POST /_admin/{name}; there are faults, inject, pause, resume, cut, truth")


def _act(server: "ReplayServer", action: str, value: Any) -> None:
    if action == "dc_switch":
        if value not in DATA_CENTRES:
            raise ValueError(f"dc_switch is {value!r}; expected one of {', '.join(DATA_CENTRES)}")
        server.log.advance(server.playhead.now_ms())
        server.log.switch(value)
        server.changed.set()
    elif action == "retention_s":
        server.log.retain_from(server.playhead.now_ms() - int(float(value) * 1000))
    elif action == "refuse_s":
        server.refuse(float(value))
    elif action == "cut":
        changed(Faults(), {"cut_mode": value})  # refuses an unknown one
        for connection in server.connections.values():
            connection.cut_now = value
    else:
        kinds = ["canary"] if action == "canary" else ([value] if isinstance(value, str) else value)
        inject(server, {"kinds": kinds})


def inject(server: "ReplayServer", body: dict[str, Any]) -> dict[str, Any]:
    """Puts lines at the head of the log.

    `lines` (text) and `lines_base64` stand as they are, unless `add_position`; `kinds` of `odd.py` get the server's
    position where they parse. `kafka_ms`: epoch ms, or "dt" for the line's own `meta.dt`; none: now.
    """
    server.log.advance(server.playhead.now_ms())
    now_ms = server.playhead.now_ms()
    raw = [str(line).encode("utf-8", "surrogatepass") for line in body.get("lines", [])]
    raw += [base64.b64decode(line, validate=True) for line in body.get("lines_base64", [])]
    made = [line for kind in body.get("kinds", []) for line in odd.make(kind, server.rng, now_ms)]
    for line in raw:
        _append(server, line, body, now_ms, add_position=bool(body.get("add_position", False)))
    for line in made:
        _append(server, line, body, now_ms, add_position=True)
    server.changed.set()
    ids = [_id(line) for line in (*raw, *made)]
    return {"injected": len(ids), "ids": ids, "lines_base64": [base64.b64encode(line).decode() for line in made]}


def _append(server: "ReplayServer", line: bytes, body: dict[str, Any], now_ms: int, *, add_position: bool) -> None:
    kafka_ms = body.get("kafka_ms", now_ms)
    if kafka_ms == "dt":
        found = layout(line)
        kafka_ms = (parse_dt(text(line, found.meta_values.get(b"dt"))) if found else None) or now_ms
    topic = body.get("topic", server.about.get("topic", DEFAULT_TOPIC))
    halves = split_for_position(line) if add_position else None
    head, tail = halves if halves else (line, None)
    server.log.append(Line(str(topic), int(kafka_ms), head, tail))


def _id(line: bytes) -> str | None:
    try:
        value = json.loads(line)["meta"]["id"]
    except (ValueError, TypeError, KeyError):
        return None
    return value if isinstance(value, str) else None


def _as_dict(faults: Faults) -> dict[str, Any]:
    return {name: getattr(faults, name) for name in faults.__dataclass_fields__}


def state(server: "ReplayServer") -> dict[str, Any]:
    """Counts and positions. `finished`: a finite recording has been sent to its end."""
    log, truth = server.log, server.truth
    behind = max(log.end_seq - truth.furthest_seq, 0)
    return {
        "source": server.about,
        "seed": server.seed,
        "now_ms": server.playhead.now_ms(),
        "sent": server.sent,
        "available": log.end_seq,
        "furthest": truth.furthest_seq,
        "behind": behind,
        "finished": log.is_finite and log.is_exhausted and behind == 0,
        "truth_records": truth.records,
        "truth_skipped": truth.skipped,
        "first_offsets": {topic: log.first_offset(topic) for topic in log.topics},
        "end_offsets": {topic: log.end_offset(topic) for topic in log.topics},
        "connections": [
            {"number": n, "seq": c.seq, "sent": c.sent, "bytes": c.sent_bytes} for n, c in server.connections.items()
        ],
        "counts": dict(server.counts),
        "ended": dict(server.ended),
        "paused": server.is_paused,
        "refusing": server.refused_until is not None,
        "faults": _as_dict(server.faults),
    }
