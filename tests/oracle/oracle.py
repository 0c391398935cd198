"""Every number that both layers should hold, from the Kafka records and the written rules alone, in plain Python.

Produces one sorted NDJSON file a table (first line: its columns and the length of its key) and `summary.json`, from
NDJSON of records in (partition, offset) order. The surprising thing: it imports nothing of the project on purpose; it
reads `definitions.toml`, and where that file gives a regular expression for addresses it asks `ipaddress` instead.

    python -m tests.oracle.oracle --records FILE --definitions FILE --user-key-secret-file FILE --out FOLDER
"""

import argparse
import base64
import functools
import hashlib
import hmac
import ipaddress
import json
import re
import tomllib
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.oracle.tables import EPOCH, HOUR, SECOND, Row, Tables, show, write

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"(.{19})(?:\.([0-9]+))?(Z|.{6})")  # takes apart what `meta_dt` of the definitions let through
RECENT = (
    *("received_at", "event_id", "event_time", "wiki", "type", "namespace", "title", "user_key", "user_name"),
    *("user_class", "severity", "bytes_changed", "is_revert", "is_unpatrolled", "old_revision", "new_revision"),
    *("log_type", "log_action"),
)


def instant(text: str | None, readable: str) -> int | None:
    """Microseconds of an ISO 8601 instant of the form `readable`; None if it is not one."""
    match = INSTANT.fullmatch(text) if text and re.fullmatch(readable, text) else None
    try:
        whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")) if match else None
    except ValueError:  # month 13, second 61, ...
        return None
    if match is None or whole is None:
        return None
    return (whole - EPOCH) // timedelta(seconds=1) * SECOND + int(((match[2] or "") + "000000")[:6])


