"""One invented hour of classified events, and the rule by which it becomes any other hour. Nothing real is ever said.

Who edits what comes from the replay source's recorded shapes and invented words, and from a long tail of wikis beside
them. An hour of less traffic is a part of the same events, and some pages and editors carry the hour's own word. The
surprising thing: as the lesser hours are parts of the greater ones, exact distinct counts of a day can be added up.
"""

import hashlib
import json
import math
import random
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, get_args, get_type_hints

import pyarrow as pa

from bench.dashboard_words import HOSTILE, LANGUAGES, Hostile
from local.replay.pools import Wiki, quantile, rank
from local.replay.words import invent_words
from wikiweir.definitions import definitions

LEVELS = tuple(number / 100 for number in range(48, 101, 4))
"""The part of the invented hour's events that an hour has."""
EVENTS = 172_000
"""Of the invented hour. The mean hour of a week has 130,000, as many as the real stream."""
HOUR_SECONDS = 3600
WORDS, DIGITS = "{}", "{#}"
"""What the hour's own word and number take the place of."""
WORDS_OF_HOURS = 1000
TAIL_SHARE = 0.035
"""Of events in wikis that the recordings are too short for."""
HOT_PAGES, HOT_EDITS = 8, 30
"""Pages that many people edit within minutes, every hour others."""


class Event(NamedTuple):
    """A classified event without its hour; columns are those of `jobs.lib.classify` where they have its names."""

    at_us: int
    draw: float
    """In hours of a level above it only."""
    page_changes: bool
    """Its page is another one every hour."""
    user_changes: bool
    event_id: bytes
    wiki: str
    server_name: str
    type: str
    namespace: int
    title: str
    user_key: bytes
    user_name: str
    user_class: str
    is_edit: bool
    is_new_page: bool
    is_minor: bool
    is_unpatrolled: bool
    is_revert: bool
    severity: str | None
    bytes_changed: int | None
    bytes_added: int
    bytes_removed: int
    size_bucket: str
    old_revision: int | None
    new_revision: int | None
    log_type: str | None
    log_action: str | None


_ARROW = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string(), bytes: pa.binary(16)}
_INTEGERS = {"namespace": pa.int32()}
"""Narrower in PostgreSQL."""


def _arrow(name: str, hint: Any) -> pa.DataType:
    return _INTEGERS.get(name) or _ARROW[next(each for each in get_args(hint) or (hint,) if each is not type(None))]


SCHEMA = pa.schema([(name, _arrow(name, hint)) for name, hint in get_type_hints(Event).items()])


class Shape(NamedTuple):
    """What an event is drawn from."""

    wiki: Wiki
    type: str
    namespace: int
    user_class: str
    is_minor: bool
    is_unpatrolled: bool
    log: tuple[str | None, str | None]


def level(hour: datetime) -> int:
    """Number of the level of an hour: the day's rhythm, quieter weekends, some noise."""
    rhythm = (1 + 0.22 * math.cos((hour.hour - 15.5) * math.pi / 12)) / 1.22
    noise = random.Random(f"level:{hour:%Y%m%d%H}").uniform(-0.06, 0.06)
    wanted = rhythm * (0.86 if hour.weekday() >= 5 else 1.0) + noise
    return min(range(len(LEVELS)), key=lambda number: abs(LEVELS[number] - wanted))


@cache
def _words() -> list[str]:
    # no syllable of that script has an x: no other title or name ends like this
    words = (word.lower() + "ix" for word in invent_words(random.Random("hours"), "latin", 2 * WORDS_OF_HOURS))
    return list(dict.fromkeys(words))[:WORDS_OF_HOURS]


