"""What routing needs of an event, decoded from its exact bytes, and why a record cannot be routed.

The surprising thing: two decoders. msgspec reads the few typed fields and skips the rest (2 µs an event); where it
refuses, the standard library looks again, because only JSON that does not parse and a missing `meta.id` make a dead
letter: a wrong type or a lone surrogate in any other field must not.
"""

import json
from enum import StrEnum
from typing import Any

import msgspec


class Reason(StrEnum):
    """Why a record went to the dead-letter topic."""

    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NO_META_ID = "no_meta_id"
    """Missing, empty, not a string, or not expressible in UTF-8."""
    TOO_LARGE = "too_large"


class UnroutableError(Exception):
    """The record cannot become an event."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Meta(msgspec.Struct, gc=False):
    """The part of `meta` that routing reads; `topic`, `partition`, `offset` are added by the EventStreams server."""

    id: str
    dt: str | None = None
    domain: str | None = None
    topic: str | None = None
    partition: int = -1
    offset: int = -1


class Envelope(msgspec.Struct, gc=False):
    """An event as routing sees it. `type` is only counted."""

    meta: Meta
    type: str | None = None


class Place(msgspec.Struct, gc=False):
    """An entry of an SSE id: how far the connection is in one topic-partition; `timestamp` is Kafka's ms + 1."""

    topic: str
    partition: int
    timestamp: int = -1


_ENVELOPE = msgspec.json.Decoder(Envelope)
_PLACES = msgspec.json.Decoder(list[Place])


def decode(data: bytes) -> Envelope:
    """The envelope of an event, or `UnroutableError`."""
    if not data.isascii():
        try:
            data.decode()  # msgspec does not look into what it skips
        except UnicodeDecodeError:
            raise UnroutableError(Reason.INVALID_UTF8) from None
    try:
        envelope = _ENVELOPE.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return _decode_slowly(data)
    if not envelope.meta.id:
        raise UnroutableError(Reason.NO_META_ID)
    return envelope


def _decode_slowly(data: bytes) -> Envelope:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        # Integers stay text: Python refuses to convert thousands of digits, and none of them is needed here.
        document = json.loads(data, parse_int=_small_int, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise UnroutableError(Reason.INVALID_JSON) from None
    meta: Any = document.get("meta") if isinstance(document, dict) else None
    identity = _text(meta.get("id")) if isinstance(meta, dict) else None
    if not identity:
        raise UnroutableError(Reason.NO_META_ID)
    return Envelope(
        Meta(
            id=identity,
            dt=_text(meta.get("dt")),
            domain=_text(meta.get("domain")),
            topic=_text(meta.get("topic")),
            partition=_number(meta.get("partition")),
            offset=_number(meta.get("offset")),
        ),
        type=_text(document.get("type")),
    )


def _small_int(digits: str) -> int | str:
    return int(digits) if len(digits) < 20 else digits


def _text(value: Any) -> str | None:
    """`value` if it is a string that UTF-8 can express."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def places(event_id: str | None) -> list[Place]:
    """The entries of an SSE id; none when there is no id or it is not what EventStreams sends."""
    if event_id is None:
        return []
    try:
        return _PLACES.decode(event_id)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return []


def moved(before: str | None, now: str | None) -> Place | None:
    """The one entry whose timestamp differs between two ids in a row: where an event without `meta.topic` was."""
    old = {(place.topic, place.partition): place.timestamp for place in places(before)}
    changed = [
        place
        for place in places(now)
        if place.timestamp >= 0 and old.get((place.topic, place.partition)) != place.timestamp
    ]
    return changed[0] if len(changed) == 1 else None
