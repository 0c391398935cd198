"""What can go wrong, as values: each field is a switch, set at start or while the server runs.

The surprising thing: everything here concerns one connection or answer. What stands in the log (duplicates,
odd records, a data-centre switch) is no fault of a connection; see `odd.py` and the admin endpoint.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

CutMode = Literal["eof", "abrupt", "rst", "half_frame", "half_utf8", "half_id", "mid_chunk"]


def _switch(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Faults:
    """The switches, all off. `POST /_admin/faults` takes the same names."""

    # an answer instead of a stream
    status: int | None = _switch(None, "Answer stream requests with this status and an HTML page (429, 502, 503, ...).")
    status_count: int | None = _switch(None, "Only so many times, then normal again; none: until changed.")
    retry_after: str | None = _switch(None, "Value of the `Retry-After` header of such answers.")
    no_topics: bool = _switch(False, "Answer 500, as when the streams' topics do not exist.")
    max_connections: int | None = _switch(
        None, "Concurrent connections per client address (`X-Client-IP`, else the peer's); the real server has 2."
    )
    check_user_agent: bool = _switch(False, "403 for an empty User-Agent or a library's default one.")
    # the end of a stream
    cut_after_s: float | None = _switch(None, "Cut each connection after so many seconds (the real one after 900).")
    cut_after_events: int | None = _switch(None, "Cut each connection after so many events.")
    cut_jitter: float = _switch(0.0, "Vary both by up to this fraction, seeded.")
    cut_mode: CutMode = _switch(  # noqa: RUF009 - a field, as the others
        "eof",
        "eof: a clean end; abrupt: FIN without the last chunk; rst: TCP reset; half_frame, half_utf8, half_id: "
        "a clean end in the middle of a frame, of a UTF-8 character, of the id line; mid_chunk: FIN inside an "
        "HTTP chunk.",
    )
    cuts: int | None = _switch(None, "Only so many cuts in all; none: no bound.")
    error_after_events: int | None = _switch(None, "An `event: error` frame after so many events, then the end.")
    # a stream that limps
    silence: bool = _switch(False, "Send nothing, sockets open, while it is true.")
    silence_after_events: int | None = _switch(None, "Each connection falls silent for good after so many events.")
    trickle_bytes_per_s: float | None = _switch(None, "Slow trickle: so many bytes a second.")
    max_rate: float | None = _switch(None, "At most so many events a second and connection.")
    redeliver: float = _switch(0.0, "Chance to send a frame of the same connection once more, one of the last 50.")
    # unusual bytes
    retry_ms: int | None = _switch(None, "A `retry:` line in each frame.")
    comment_lines: float = _switch(0.0, "Chance of a comment line before a frame.")
    crlf: bool = _switch(False, "CRLF line ends.")
    rechunk: int | None = _switch(None, "Cut the body into random HTTP chunks of 1 to n bytes, also inside UTF-8.")
    coalesce: bool = _switch(False, "One HTTP chunk a write instead of one a line (fewer bytes, faster).")
    cluster_shift: int = _switch(0, "All offsets are higher by this on new connections: another Kafka cluster answers.")


_HINTS = get_type_hints(Faults)


def changed(faults: Faults, values: dict[str, Any]) -> Faults:
    """`faults` with some switches set; raises ValueError naming what is unknown or of the wrong type."""
    known = {field.name for field in fields(Faults)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"unknown fault {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return replace(faults, **{name: _checked(name, value) for name, value in values.items()})


def _checked(name: str, value: Any) -> Any:
    hint = _HINTS[name]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(get_args(hint))}")
        return value
    options = get_args(hint) or (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, option) and isinstance(value, bool) == (option is bool):
            return value
    raise ValueError(f"{name} is {value!r}; expected {' or '.join(getattr(o, '__name__', str(o)) for o in options)}")
