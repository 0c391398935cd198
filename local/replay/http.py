"""As much HTTP/1.1 as the server needs: one request in, a head or a whole answer out, every connection closed after.

The surprising thing: a library server would hide what this one exists to do, such as ending inside a chunk.
"""

import asyncio
import json
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

LARGEST_HEAD_BYTES = 256 * 1024
LARGEST_BODY_BYTES = 64 * 1024 * 1024

SERVICE_HEADERS = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "accept, x-requested-with, content-type"),
    ("access-control-expose-headers", "etag"),
    ("x-content-type-options", "nosniff"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request; header names in lower case."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; none when the client left. Raises ValueError on what is not HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ValueError("request ends before its head does") from error
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    target, _, version = rest.rpartition(" ")
    if not target or not version.startswith("HTTP/1."):
        raise ValueError(f"not an HTTP/1 request line: {lines[0][:80]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip().encode("latin-1").decode("utf-8", "replace")
    length = int(headers.get("content-length", "0"))
    if length > LARGEST_BODY_BYTES:
        raise ValueError(f"body of {length} bytes; at most {LARGEST_BODY_BYTES}")
    body = await reader.readexactly(length) if length else b""
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return Request(method, target, unquote(url.path), query, headers, body)


def head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """Status line and headers up to the empty line."""
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def answer(status: int, body: bytes, content_type: str, extra: list[tuple[str, str]] | None = None) -> bytes:
    """A whole response that ends the connection."""
    headers = [
        *SERVICE_HEADERS,
        ("content-type", content_type),
        *(extra or []),
        ("content-length", str(len(body))),
        ("date", formatdate(usegmt=True)),
        ("connection", "close"),
    ]
    return head(status, headers) + body


def json_answer(status: int, document: Any, *, newline: bool = False) -> bytes:
    """`document` as JSON."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return answer(status, body + b"\n" if newline else body, "application/json; charset=utf-8")


def stream_head(content_type: str) -> bytes:
    """The head of an endless chunked response."""
    headers = [
        *SERVICE_HEADERS,
        ("content-type", content_type),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
        ("date", formatdate(usegmt=True)),
        ("transfer-encoding", "chunked"),
    ]
    return head(200, headers)
