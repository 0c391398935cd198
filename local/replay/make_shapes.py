"""Distils `shapes.json` from recorded events: what is typical of them, and nothing anybody wrote.

Kept: wikis and their namespace names, which fields stand together how often, JSON types inside `log_params`,
distributions of lengths and delays. Dropped: every title, user, comment, id and time. Run it again with
`python -m local.replay.make_shapes FOLDER` where FOLDER holds the recordings.
"""

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from local.replay.lines import parse_dt

SOURCES = {
    "recentchange-kirajano": 2,
    "recentchange-visaalpathak": 4,
    "recentchange-dataplumbhub": 4,
    "recentchange-muratcolak78": 5,
    "recentchange-sat99496": 5,
}
"""Recordings of whole streams and their weights: the newer are smaller and count for more."""

LOG_SOURCES = ("recentchange-amommendes", "recentchange-editgroups")
"""Older recordings, of which only the odd `log_params` are taken, once each."""

SERVERS = {
    "enwiktionary": "en.wiktionary.org",
    "miwiktionary": "mi.wiktionary.org",
    "mediawikiwiki": "www.mediawiki.org",
    "outreachwiki": "outreach.wikimedia.org",
}
"""Wikis recorded under the shared log-in server only."""

OUTPUT = Path(__file__).with_name("shapes.json")
LOWEST_COUNT_OF_NAMESPACE_NAME = 2
QUANTILES = 65
_WORDS_KEPT = {
    "", "0", "1", "autopromote", "block", "createaccount", "delete", "disallow", "edit", "editor", "infinity", "move",
    "nocreate", "nocreate,noautoblock", "anononly,nocreate", "revision", "sysop", "tag", "throttle", "upload",
    "warn", "warn,tag", "disallow,tag", "autoconfirmed", "rollbacker", "patroller", "autopatrolled", "mobile edit",
    "mobile web edit", "visualeditor", "mw-reverted",
}  # fmt: skip
"""Values of `log_params` that MediaWiki's software writes; any other text is replaced."""


def events(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The events of one recording."""
    with gzip.open(folder / f"{name}.ndjson.gz", "rb") as lines:
        for line in lines:
            yield json.loads(line)


def user_class(event: dict[str, Any]) -> str:
    """Coarse class of the event's user."""
    user = event.get("user")
    if user is None:
        return "hidden"
    if event.get("bot"):
        return "bot"
    if re.match(r"~20\d\d-", user):
        return "temporary"
    if re.fullmatch(r"[0-9.]{7,15}|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*", user):
        return "anonymous"
    return "registered"


def template(value: Any) -> Any:
    """`log_params` with everything individual replaced: `<int>`, `<digits>`, `<word>`; JSON types stay."""
    if isinstance(value, dict):
        return {key: template(item) for key, item in value.items() if not re.search(r"\d{3}", key)}
    if isinstance(value, list):
        return [template(item) for item in value[:4]]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in (0, 1) else "<int>"
    if value in _WORDS_KEPT:
        return value
    return "<digits>" if str(value).isdigit() else "<word>"


def quantiles(values: Iterable[int]) -> list[int]:
    """65 evenly spaced quantiles."""
    ordered = sorted(values)
    return [ordered[round(i * (len(ordered) - 1) / (QUANTILES - 1))] for i in range(QUANTILES)]


def distil(folder: Path) -> dict[str, Any]:
    """The document of `shapes.json`."""
    shapes: Counter[tuple[Any, ...]] = Counter()
    logs: Counter[str] = Counter()
    servers: dict[str, str] = {}
    namespaces: dict[str, Counter[tuple[int, str]]] = {}
    measured: dict[str, list[int]] = {}
    for name, weight in SOURCES.items():
        for event in events(folder, name):
            if event["meta"]["domain"] == "canary":
                continue
            wiki, type_ = event["wiki"], event["type"]
            servers.setdefault(wiki, SERVERS.get(wiki, event["server_name"]))
            log = None
            if type_ == "log":
                log = _log(event)
                logs[log] += weight
            prefix, colon, _ = event["title"].partition(":")
            if colon and event["namespace"]:
                namespaces.setdefault(wiki, Counter())[event["namespace"], prefix] += 1
            key = (wiki, type_, event["namespace"], user_class(event), event.get("minor"), event.get("patrolled"), log)
            shapes[key] += weight
            _measure(event, measured)
    for name in LOG_SOURCES:
        for event in events(folder, name):
            if event["type"] == "log" and _log(event) not in logs:
                logs[_log(event)] += 1
                key = ("wikidatawiki", "log", 0, user_class(event), None, None, _log(event))
                shapes[key] += 1
    log_numbers = {log: number for number, log in enumerate(sorted(logs))}
    return {
        "wikis": {
            wiki: {"server": server, "namespaces": _names(namespaces.get(wiki, Counter()))}
            for wiki, server in sorted(servers.items())
        },
        "logs": [json.loads(log) for log in sorted(logs)],
        "columns": ["wiki", "type", "namespace", "user_class", "minor", "patrolled", "log", "count"],
        "shapes": [
            [*key[:6], None if key[6] is None else log_numbers[key[6]], count]
            for key, count in sorted(shapes.items(), key=lambda item: json.dumps(item[0]))
        ],
        "quantiles": {name: quantiles(values) for name, values in sorted(measured.items())},
    }


def _log(event: dict[str, Any]) -> str:
    return json.dumps(
        {
            "type": event["log_type"],
            "action": event["log_action"],
            "has_id": event.get("id") is not None,
            "has_log_id": bool(event["log_id"]),
            "params": template(event["log_params"]),
        }
    )


def _measure(event: dict[str, Any], into: dict[str, list[int]]) -> None:
    def put(name: str, value: int) -> None:
        into.setdefault(name, []).append(value)

    dt = event["meta"]["dt"]
    ms = parse_dt(dt)
    if "." in dt and ms is not None:
        put("delay_ms", ms - event["timestamp"] * 1000)
    if event["namespace"] == 0 and event["wiki"] != "wikidatawiki":
        put("title_characters", len(event["title"]))
    if event["type"] in ("edit", "new", "log"):
        put("comment_characters", len(event["comment"]))
    length = event.get("length")
    if event["type"] == "edit" and length:
        put("old_bytes", length["old"])
        who = "bot" if event["bot"] else "people"
        put(f"change_bytes_{who}", length["new"] - length["old"])
    elif event["type"] == "new" and length:
        put("new_bytes", length["new"])
    if event["type"] == "edit" and event.get("revision"):
        put("revision_gap", event["revision"]["new"] - event["revision"]["old"])


def _names(seen: Counter[tuple[int, str]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for (namespace, prefix), count in seen.most_common():
        if count >= LOWEST_COUNT_OF_NAMESPACE_NAME and len(prefix) < 24:
            names.setdefault(str(namespace), prefix)
    return names


def main() -> None:
    """Reads the recordings and writes the file beside this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of recentchange-*.ndjson.gz")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    document = distil(arguments.folder)
    rows = {key: value for key, value in document.items() if key != "shapes"}
    body = json.dumps(rows, ensure_ascii=False, indent=1, sort_keys=False)
    shapes = ",\n".join(f"  {json.dumps(shape, ensure_ascii=False)}" for shape in document["shapes"])
    arguments.output.write_text(f'{body[:-2]},\n "shapes": [\n{shapes}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
