"""Every number the speed layer should hold, from the Kafka records and the written rules alone, in plain Python.

Produces one sorted NDJSON file a table (first line: its columns and the length of its key) and `summary.json`, from
NDJSON of records in (partition, offset) order. The surprising thing: it imports nothing of the project on purpose; it
reads `definitions.toml`, and where that file gives a regular expression for addresses it asks `ipaddress` instead.
"""

import argparse
import base64
import hashlib
import hmac
import ipaddress
import json
import re
import tomllib
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (
    1_000_000,
    60_000_000,
    3_600_000_000,
    86_400_000_000,
)  # microseconds, as all times since 1970
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"(.{19})(?:\.([0-9]+))?(Z|.{6})")  # takes apart what `meta_dt` of the definitions let through
SUMS = ("bytes_added", "bytes_removed", "reverts")
TABLES = {  # table: (key, what is decided by the key, what is added up)
    "activity": (
        ("window_start", "wiki", "type", "namespace", "user_class"),
        (),
        ("events", "edits", "new_pages", "minor_edits", "bytes_added", "bytes_removed", "unpatrolled_edits", "reverts"),
    ),
    "user_activity": (
        ("window_start", "wiki", "user_key", "user_class"),
        ("user_name",),
        ("edits", "new_pages", *SUMS),
    ),
    "page_activity": (("window_start", "wiki", "namespace", "title"), (), ("edits", *SUMS)),  # and last_edit_at
    "edit_sizes": (("window_start", "wiki", "user_class", "size_bucket"), (), ("edits",)),
    "outcomes": (("event_hour", "outcome", "reason"), (), ("records",)),
}
ROLLUPS = ("activity", "user_activity", "page_activity", "edit_sizes")
GRAINS = {"": MINUTE, "_hourly": HOUR, "_daily": DAY}  # what a table's name ends with: length of its windows
DISTINCT = {"activity": "editors", "user_activity": "pages", "page_activity": "editors"}  # counted by hours and days
TABLES |= {rollup + suffix: TABLES[rollup] for rollup in ROLLUPS for suffix in GRAINS}
TOPS = {  # table: (rollup, what is ranked, what is shown beside it); the first hundred by edits, then in this order
    "top_pages": ("page_activity", ("wiki", "namespace", "title"), ("edits", *SUMS, "last_edit_at")),
    "top_editors": ("user_activity", ("user_key", "user_class"), ("user_name", "edits", "new_pages", *SUMS)),
}
RECENT = "received_at event_id event_time wiki type namespace title user_key user_name user_class severity"
RECENT += " bytes_changed is_revert is_unpatrolled old_revision new_revision log_type log_action"
Row = dict[str, Any]


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


