"""One tile of a dashboard: the questions it asks, in the forms that many of them have."""

from dataclasses import dataclass
from typing import Any, Literal

from tests.oracle import measures as m
from tests.oracle.measures import named, total
from tests.oracle.questions import Number, Question

Span = Literal["hours", "days", "minutes", "ever"]


@dataclass(frozen=True, slots=True)
class Tile:
    """Its questions, in the order in which it asks them.

    `span`: what is chosen in the time filter of its dashboard. hours: from the start of the newest published one on;
    days: whole ones; minutes: the last ten; ever: no choice acts on the tile.
    """

    questions: tuple[Question, ...]
    span: Span


def tile(span: Span, **asked: Any) -> Tile:
    """A tile of one question."""
    return Tile((Question(**asked),), span)


def key_figure(table: str, name: str, number: Number, **asked: Any) -> Tile:
    """A line of minutes, the mean of five each, and below it one number of them all."""
    line = Question(
        of=table,
        by={"window_start": m.minute},
        numbers={name: number},
        then=m.mean_of_five(name),
        **asked,
    )
    return Tile((line, Question(of=table, numbers={name: number}, **asked)), "hours")


def of_newest_hour(table: str, name: str, number: Number, **asked: Any) -> Tile:
    """A line of hours up to the newest published one, which is the number."""
    filled = m.every_hour(name)
    return tile("ever", of=table, by={"window_start": m.hour}, numbers={name: number}, then=filled, **asked)


def changes(where: Any, order: str = "event_time", **asked: Any) -> Tile:
    """A list of single changes."""
    by = named("bytes_changed", event_time=m.event_time, Wiki="wiki", Page="title", User="user_name")
    return tile("hours", of="recent_changes", where=where, by=by, order=order, limit=100, **asked)


EDITS = {"edits": total("edits")}
MINUTES = {"window_start": m.minute}
HOURS = {"window_start": m.hour}
USER = named("user_name", "user_class", "user_key")