def take(document: Any, *path: str, kind: type, bits: int = 64) -> Any:
    """The value at `path` if it is there with the right JSON type, else None; text without NUL and surrogates."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if type(document) is not kind or (kind is int and not -(2 ** (bits - 1)) <= document < 2 ** (bits - 1)):
        return None
    if kind is not str:
        return document
    text = str(document)
    if text.isascii() and "\0" not in text:
        return text
    return re.sub("[\ud800-\udfff]", "?", text.replace("\0", "\ufffd"))


@functools.lru_cache(maxsize=65536)
def network(address: str) -> str | None:
    """The network an address is shown as; None if it is none (as are IPv6 with a dotted tail, and zones)."""
    try:
        ip = ipaddress.ip_address("" if ":" in address and re.search("[.%]", address) else address)
    except ValueError:
        return None
    if ip.version == 4:
        return address.rsplit(".", 1)[0] + ".0/24"
    return ":".join(f"{int(group, 16):X}" for group in ip.exploded.split(":")[:3]) + "::/48"


@functools.lru_cache(maxsize=65536)
def user_key(secret: bytes, name: str) -> str:
    """The first half of an HMAC, as a UUID."""
    return str(UUID(bytes=hmac.digest(secret, name.encode(), "sha256")[:16]))


class Oracle:
    """Judges records in order; `tables` gets the facts, `recent` holds the rows of recent_changes."""

    def __init__(self, rules: dict[str, Any], secret: bytes, mask: bool, before: str, tables: Tables) -> None:
        self.rules, self.secret, self.mask, self.before, self.tables = rules, secret, mask, before, tables
        self.outcomes: Counter[tuple[str, str, str]] = Counter()  # event hour, outcome, reason
        self.recent: list[list[Any]] = []
        self.homes: dict[str, list[str]] = {}  # wiki: project and language, by the server of its first edit
        self.seen: set[tuple[str, int]] = set()
        of_key_hours = ("key_hour_first", "key_hour_end", "key_hour_absurd")
        self.key_hours = [int(rules["time"][name].timestamp()) * SECOND for name in of_key_hours]

    def language(self, server_name: str | None) -> str:
        labels, sites = (server_name or "").split("."), self.rules["sites"]
        is_language = len(labels) > 2 and labels[-1] == "org" and labels[-2] in sites["language_projects"]
        return labels[0] if is_language and labels[0] not in sites["no_language"] else "none"

    def project(self, server_name: str | None) -> str:
        labels, sites = (server_name or "").split("."), self.rules["sites"]
        if len(labels) > 2 and labels[-1] == "org":
            if labels[-2] == "wikimedia":
                return labels[0]
            if labels[-2] in sites["language_projects"] + sites["single_projects"]:
                return labels[-2]
        return str(self.rules["missing"]["project"])

    def bucket(self, size: int | None) -> str:
        if size is None:
            return str(self.rules["missing"]["size_bucket"])
        names = [name for lower, name in self.rules["size_bucket"]["decades"] if abs(size) >= lower]
        return ("+" if size > 0 else "-") + names[-1] if names else "0"

    def length(self, event: Any, age: str) -> int | None:
        value = take(event, "length", age, kind=int)
        return None if value is None or abs(value) >= self.rules["missing"]["length_limit"] else int(value)

    def shown_title(self, title: str, namespace: int) -> str:
        space, colon, page = title.partition(":")
        first, slash, rest = page.partition("/")
        if not (self.mask and colon and namespace in self.rules["masking"]["title_namespaces"]):
            return title
        return space + colon + (network(first) or first) + slash + rest

    def user(self, event: Any, missing: Row) -> Row:
        name = take(event, "user", kind=str)
        if name is None:
            return {"user_class": "hidden", "user_name": missing["user_name"], "user_key": str(UUID(int=0))}
        if take(event, "bot", kind=bool):
            user_class = "bot"
        elif re.fullmatch(self.rules["user_class"]["temporary"], name):
            user_class = "temporary"
        else:
            user_class = "anonymous" if network(name) else "registered"
        shown = (self.mask and network(name)) or name
        return {"user_class": user_class, "user_name": shown, "user_key": user_key(self.secret, name)}

    def times(self, event: Any, kafka: int) -> tuple[int, int]:
        """Event time and key hour."""
        rules = self.rules["time"]
        raw = instant(take(event, "meta", "dt", kind=str), rules["meta_dt"])
        first, end, absurd = self.key_hours
        key_hour = absurd if raw is None or not first <= raw < end else raw - raw % HOUR
        meta = kafka if raw is None or raw > kafka + rules["max_meta_dt_ahead_of_kafka_seconds"] * SECOND else raw
        edited = take(event, "timestamp", kind=int)
        lowest = meta - rules["max_before_meta_dt_seconds"] * SECOND
        highest = meta + rules["max_after_meta_dt_seconds"] * SECOND
        return (edited * SECOND if edited is not None and lowest <= edited * SECOND <= highest else meta), key_hour

    def judge(self, event: Any, key_hour: int) -> tuple[str, str, str]:
        """Outcome, reason, event id."""
        raw = take(event, "meta", "id", kind=str)
        if not raw:
            return "rejected", "no_meta_id", ""
        is_uuid = UUID_TEXT.fullmatch(raw.lower())
        event_id = raw.lower() if is_uuid else str(UUID(hashlib.md5(raw.encode(), usedforsecurity=False).hexdigest()))
        if (event_id, key_hour) in self.seen:
            return "duplicate", "", event_id
        self.seen.add((event_id, key_hour))
        if take(event, "meta", "domain", kind=str) == "canary":
            return "canary", "", event_id
        for field in ("title", "user", "wiki", "type"):
            if len((take(event, field, kind=str) or "").encode()) > self.rules["text"]["max_bytes"]:
                return "rejected", f"{field}_too_long", event_id
        return "fact", "", event_id

    def record(self, value: bytes, kafka: int) -> None:
        """Count one Kafka record."""
        try:
            event = json.loads(value.decode("utf-8", "replace"), parse_constant=lambda name: 1 / 0)
        except (ValueError, RecursionError, ZeroDivisionError):
            event = None
        time, key_hour = self.times(event, kafka)
        outcome, reason, event_id = self.judge(event, key_hour)
        self.outcomes[show(time - time % HOUR), outcome, reason] += 1
        if outcome == "fact" and show(time) < self.before:
            self.fact(event, event_id, time, kafka)

    def fact(self, event: Any, event_id: str, time: int, kafka: int) -> None:
        missing = self.rules["missing"]
        row: Row = self.user(event, missing)
        for name in ("wiki", "type", "title"):
            value = take(event, name, kind=str)
            row[name] = missing[name] if value is None else value
        namespace = take(event, "namespace", kind=int, bits=32)
        row["namespace"] = missing["namespace"] if namespace is None else namespace
        row["title"] = self.shown_title(row["title"], row["namespace"])
        is_edit = row["type"] in self.rules["type"]["edits"]
        is_minor = is_edit and take(event, "minor", kind=bool) is True
        new, old = (self.length(event, age) for age in ("new", "old"))
        size = new - (old or 0) if is_edit and new is not None else None
        prefixes = self.rules["reverts"]["prefixes"]
        server = take(event, "server_name", kind=str)
        if is_edit:
            self.homes.setdefault(row["wiki"], [self.project(server), self.language(server)])
        wording = prefixes.get(self.language(server), prefixes["none"])
        row["is_revert"] = is_edit and (take(event, "comment", kind=str) or "").startswith(tuple(wording))
        row["is_unpatrolled"] = is_edit and take(event, "patrolled", kind=bool) is False
        row |= {"event_time": show(time), "size_bucket": self.bucket(size)}
        row |= {"events": 1, "edits": int(is_edit), "new_pages": int(row["type"] in self.rules["type"]["new_pages"])}
        row |= {"minor_edits": int(is_minor), "reverts": int(row["is_revert"])}
        row |= {"unpatrolled_edits": int(row["is_unpatrolled"])}
        row |= {"bytes_added": max(size or 0, 0), "bytes_removed": max(-(size or 0), 0), "bytes_changed": size}
        row["editor"] = row["user_key"] if is_edit and row["user_class"] != "hidden" else None
        self.tables.add(row | {"time": time})
        if time > kafka - 3 * HOUR:
            row |= {"received_at": show(kafka), "event_id": event_id}
            row["severity"] = ("minor" if is_minor else "major") if is_edit else None
            row |= {f"{age}_revision": take(event, "revision", age, kind=int) for age in ("old", "new")}
            row |= {name: take(event, name, kind=str) for name in ("log_type", "log_action")}
            self.recent.append([row[name] for name in RECENT])

    def write(self, out: Path) -> None:
        """One file a table, rows sorted by their key, and the summary."""
        self.seen.clear()  # gigabytes of a long day
        counts = self.tables.write(out)
        outcomes = [[*key, count] for key, count in sorted(self.outcomes.items())]
        homes = [[wiki, *home] for wiki, home in sorted(self.homes.items())]
        self.recent.sort(key=lambda row: row[:2])
        for name, columns, key_length, rows in (
            ("recent_changes", RECENT, 2, self.recent),
            ("homes", ["wiki", "project", "language"], 1, homes),
            ("outcomes", ["event_hour", "outcome", "reason", "records"], 3, outcomes),
        ):
            with (out / f"{name}.ndjson").open("w", encoding="utf-8") as file:
                file.write(json.dumps({"columns": columns, "key": key_length}) + "\n")
                counts[name] = write(file, rows)
        by_outcome: Counter[str] = Counter()
        for (_, outcome, _), count in self.outcomes.items():
            by_outcome[outcome] += count
        summary = {"records": by_outcome.total(), "outcomes": by_outcome, "rows": counts}
        (out / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("records", "definitions", "user-key-secret-file", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--no-mask", action="store_true", help="the operator turned masking off")
    parser.add_argument("--before", default="9999", help="2026-11-23T09:00:00: facts from then on count nowhere")
    args = parser.parse_args()
    rules = tomllib.loads(args.definitions.read_text(encoding="utf-8"))
    args.out.mkdir(parents=True, exist_ok=True)
    secret = args.user_key_secret_file.read_bytes().strip()
    oracle = Oracle(rules, secret, not args.no_mask, args.before, Tables(args.out))
    last = (-1, -1)
    with args.records.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if (record["partition"], record["offset"]) <= last:
                parser.error(f"records must be in (partition, offset) order, once each; {line[:80]} comes after {last}")
            last = (record["partition"], record["offset"])
            raw = base64.b64decode(record["value_base64"]) if "value_base64" in record else record["value"].encode()
            oracle.record(raw, record["kafka_ms"] * 1000)
    oracle.write(args.out)


if __name__ == "__main__":
    main()