def show(micros: int) -> str:
    """The instant as text, microseconds always written."""
    return (EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def take(document: Any, *path: str, kind: type, bits: int = 64) -> Any:
    """The value at `path` if it is there with the right JSON type, else None; text without NUL and surrogates."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if type(document) is not kind or (kind is int and not -(2 ** (bits - 1)) <= document < 2 ** (bits - 1)):
        return None
    return re.sub("[\ud800-\udfff]", "?", str(document).replace("\0", "\ufffd")) if kind is str else document


def network(address: str) -> str | None:
    """The network an address is shown as; None if it is none (as are IPv6 with a dotted tail, and zones)."""
    try:
        ip = ipaddress.ip_address("" if ":" in address and re.search("[.%]", address) else address)
    except ValueError:
        return None
    if ip.version == 4:
        return address.rsplit(".", 1)[0] + ".0/24"
    return ":".join(f"{int(group, 16):X}" for group in ip.exploded.split(":")[:3]) + "::/48"


class Oracle:
    """Counts records in order; `table` holds the sums, `recent` the rows of recent_changes."""

    def __init__(self, rules: dict[str, Any], secret: bytes, mask: bool, before: str) -> None:
        self.rules, self.secret, self.mask, self.before = rules, secret, mask, before
        self.table: dict[str, dict[tuple[Any, ...], Row]] = {name: defaultdict(dict) for name in TABLES}
        self.members: dict[str, dict[tuple[Any, ...], set[Any]]] = {name: defaultdict(set) for name in TABLES}
        self.recent: list[Row] = []
        self.seen: set[tuple[str, int]] = set()

    def language(self, server_name: str | None) -> str:
        labels, sites = (server_name or "").split("."), self.rules["sites"]
        is_language = len(labels) > 2 and labels[-1] == "org" and labels[-2] in sites["language_projects"]
        return labels[0] if is_language and labels[0] not in sites["no_language"] else "none"

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
        key = UUID(bytes=hmac.digest(self.secret, name.encode(), "sha256")[:16])
        shown = (self.mask and network(name)) or name
        return {"user_class": user_class, "user_name": shown, "user_key": str(key)}

    def times(self, event: Any, kafka: int) -> tuple[int, int]:
        """Event time and key hour."""
        rules = self.rules["time"]
        raw = instant(take(event, "meta", "dt", kind=str), rules["meta_dt"])
        bounds = [rules[name].timestamp() * SECOND for name in ("key_hour_first", "key_hour_end", "key_hour_absurd")]
        key_hour = int(bounds[2]) if raw is None or not bounds[0] <= raw < bounds[1] else raw - raw % HOUR
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

    def add(self, table: str, row: Row) -> None:
        key, decided, sums = TABLES[table]
        cell = self.table[table][tuple(row[name] for name in key)]
        cell |= {name: row[name] for name in (*key, *decided)}
        cell |= {name: cell.get(name, 0) + row[name] for name in sums}
        if table.startswith("page_activity"):
            cell["last_edit_at"] = max(cell.get("last_edit_at", ""), row["event_time"])

    def record(self, value: bytes, kafka: int) -> None:
        """Count one Kafka record."""
        try:
            event = json.loads(value.decode("utf-8", "replace"), parse_constant=lambda name: 1 / 0)
        except (ValueError, RecursionError, ZeroDivisionError):
            event = None
        time, key_hour = self.times(event, kafka)
        outcome, reason, event_id = self.judge(event, key_hour)
        hour = show(time - time % HOUR)
        self.add("outcomes", {"event_hour": hour, "outcome": outcome, "reason": reason, "records": 1})
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
        wording = prefixes.get(self.language(take(event, "server_name", kind=str)), prefixes["none"])
        row["is_revert"] = is_edit and (take(event, "comment", kind=str) or "").startswith(tuple(wording))
        row["is_unpatrolled"] = is_edit and take(event, "patrolled", kind=bool) is False
        row |= {"event_time": show(time), "size_bucket": self.bucket(size)}
        row |= {"events": 1, "edits": int(is_edit), "new_pages": int(row["type"] in self.rules["type"]["new_pages"])}
        row |= {"minor_edits": int(is_minor), "reverts": int(row["is_revert"])}
        row |= {"unpatrolled_edits": int(row["is_unpatrolled"])}
        row |= {"bytes_added": max(size or 0, 0), "bytes_removed": max(-(size or 0), 0), "bytes_changed": size}
        editor = row["user_key"] if is_edit and row["user_class"] != "hidden" else None
        page = (row["namespace"], row["title"])
        for suffix, length in GRAINS.items():
            row["window_start"] = show(time - time % length)
            for rollup in ROLLUPS if is_edit else ROLLUPS[:1]:
                self.add(rollup + suffix, row)
                members = self.members[rollup + suffix][tuple(row[name] for name in TABLES[rollup][0])]
                members |= {page} if rollup == "user_activity" else {editor} - {None}
        if time > kafka - 3 * HOUR:
            row |= {"received_at": show(kafka), "event_id": event_id}
            row["severity"] = ("minor" if is_minor else "major") if is_edit else None
            row |= {f"{age}_revision": take(event, "revision", age, kind=int) for age in ("old", "new")}
            row |= {name: take(event, name, kind=str) for name in ("log_type", "log_action")}
            self.recent.append({name: row[name] for name in RECENT.split()})

    def columns(self, table: str) -> list[str]:
        """Of a rollup's table; its distinct count is filled in now."""
        key, decided, sums = TABLES[table]
        columns = [*key, *decided, *sums] + (["last_edit_at"] if table.startswith("page_activity") else [])
        distinct = DISTINCT.get(table.rsplit("_", 1)[0]) if table.endswith(("_hourly", "_daily")) else None
        if distinct is None:
            return columns
        for at, cell in self.table[table].items():
            cell[distinct] = len(self.members[table][at])
        return [*columns, distinct]

    def tops(self, table: str, grain: str) -> list[Row]:
        """Ranked rows of each window: of each wiki (scope: its name) and of all together (scope: empty)."""
        rollup, ranked, beside = TOPS[table]
        groups: dict[tuple[str, str], dict[tuple[Any, ...], Row]] = defaultdict(dict)
        for row in self.table[rollup + ("_hourly" if grain == "hour" else "_daily")].values():
            for scope in (row["wiki"], "") if row.get("user_class") != "hidden" else ():
                group = groups[row["window_start"], scope]
                name = tuple(row[part] for part in ranked)
                so_far = group.get(name, {})
                sums = {
                    part: row[part] + so_far.get(part, 0) for part in beside if part in ("edits", "new_pages", *SUMS)
                }
                latest = {part: max(row[part], so_far.get(part, "")) for part in beside if part not in sums}
                group[name] = dict(zip(ranked, name, strict=True)) | sums | latest
        found = []
        for (window_start, scope), group in groups.items():
            first = sorted(group.items(), key=lambda item: (-item[1]["edits"], item[0]))[:100]
            head = {"grain": grain, "window_start": window_start, "scope": scope}
            found += [head | {"place": place} | row for place, (_, row) in enumerate(first, 1)]
        return found

    def write(self, out: Path) -> None:
        """One file a table, rows sorted by their key, and the summary."""
        out.mkdir(parents=True, exist_ok=True)
        tables = {name: (len(TABLES[name][0]), list(cells.values())) for name, cells in self.table.items()}
        tables["recent_changes"] = (2, self.recent)
        for name in TOPS:
            tables[name] = (4, [row for grain in ("hour", "day") for row in self.tops(name, grain)])
        summary: Row = {"records": 0, "outcomes": Counter(), "rows": {}}
        for name, (key_length, rows) in tables.items():
            if name == "recent_changes":
                columns = RECENT.split()
            elif name in TOPS:
                columns = ["grain", "window_start", "scope", "place", *TOPS[name][1], *TOPS[name][2]]
            else:
                columns = self.columns(name)
            listed = sorted(([row[column] for column in columns] for row in rows), key=lambda row: row[:key_length])
            lines = [
                json.dumps(line, ensure_ascii=False) for line in ({"columns": columns, "key": key_length}, *listed)
            ]
            (out / f"{name}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
            summary["rows"][name] = len(listed)
        for row in tables["outcomes"][1]:
            summary["records"] += row["records"]
            summary["outcomes"][row["outcome"]] += row["records"]
        (out / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("records", "definitions", "user-key-secret-file", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--no-mask", action="store_true", help="the operator turned masking off")
    parser.add_argument("--before", default="9999", help="2026-11-23T09:00:00: facts from then on count nowhere")
    args = parser.parse_args()
    rules = tomllib.loads(args.definitions.read_text(encoding="utf-8"))
    oracle = Oracle(rules, args.user_key_secret_file.read_bytes().strip(), not args.no_mask, args.before)
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
