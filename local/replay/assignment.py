"""From a request to where each topic begins: the rules of KafkaSSE, with its words for what is wrong.

`Last-Event-ID` replaces the stream's own topics and `since`; in an entry `offset` wins over `timestamp`; a
timestamp with nothing after it, like offset -1, means "latest". The surprising thing: the next cursor lists
the entries that came as offsets first, because the real server puts the looked-up ones behind them.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from local.replay.log import EventLog

LATEST = -1
BEGINNING = -2
"""librdkafka's logical offset; the real server passes it through."""


class BadRequestError(Exception):
    """The request cannot be served: HTTP status and the JSON body that says why."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("detail") or body.get("message")))
        self.status = status
        self.body = body


@dataclass(slots=True)
class Assigned:
    """One topic-partition of a connection: the offset the id shows until the topic speaks, and where it begins."""

    topic: str
    partition: int
    shown_offset: int
    start_offset: int


def problem(status: int, type_: str, title: str, detail: str, uri: str) -> BadRequestError:
    """An error of the EventStreams service, raised before any assignment is looked at."""
    return BadRequestError(
        status, {"status": status, "type": type_, "title": title, "detail": detail, "method": "GET", "uri": uri}
    )


def parse_since(value: str | None, uri: str) -> int | None:
    """Epoch ms of `since=`: a number, or what JavaScript's `Date.parse` takes of ISO 8601 and RFC 2822."""
    if not value:
        return None
    if re.fullmatch(r"\s*[+-]?\d+(\.\d*)?([eE]\d+)?\s*", value):
        return int(float(value))
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value.strip())
        except ValueError:
            continue
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    detail = f"since timestamp is not a UTC milliseconds unix epoch and was not parseable: '{value}'"
    raise problem(400, "invalid_timestamp", "Invalid timestamp", detail, uri)


def assign(
    log: EventLog,
    allowed: list[str],
    *,
    last_event_id: str | None,
    since_ms: int | None,
    shift: int = 0,
    fresh_from_oldest: bool = False,
) -> list[Assigned]:
    """Where a connection to the topics `allowed` begins.

    `shift` is by how much this cluster's offsets are higher than the log's. `fresh_from_oldest`: a connect that
    names no position gets the whole log; the real server answers "latest".
    """
    entries: list[Any] = list(allowed) if last_event_id is None else _parse(last_event_id)
    names = list(dict.fromkeys(entry if isinstance(entry, str) else entry["topic"] for entry in entries))
    unavailable = [name for name in names if name not in allowed]
    if unavailable:
        raise BadRequestError(
            404,
            {
                "message": f"Topics {', '.join(unavailable)} are not available for consumption.",
                "origin": "KafkaSSE",
                "name": "TopicNotAvailableError",
                "availableTopics": allowed,
                "statusCode": 404,
            },
        )
    default = LATEST if last_event_id is not None or not fresh_from_oldest else BEGINNING
    by_offset: list[Assigned] = []
    by_time: list[Assigned] = []
    for entry in entries:
        topic = entry if isinstance(entry, str) else entry["topic"]
        partition = 0 if isinstance(entry, str) else int(entry["partition"])
        offset = None if isinstance(entry, str) else _integer(entry.get("offset"))
        timestamp = since_ms if isinstance(entry, str) else _integer(entry.get("timestamp"))
        if offset is None and timestamp is not None:
            found = log.offset_at(topic, timestamp)
            by_time.append(_assigned(log, topic, partition, LATEST if found is None else found + shift, shift))
        else:
            by_offset.append(_assigned(log, topic, partition, default if offset is None else offset, shift))
    unique = {(a.topic, a.partition): a for a in by_offset + by_time}
    return list(unique.values())


def _assigned(log: EventLog, topic: str, partition: int, offset: int, shift: int) -> Assigned:
    first, end = log.first_offset(topic), log.end_offset(topic)
    if offset == BEGINNING:
        return Assigned(topic, partition, first + shift, first)
    wanted = offset - shift
    # out of range: auto.offset.reset of librdkafka is `largest`, a silent jump to the newest
    in_range = offset >= 0 and first <= wanted <= end
    return Assigned(topic, partition, offset, wanted if in_range else end)


def _integer(value: object) -> int | None:
    """What lodash calls an integer: 3 and 3.0, but not true."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _parse(last_event_id: str) -> list[Any]:
    try:
        entries = json.loads(last_event_id)
    except ValueError as error:
        raise _invalid(str(error), originalName="SyntaxError", last_event_id=last_event_id, statusCode=400) from error
    if isinstance(entries, str):
        entries = entries.split(",")
    if not isinstance(entries, list) or not entries or not all(map(_is_valid, entries)):
        raise _invalid(
            "Must provide either an array topic names, or  an array of objects with topic, partition and "
            "offset|timestamp.",
            originalName="Error",
            assignments=entries,
            statusCode=400,
        )
    return entries


def _is_valid(entry: object) -> bool:
    if isinstance(entry, str):
        return True
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("topic"), str)
        and _integer(entry.get("partition")) is not None
        and (_integer(entry.get("offset")) is not None or _integer(entry.get("timestamp")) is not None)
    )


def _invalid(message: str, **more: object) -> BadRequestError:
    return BadRequestError(400, {"message": message, "origin": "KafkaSSE", "name": "InvalidAssignmentError", **more})
