"""Where things stand inside one raw JSON line: finds and replaces values without touching any other byte.

The surprising thing: no JSON document is ever re-serialised here; a recording must come out as it went in.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Span = tuple[int, int]

_STRING = rb'"([^"\\]*(?:\\.[^"\\]*)*)"'
_TOKEN = re.compile(_STRING + rb"(\s*:\s*)?|[{}\[\]]", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[^\s,{}\[\]\"]+", re.DOTALL)
_POSITION = re.compile(rb',"topic":"([^"\\]+)","partition":(\d+),"offset":(\d+)(?=\})')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Layout:
    """Spans of the values the replay needs, in bytes of the line; none where the key is missing."""

    meta: Span | None
    """`meta` with its braces."""
    meta_values: dict[bytes, Span]
    """Strings, numbers, true, false and null in `meta` by key, as written (the first one wins)."""
    timestamp: Span | None


def layout(line: bytes) -> Layout | None:
    """Spans inside `line`, or none when it is not one JSON object."""
    try:
        if not isinstance(json.loads(line), dict):
            return None
    except (ValueError, RecursionError):
        return None
    depth = 0
    key = b""
    meta_begin: int | None = None
    meta: Span | None = None
    timestamp: Span | None = None
    values: dict[bytes, Span] = {}
    for token in _TOKEN.finditer(line):
        name, colon = token.groups()
        mark = line[token.start()]
        if colon is not None:
            if depth == 1:
                key = name
                if key == b"timestamp" and timestamp is None:
                    timestamp = _scalar(line, token.end())
            elif depth == 2 and meta_begin is not None and meta is None:
                span = _scalar(line, token.end())
                if span is not None:
                    values.setdefault(name, span)
        elif mark in b"{[":
            depth += 1
            if depth == 2 and key == b"meta" and mark == ord("{") and meta_begin is None:
                meta_begin = token.start()
        elif mark in b"}]":
            depth -= 1
            if depth == 1 and meta is None and meta_begin is not None:
                meta = (meta_begin, token.end())
        if meta is not None and timestamp is not None:
            break
    return Layout(meta, values, timestamp)


def _scalar(line: bytes, at: int) -> Span | None:
    match = _SCALAR.match(line, at)
    return None if match is None else match.span()


def text(line: bytes, span: Span | None) -> str | None:
    """The JSON string at `span`, decoded; none when it is something else."""
    if span is None or line[span[0] : span[0] + 1] != b'"':
        return None
    try:
        value = json.loads(line[span[0] : span[1]])
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def parse_dt(value: str | None) -> int | None:
    """Epoch milliseconds of an ISO 8601 time with a zone (`Z`, `+00:00`), else none."""
    try:
        moment = datetime.fromisoformat(value) if value else None
    except ValueError:
        return None
    if moment is None or moment.tzinfo is None:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def format_dt(ms: int) -> str:
    """`2026-11-24T09:31:07.250Z`, as the intake service writes it."""
    return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}Z"


def shift_times(line: bytes, delta_seconds: int, found: Layout | None = None) -> bytes:
    """The line with `meta.dt` and top-level `timestamp` moved by whole seconds, every other byte as it was.

    `found`: its layout, where the caller has it already.
    """
    found = found or layout(line)
    if found is None or delta_seconds == 0:
        return line
    edits: list[tuple[Span, bytes]] = []
    dt = found.meta_values.get(b"dt")
    written = text(line, dt)
    ms = parse_dt(written)
    if dt is not None and written is not None and ms is not None and len(written) > 19:
        moved = format_dt(ms + delta_seconds * 1000)[:19] + written[19:]
        edits.append((dt, json.dumps(moved).encode()))
    if found.timestamp is not None and re.fullmatch(rb"-?\d+", line[slice(*found.timestamp)]):
        edits.append((found.timestamp, b"%d" % (int(line[slice(*found.timestamp)]) + delta_seconds)))
    for (begin, end), replacement in sorted(edits, reverse=True):
        line = line[:begin] + replacement + line[end:]
    return line


def split_position(line: bytes, found: Layout | None = None) -> tuple[bytes, bytes, str, int, int] | None:
    """Takes the server's own `topic, partition, offset` out of `meta`: head, tail and the three values.

    None when they are not there in exactly the form the server writes; the line is then served as it is.
    """
    found = found or layout(line)
    if found is None or found.meta is None:
        return None
    match = _POSITION.search(line, *found.meta)
    if match is None or match.end() != found.meta[1] - 1:
        return None
    topic, partition, offset = match.groups()
    return line[: match.start()], line[match.end() :], topic.decode(), int(partition), int(offset)


def split_for_position(line: bytes, found: Layout | None = None) -> tuple[bytes, bytes] | None:
    """Head and tail around the place where the server adds its position; none when it cannot or need not."""
    found = found or layout(line)
    if found is None or found.meta is None or b"topic" in found.meta_values:
        return None
    before = line[: found.meta[1] - 1].rstrip()
    if before.endswith(b"{"):
        return None
    return before, line[len(before) :]