def own_word(hour: datetime) -> str:
    """What the hour's own pages and editors carry in their names; another one for each of 1,000 hours."""
    return _words()[int(hour.timestamp()) // HOUR_SECONDS % WORDS_OF_HOURS]


def own_digits(hour: datetime) -> str:
    """The same where a name is a number."""
    return f"{int(hour.timestamp()) // HOUR_SECONDS % WORDS_OF_HOURS:03}"


def make(seed: int, scale: float = 1.0, *, is_hostile: bool = True) -> pa.Table:
    """The invented hour; `scale`: the part of true volume. In order of time."""
    return _Maker(seed, is_hostile).hour(round(EVENTS * scale))


class _Maker:
    def __init__(self, seed: int, is_hostile: bool) -> None:
        self.rng = random.Random(f"{seed}:dashboards")
        document: dict[str, Any] = json.loads((files("local.replay") / "shapes.json").read_text(encoding="utf-8"))
        self.quantiles: Mapping[str, list[int]] = document["quantiles"]
        self._comments = self.quantiles["comment_characters"]
        rows: list[list[Any]] = document["shapes"]
        total = sum(row[-1] for row in rows)
        self.wikis = {
            name: Wiki(
                name, about["server"], about["namespaces"], sum(row[-1] for row in rows if row[0] == name) / total,
                seed, self._comments,
            )
            for name, about in document["wikis"].items()
        }  # fmt: skip
        self.table: list[Shape] = []
        for name, type_, namespace, user_class, minor, patrolled, number, count in rows:
            log = document["logs"][number] if number is not None else {}
            if user_class == "anonymous" and len(name) % 3:
                user_class = "temporary"
            said = (log.get("type"), log.get("action"))
            shape = Shape(self.wikis[name], type_, namespace, user_class, bool(minor), patrolled is False, said)
            self.table += [shape] * count
        self.tail = self._tail(seed)
        self.hostile = HOSTILE if is_hostile else ()

    def _tail(self, seed: int) -> list[Wiki]:
        made = []
        for project, suffix, count in (("wikipedia", "wiki", 400), ("wiktionary", "wiktionary", 170),
                                       ("wikisource", "wikisource", 75), ("wikiquote", "wikiquote", 90),
                                       ("wikibooks", "wikibooks", 70), ("wikivoyage", "wikivoyage", 25)):  # fmt: skip
            for language in LANGUAGES[:count]:
                name = language.replace("-", "_") + suffix
                if name not in self.wikis:
                    made.append(Wiki(name, f"{language}.{project}.org", {}, 0.0001, seed, self._comments))
        self.rng.shuffle(made)
        return made

    def hour(self, events: int) -> pa.Table:
        rng, made = self.rng, []
        busy = [math.exp(rng.gauss(0, 0.12)) * (1.5 if rng.random() < 0.05 else 1.0) for _ in range(60)]
        for minute in rng.choices(range(60), busy, k=events):
            at_us = minute * 60_000_000 + rng.randrange(60_000_000)
            if rng.random() < TAIL_SHARE:
                wiki = self.tail[int(len(self.tail) * rng.random() ** 2.5)]
                shape = rng.choice(self.table)._replace(wiki=wiki, log=(None, None))
                if shape.type == "log":
                    shape = shape._replace(log=("delete", "delete"))
            else:
                shape = self.table[int(rng.random() * len(self.table))]
            if rng.random() < 0.001:
                shape = shape._replace(user_class="hidden")
            made.append(self._event(at_us, shape, self._page(shape)))
        for number in range(HOT_PAGES if events >= EVENTS // 100 else 1):
            made += self._hot(number)
        made += [self._hostile(number, one) for number, one in enumerate(self.hostile)]
        made.sort(key=lambda event: event.at_us)
        return pa.Table.from_pylist([event._asdict() for event in made], schema=SCHEMA)

    def _event(self, at_us: int, shape: Shape, title: str, change: int | None = None) -> Event:
        rng = self.rng
        is_edit = shape.type in definitions()["type"]["edits"]
        user_key, user_name, user_changes = self._user(shape)
        by = (self._change(shape) if change is None else change) if is_edit else None
        revision = 1_300_000_000 + at_us // 1000 * 40 + rng.randrange(40) if is_edit else None
        is_minor = is_edit and shape.is_minor
        return Event(
            at_us=at_us,
            draw=rng.random(),
            page_changes=WORDS in title or DIGITS in title,
            user_changes=user_changes,
            event_id=rng.randbytes(16),
            wiki=shape.wiki.name.decode(),
            server_name=shape.wiki.server.decode(),
            type=shape.type,
            namespace=shape.namespace,
            title=title,
            user_key=user_key,
            user_name=user_name,
            user_class=shape.user_class,
            is_edit=is_edit,
            is_new_page=shape.type in definitions()["type"]["new_pages"],
            is_minor=is_minor,
            is_unpatrolled=is_edit and shape.is_unpatrolled,
            is_revert=is_edit and shape.user_class != "bot" and rng.random() < 0.04,
            severity=("minor" if is_minor else "major") if is_edit else None,
            bytes_changed=by,
            bytes_added=max(by or 0, 0),
            bytes_removed=max(-(by or 0), 0),
            size_bucket=size_bucket(by),
            old_revision=revision - rng.randrange(1, 9_000_000) if revision and shape.type == "edit" else None,
            new_revision=revision,
            log_type=shape.log[0],
            log_action=shape.log[1],
        )

    def _change(self, shape: Shape) -> int:
        rng, kind = self.rng, "bot" if shape.user_class == "bot" else "people"
        if shape.type == "new":
            return quantile(self.quantiles["new_bytes"], rng.getrandbits(32))
        if kind == "people" and rng.random() < 0.004:
            return rng.choice((1, -1)) * int(10_000 * math.exp(rng.expovariate(1.6)))
        return quantile(self.quantiles[f"change_bytes_{kind}"], rng.getrandbits(32))

    def _page(self, shape: Shape) -> str:
        rng, wiki, namespace = self.rng, shape.wiki, shape.namespace
        if rng.random() < 0.33 and shape.type != "new":
            pages = wiki.popular(namespace)
            return str(json.loads(b'"%b"' % pages[rank(rng.getrandbits(32), len(pages), 8)].title))
        if wiki.project == "wikidata" and namespace == 0:
            return f"Q{rng.randrange(140_001, 180_000)}{DIGITS}"  # beyond those that come every hour
        body = f"{rng.choice(wiki.words)} {rng.choice(wiki.words)} {WORDS}"
        return wiki.prefix(namespace) + body[:1].upper() + body[1:] + (".jpg" if namespace == 6 else "")

    def _user(self, shape: Shape) -> tuple[bytes, str, bool]:
        """Key, name, and whether every hour has another one."""
        rng, wiki = self.rng, shape.wiki
        bits = rng.getrandbits(32)
        if shape.user_class == "hidden":
            return bytes(16), str(definitions()["missing"]["user_name"]), False
        changes = False
        if shape.user_class == "temporary":
            number = rank(bits, 3000, 40) * 37 % 100
            name, changes = f"~2026-{DIGITS}{number:02}-{rank(bits, 3000, 40) % 90 + 10}", True
            who = f"{name} {wiki.name!r}"
        elif shape.user_class == "anonymous":
            host = rank(bits, 200, 10) + 1
            name = f"192.0.{host % 3}.0/24" if host & 1 else f"2001:DB8:{host * 331 & 0xFFFF:X}::/48"
            who = f"{host}"
        else:
            pool = wiki.bots if shape.user_class == "bot" else wiki.registered
            number = rank(bits, len(pool), 20 if shape.user_class == "registered" else 2)
            name = who = str(json.loads(b'"%b"' % pool[number]))
            if shape.user_class == "registered" and number > len(pool) // 4 and number % 2:
                name = who = f"{name} {WORDS}"
                changes = True
        return hashlib.md5(f"{shape.user_class}:{who}".encode(), usedforsecurity=False).digest(), name, changes

    def _hot(self, number: int) -> list[Event]:
        """Many people on one page within ten minutes, adding, removing and reverting."""
        rng = self.rng
        people = [s for s in self.table if s.type == "edit" and s.namespace == 0 and s.user_class == "registered"]
        model = rng.choice([s for s in people if s.wiki.project == "wikipedia"])
        title = f"{rng.choice(model.wiki.words)} {WORDS} {number}".capitalize()
        begin = rng.randrange(0, HOUR_SECONDS - 600)
        found = []
        for _ in range(HOT_EDITS):
            shape = model._replace(user_class=rng.choice(("registered", "registered", "temporary")))
            at_us = (begin + rng.randrange(600)) * 1_000_000 + rng.randrange(1_000_000)
            event = self._event(at_us, shape, title, rng.choice((1, -1)) * rng.randrange(1, 6000))
            found.append(event._replace(is_revert=rng.random() < 0.3))
        return found

    def _hostile(self, number: int, one: Hostile) -> Event:
        """Every few minutes, in every hour whatever its level, large enough to be listed."""
        shape = Shape(self.wikis["enwiki"], "edit", 0, "registered", False, True, (None, None))
        at_us = (20 + 3500 * number // len(self.hostile)) * 1_000_000
        event = self._event(at_us, shape, one.title, one.bytes_changed)
        key = hashlib.md5(one.user_name.encode(), usedforsecurity=False).digest()
        return event._replace(draw=0.0, page_changes=False, user_changes=False, user_key=key, user_name=one.user_name)


def size_bucket(change: int | None) -> str:
    """Sign and decade of a number of bytes, by `definitions.toml`."""
    if change is None:
        return str(definitions()["missing"]["size_bucket"])
    if change == 0:
        return "0"
    names = [name for bound, name in definitions()["size_bucket"]["decades"] if abs(change) >= bound]
    return f"{'+' if change > 0 else '-'}{names[-1]}"
