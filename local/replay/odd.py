"""Odd records on order, for tests: what the real stream holds rarely, or what only a broken one would hold.

Each kind makes the raw lines to put into the log, in order. The surprising thing: `bad_json`, `not_json` and
`invalid_utf8` never leave the real server (it drops what it cannot parse); a relay must survive them anyway.
"""

import json
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

from local.replay.lines import format_dt
from local.replay.seconds import canary

_DAY_MS = 86_400_000


def _event(rng: random.Random, now_ms: int, **changes: Any) -> dict[str, Any]:
    """A plain edit; a change to `...` removes the key."""
    uuid = str(UUID(int=rng.getrandbits(128), version=4))
    event: dict[str, Any] = {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "meta": {
            "uri": "https://en.wikipedia.org/wiki/Lenmar_Vesor",
            "request_id": str(UUID(int=rng.getrandbits(128), version=4)),
            "id": uuid,
            "domain": "en.wikipedia.org",
            "stream": "mediawiki.recentchange",
            "dt": format_dt(now_ms),
        },
        "id": 3_500_000_000 + rng.getrandbits(20),
        "type": "edit",
        "namespace": 0,
        "title": "Lenmar Vesor",
        "title_url": "https://en.wikipedia.org/wiki/Lenmar_Vesor",
        "comment": "hago mira",
        "timestamp": now_ms // 1000 - 1,
        "user": "Odd Lenmar",
        "bot": False,
        "minor": False,
        "length": {"old": 100, "new": 142},
        "revision": {"old": 2_600_000_001, "new": 2_600_000_002},
        "server_url": "https://en.wikipedia.org",
        "server_name": "en.wikipedia.org",
        "server_script_path": "/w",
        "wiki": "enwiki",
        "parsedcomment": "hago mira",
    }
    meta = changes.pop("meta", {})
    for target, values in ((event, changes), (event["meta"], meta)):
        for key, value in values.items():
            if value is ...:
                target.pop(key, None)
            else:
                target[key] = value
    return event


