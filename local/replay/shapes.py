"""Recorded shapes as templates: `shapes.json` made ready for substitution.

A template is a JSON line with its constant parts (wiki, type, flags) already in place. The surprising thing: it
is cut in two where `meta` ends, because the server puts a record's position there.
"""

import json
import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from local.replay.pools import Wiki

_EXTRA_LOGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("wikidatawiki", {"type": "tag", "action": "update", "has_id": False, "has_log_id": True,
     "params": {"revid": "<digits>", "logid": None, "tagsAdded": ["<word>"], "initialTags": {"0": "<word>"}}}),
    ("enwiki", {"type": "abusefilter", "action": "hit", "has_id": False, "has_log_id": False,
     "params": ["<word>", "<word>"]}),
    ("ruwiki", {"type": "review", "action": "approve-a", "has_id": False, "has_log_id": True,
     "params": ["<digits>", "<digits>", "<digits>"]}),
    ("frwiki", {"type": "import", "action": "upload", "has_id": True, "has_log_id": True, "params": "<word>"}),
    ("enwiki", {"type": "rights", "action": "rights", "has_id": True, "has_log_id": True,
     "params": {"oldgroups": [], "newgroups": ["<word>", "sysop"]}}),
    ("dewiki", {"type": "protect", "action": "protect", "has_id": True, "has_log_id": True,
     "params": {"description": "<word>", "cascade": False,
                "details": [{"type": "edit", "level": "sysop", "expiry": "infinity"}]}}),
)  # fmt: skip
"""Shapes of `log_params` seen in other recordings, too rare to be in the sample."""
_ODD = (
    ("ruwiki", "edit", 0, "hidden"),
    ("frwiki", "142", 2600, "registered"),
    ("enwiki", "external", 0, "registered"),
    ("ruwiki", "categorize", 14, "hidden"),
    ("commonswiki", "log", 6, "hidden"),
)
"""Wiki, type, namespace and user class of what hardly ever happens."""
_FILLINGS = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """A template. `head` and `tail` want their values filled in; which, depends on the type."""

    wiki: Wiki
    type: str
    namespace: int
    user_class: str
    head: bytes
    tail: bytes
    """From `type` on."""
    log_params: tuple[bytes, ...]
    has_id: bool
    has_log_id: bool


@dataclass(frozen=True, slots=True)
class Shapes:
    """Everything distilled from the recordings."""

    table: list[Shape]
    """Every shape as often as it was seen, so that drawing one is an index."""
    odd: list[Shape]
    quantiles: dict[str, list[int]]


@cache
def load(seed: int) -> Shapes:
    """The committed shapes, with the wikis' pools seeded; made once a seed, and never changed."""
    document = json.loads((files("local.replay") / "shapes.json").read_text(encoding="utf-8"))
    quantiles: dict[str, list[int]] = document["quantiles"]
    rows: list[list[Any]] = document["shapes"]
    total = sum(row[-1] for row in rows)
    wikis: dict[str, Wiki] = {}
    for name, about in document["wikis"].items():
        share = sum(row[-1] for row in rows if row[0] == name) / total
        wikis[name] = Wiki(name, about["server"], about["namespaces"], share, seed, quantiles["comment_characters"])
    rng = random.Random(f"{seed}:logs")
    logs = [(log, _fillings(log["params"], rng)) for log in document["logs"]]
    table: list[Shape] = []
    for name, type_, namespace, user_class, minor, patrolled, number, count in rows:
        log, params = logs[number] if number is not None else (None, ())
        marks = _marks(minor, patrolled)
        table += [_shape(wikis[name], type_, namespace, user_class, marks, log, params)] * count
    for name, log in _EXTRA_LOGS:
        table.append(_shape(wikis[name], "log", 0, "registered", b"", log, _fillings(log["params"], rng)))
    plain = document["logs"][-1]
    odd = [
        _shape(wikis[name], type_, namespace, user_class, b"", plain if type_ == "log" else None, (b"[]",))
        for name, type_, namespace, user_class in _ODD
    ]
    return Shapes(table, odd, quantiles)


def _marks(minor: bool | None, patrolled: bool | None) -> bytes:
    given = ((b"minor", minor), (b"patrolled", patrolled))
    return b"".join(b'"%s":%s,' % (key, b"true" if value else b"false") for key, value in given if value is not None)


def _shape(
    wiki: Wiki,
    type_: str,
    namespace: int,
    user_class: str,
    marks: bytes,
    log: dict[str, Any] | None,
    params: tuple[bytes, ...],
) -> Shape:
    if user_class == "anonymous" and len(wiki.name) % 3:
        user_class = "temporary"  # recorded before temporary accounts came to most wikis
    log = log or {}
    # accounts are created on the shared log-in server, whatever the wiki
    server = b"auth.wikimedia.org" if log.get("type") == "newusers" else wiki.server
    head = (
        b'{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"uri":"https://%s/wiki/%%b","request_id":'
        b'"%%08x-%%04x-4%%03x-%%04x-%%012x","id":"%%08x-%%04x-4%%03x-%%04x-%%012x","domain":"%s",'
        b'"stream":"mediawiki.recentchange","dt":"%%b"' % (server, server)
    )
    begin = (
        b'"type":"%s","namespace":%d,"title":"%%b","title_url":"https://%s/wiki/%%b","comment":"%%b",'
        b'"timestamp":%%d,%s"bot":%s,'
        % (
            type_.encode(),
            namespace,
            server,
            b"" if user_class == "hidden" else b'"user":"%b",',
            b"true" if user_class == "bot" else b"false",
        )
    )
    end = (
        b'"server_url":"https://%s","server_name":"%s","server_script_path":"/w","wiki":"%s","parsedcomment":"%%b"}'
        % (server, server, wiki.name)
    )
    return Shape(
        wiki=wiki,
        type=type_,
        namespace=namespace,
        user_class=user_class,
        head=head,
        tail=begin + _middle(type_, server, marks, log) + end,
        log_params=params,
        has_id=log.get("has_id", True),
        has_log_id=log.get("has_log_id", False),
    )


def _middle(type_: str, server: bytes, marks: bytes, log: dict[str, Any]) -> bytes:
    notify = b'"notify_url":"https://%s/w/index.php?' % server
    if type_ == "edit":
        sizes = b'"length":{"old":%d,"new":%d},"revision":{"old":%d,"new":%d},'
        return notify + b'diff=%d&oldid=%d",' + marks + sizes
    if type_ == "new":
        return notify + b'oldid=%d&rcid=%d",' + marks + b'"length":{"new":%d},"revision":{"new":%d},'
    if type_ == "categorize":
        return notify + b'diff=%d&oldid=%d&rcid=%d",'
    if type_ == "log":
        return b'"log_id":%%d,"log_type":"%s","log_action":"%s","log_params":%%b,"log_action_comment":"%%b",' % (
            log["type"].encode(),
            log["action"].encode(),
        )
    return b""


def _fillings(params: Any, rng: random.Random) -> tuple[bytes, ...]:
    """Some fillings of a `log_params` template."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        if value == "<int>":
            return rng.randint(2, 50_000_000_000 if rng.random() < 0.1 else 90_000_000)
        if value == "<digits>":
            return str(rng.randint(1, 10**9))
        return rng.choice(("Larnel", "Vesor kor", "hagomi", "Ωmega", "бавего")) if value == "<word>" else value

    return tuple(json.dumps(fill(params), ensure_ascii=False, separators=(",", ":")).encode() for _ in range(_FILLINGS))