def _dump(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _one(**changes: Any) -> Callable[[random.Random, int], list[bytes]]:
    return lambda rng, now_ms: [_dump(_event(rng, now_ms, **changes))]


def _dated(days: float) -> Callable[[random.Random, int], list[bytes]]:
    def make(rng: random.Random, now_ms: int) -> list[bytes]:
        return [_dump(_event(rng, now_ms, timestamp=(now_ms + int(days * _DAY_MS)) // 1000))]

    return make


def _meta_dated(days: float) -> Callable[[random.Random, int], list[bytes]]:
    def make(rng: random.Random, now_ms: int) -> list[bytes]:
        then = now_ms + int(days * _DAY_MS)
        return [_dump(_event(rng, now_ms, meta={"dt": format_dt(then)}, timestamp=then // 1000))]

    return make


def _with_escape(field: str, escape: bytes) -> Callable[[random.Random, int], list[bytes]]:
    return lambda rng, now_ms: [_dump(_event(rng, now_ms, **{field: "be@@fore"})).replace(b"@@", escape)]


def _log_params(params: Any) -> Callable[[random.Random, int], list[bytes]]:
    return _one(
        type="log", minor=..., length=..., revision=..., id=..., log_id=0, log_type="abusefilter", log_action="hit",
        log_params=params, log_action_comment="odd",
    )  # fmt: skip


def _twins(rng: random.Random, now_ms: int, first: dict[str, Any], second: dict[str, Any]) -> list[bytes]:
    a = _event(rng, now_ms, **first)
    b = _event(rng, now_ms, **second)
    b["meta"]["id"] = a["meta"]["id"]
    return [_dump(a), _dump(b)]


def _canary(rng: random.Random, now_ms: int) -> list[bytes]:
    head, tail = canary(now_ms, rng)
    return [head + tail]


KINDS: dict[str, Callable[[random.Random, int], list[bytes]]] = {
    "plain": _one(),
    "canary": _canary,
    "type_142": _one(type="142", namespace=2600, minor=..., length=..., revision=...),
    "unknown_type": _one(type="quantum"),
    "unknown_fields": _one(unheard_of={"a": [1, 2]}, meta={"also_new": None}),
    "missing_user": _one(user=...),
    "missing_id": _one(id=...),
    "missing_length": _one(length=...),
    "missing_old_length": _one(length={"new": 77}),
    "null_length": _one(length={"old": None, "new": 77}),
    "missing_keys": _one(**dict.fromkeys(("user", "type", "wiki", "title", "timestamp", "server_name", "length"), ...)),
    "missing_timestamp": _one(timestamp=...),
    "missing_dt": _one(meta={"dt": ...}),
    "missing_meta_id": _one(meta={"id": ...}),
    "empty_meta": _one(meta=dict.fromkeys(("uri", "request_id", "id", "domain", "stream", "dt"), ...)),
    "id_no_uuid": _one(meta={"id": "XPOLdgpAIDUAAKf3t14AAACI"}),
    "wrong_types": _one(namespace="0", bot="false", timestamp="soon", length={"old": "1", "new": 2}, user=17),
    "log_params_object": _log_params({"action": "edit", "filter": "1057", "actions": "tag", "log": 42_975_743}),
    "log_params_array": _log_params(["a", "b"]),
    "log_params_empty_array": _log_params([]),
    "log_params_string": _log_params("a string"),
    "log_params_number_filter": _log_params({"action": "edit", "filter": 1057, "actions": "", "log": 1}),
    "nul": _with_escape("comment", b"\\u0000"),
    "nul_in_title": _with_escape("title", b"\\u0000"),
    "nul_in_user": _with_escape("user", b"\\u0000"),
    "lone_surrogate": _with_escape("comment", b"\\ud83d"),
    "lone_surrogate_in_title": _with_escape("title", b"\\udc00"),
    "lone_surrogate_in_user": _with_escape("user", b"\\ud83d"),
    "line_separator": _with_escape("title", "\u2028".encode()),
    "huge_comment": _one(comment="hago " * 209_716, parsedcomment=""),
    "over_10_mb": _one(comment="x" * (10 * 1024**2 + 1), parsedcomment=""),
    "long_title": _one(title="Lange " * 100),
    "long_user": _one(user="Lange" * 120),
    "astral_title": _one(title="🦉" * 128),
    "hostile_title": _one(title='<img src=x onerror="alert(1)">', user='=HYPERLINK("http://192.0.2.1","x")'),
    "ids_64_bit": _one(id=9_007_199_254_740_991, revision={"old": 5_000_000_000, "new": 5_000_000_001}),
    "beyond_64_bit": _one(id=2**70, namespace=2**40, length={"old": 0, "new": 2**65}),
    "ip_user": _one(user="203.0.113.77", title="User talk:203.0.113.77", namespace=3),
    "ipv6_user": _one(user="2001:DB8:5:0:0:0:0:77"),
    "temporary_user": _one(user="~2026-31337-42"),
    "timestamp_2016": _dated(-3600.0),
    "timestamp_tomorrow": _dated(1.0),
    "timestamp_six_days_old": _dated(-6.0),
    "dt_2016": _meta_dated(-3600.0),
    "dt_tomorrow": _meta_dated(1.0),
    "dt_six_days_old": _meta_dated(-6.0),
    "same_title_and_id_on_two_wikis": lambda rng, now_ms: [
        _dump(_event(rng, now_ms, id=77, wiki=f"{language}wiki", server_name=f"{language}.wikipedia.org"))
        for language in ("de", "fr")
    ],
    "same_id_two_titles": lambda rng, now_ms: _twins(rng, now_ms, {"title": "First"}, {"title": "Second"}),
    "rejected_then_good": lambda rng, now_ms: _twins(rng, now_ms, {"title": "Lange " * 100}, {"title": "Good"}),
    "twice": lambda rng, now_ms: [_dump(_event(rng, now_ms))] * 2,
    "bad_json": lambda rng, now_ms: [_dump(_event(rng, now_ms))[:-40] + b'"},,}'],
    "truncated_json": lambda rng, now_ms: [_dump(_event(rng, now_ms))[:300]],
    "not_json": lambda rng, now_ms: [b"<html>no</html>"],
    "not_object": lambda rng, now_ms: [b'["an","array"]'],
    "invalid_utf8": lambda rng, now_ms: [_dump(_event(rng, now_ms)).replace(b"hago", b"\xff\xfe\xc3(")],
}  # fmt: skip
"""Every kind by name: (random numbers, now in ms) -> raw lines without the server's position."""


def make(kind: str, rng: random.Random, now_ms: int) -> list[bytes]:
    """The lines of one kind; raises ValueError with the known names."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(sorted(KINDS))}")
    return KINDS[kind](rng, now_ms)
