"""One invented event from random bits: a pure function, by substitution into templates.

Sixteen 32-bit words decide everything about an event: which recorded shape it takes, who, which page, how long
ago. The surprising thing: an event can therefore be made again by itself, without its neighbours (a duplicate
of an hour ago costs one event, not an hour).
"""

from dataclasses import dataclass
from typing import Any

from local.replay.lines import format_dt
from local.replay.pools import ODD_COMMENTS, WORDS_OF_A_WIKI, Page, Summary, Wiki, json_text, quantile, rank
from local.replay.shapes import Shape, load

WORDS = 16
"""Random 32-bit words an event is made of."""

_IDS_FROM = 1_767_225_600
"""Ids grow from this second (2026-01-01) and repeat after a year."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """What besides the recorded shapes goes into the stream, as fractions of all events."""

    late: float = 0.0
    """`timestamp` up to 5 hours before `meta.dt`."""
    backdated: float = 0.0
    """`meta.dt` and Kafka time years ago, as imports had until 2025."""
    odd: float = 0.0005
    """Hidden users, control characters, lone surrogates, missing keys, unknown types."""


class Inventor:
    """Makes events of one seed."""

    def __init__(self, seed: int, mixture: Mixture, stride: int) -> None:
        """`stride`: ids a second of one wiki, at least as many as a second has events."""
        self._stride = stride
        shapes = load(seed)
        self._table = shapes.table
        self._odd = shapes.odd
        self._quantiles = shapes.quantiles
        self._odd_comments = [Summary(json_text(c), json_text(c)) for c in ODD_COMMENTS]
        self._odd_comments += [Summary(b"lone \\ud83d half", b"lone \\ud83d half"), Summary(b"\\u0000", b"")]
        self._late_below = int(mixture.late * 2**32)
        self._backdated_below = int(mixture.backdated * 2**32)
        self._odd_below = int(mixture.odd * 2**32)

    def event(
        self, w: tuple[int, ...], second: int, second_text: bytes, slot: int, index: int
    ) -> tuple[int, bytes, bytes]:
        """Kafka ms, head and tail of the event that the words `w` make at `slot` ms of `second`.

        `second_text` is the second as `2026-11-24T09:31:07`; `index` its number within the second.
        """
        table = self._table
        shape = table[(w[0] * len(table)) >> 32]
        is_odd = w[15] < self._odd_below
        if is_odd and w[15] & 1:
            shape = self._odd[w[0] % len(self._odd)]
        wiki = shape.wiki
        kafka_ms = second * 1000 + slot
        delay = quantile(self._quantiles["delay_ms"], w[11])
        if w[12] < self._late_below:
            delay = 60_000 + w[11] % 17_940_000
        if w[13] < self._backdated_below:
            kafka_ms -= (1 + w[11] % 3500) * 86_400_000
            dt = format_dt(kafka_ms).encode()
        else:
            dt = b"%b.%03dZ" % (second_text, slot)
        timestamp = (kafka_ms - delay) // 1000
        subject = self._page(shape, w[5], w[6], second)
        user = self._user(wiki, shape.user_class, w[7], w[8], second)
        head = shape.head % (
            subject.path, w[13], w[14] >> 16, w[14] & 0xFFF, 0x8000 | (w[15] & 0x3FFF), (w[11] << 16) ^ w[9],
            w[1], w[2] >> 16, w[2] & 0xFFF, 0x8000 | (w[3] & 0x3FFF), (w[3] << 16) ^ w[4], dt,
        )  # fmt: skip
        number = wiki.id_base + ((second - _IDS_FROM) & 0x1FFFFFF) * self._stride + index
        type_ = shape.type
        opening = b'},"id":%d,' % number if shape.has_id else b"},"
        if is_odd and not w[15] & 1:
            said = self._odd_comments[w[8] % len(self._odd_comments)]
        elif type_ == "categorize":
            member = self._member(shape, w[9], w[10])
            said = Summary(*_categorized(member, w[8]))
        else:
            pool = wiki.bot_summaries if shape.user_class == "bot" else wiki.summaries
            said = pool[(w[8] * len(pool)) >> 32]
        first: tuple[Any, ...] = (subject.title, subject.path, said.comment, timestamp)
        if shape.user_class != "hidden":
            first = (*first, user)
        if type_ == "edit":
            new_revision = number // 2 + 900_000_000
            old_revision = max(new_revision - quantile(self._quantiles["revision_gap"], w[14]), 1)
            old, new = self._lengths(shape.user_class, w[9], w[10])
            rest: tuple[Any, ...] = (new_revision, old_revision, old, new, old_revision, new_revision, said.parsed)
        elif type_ == "new":
            revision = number // 2 + 900_000_000
            rest = (revision, number, quantile(self._quantiles["new_bytes"], w[9]), revision, said.parsed)
        elif type_ == "categorize":
            rest = (number // 2, number // 2 - 7, number, said.parsed)
        elif type_ == "log":
            params = shape.log_params[w[9] % len(shape.log_params)]
            rest = (number // 9 if shape.has_log_id else 0, params, b"did so to %b" % subject.title, said.parsed)
        else:
            rest = (said.parsed,)
        return kafka_ms, head, opening + shape.tail % (*first, *rest)

    def _lengths(self, user_class: str, change: int, old: int) -> tuple[int, int]:
        before = quantile(self._quantiles["old_bytes"], old)
        by = quantile(self._quantiles["change_bytes_bot" if user_class == "bot" else "change_bytes_people"], change)
        return before, max(before + by, 0)

    def _page(self, shape: Shape, which: int, more: int, second: int) -> Page:
        wiki, namespace = shape.wiki, shape.namespace
        if which & 0xFF < 90 or (namespace in (2, 3) and more & 7):
            pages = wiki.popular(namespace)
            return pages[rank((which * 2654435761) & 0xFFFFFFFF, len(pages), 8)]
        if namespace in (2, 3) and shape.user_class == "temporary":
            name = self._user(wiki, "temporary", which, more, second)
            prefix = wiki.prefix(namespace)
            return Page(json_text(prefix) + name, prefix.replace(" ", "_").encode() + name)
        if namespace == 0 and wiki.project == "wikidata":
            number = b"Q%d" % (1 + more % 140_000_000)
            return Page(number, number)
        words = wiki.tail_words
        a, b = words[which % WORDS_OF_A_WIKI], words[more % WORDS_OF_A_WIKI]
        prefix_page = wiki.popular(namespace)[0] if namespace else None
        if prefix_page is not None:
            text, _, _ = prefix_page.title.partition(b":")
            path, _, _ = prefix_page.path.partition(b":")
            text, path = text + b":", path + b":"
        else:
            text = path = b""
        if more & 0x100:
            number = b"%d" % (more >> 12)
            return Page(
                b"%b%b %b %b" % (text, a.title, b.title, number), b"%b%b_%b_%b" % (path, a.path, b.path, number)
            )
        return Page(b"%b%b %b" % (text, a.title, b.title), b"%b%b_%b" % (path, a.path, b.path))

    def _member(self, shape: Shape, which: int, more: int) -> Page:
        """The page a category event speaks of."""
        wiki = shape.wiki
        if which & 3:
            words = wiki.tail_words
            a, b = words[which % WORDS_OF_A_WIKI], words[more % WORDS_OF_A_WIKI]
            number = b"%d" % (more >> 14)
            if wiki.project == "commons":
                form = (b"File:%b %b %b.jpg", b"File:%b_%b_%b.jpg")
                return Page(form[0] % (a.title, b.title, number), form[1] % (a.path, b.path, number))
            return Page(b"%b %b" % (a.title, b.title), b"%b_%b" % (a.path, b.path))
        pages = wiki.popular(6 if wiki.project == "commons" else 0)
        return pages[rank(more, len(pages), 8)]

    def _user(self, wiki: Wiki, user_class: str, which: int, more: int, second: int) -> bytes:
        if user_class == "bot":
            return wiki.bots[rank(which, len(wiki.bots), 2)]
        if user_class == "registered":
            return wiki.registered[rank(which, len(wiki.registered), 20)]
        if user_class == "temporary":
            day = second // 86_400
            number = (day * 9973 + rank(which, 3000, 40) * 37 + len(wiki.name)) % 100_000
            return b"~%d-%05d-%02d" % (1970 + second // 31_556_952, number, number % 90 + 10)
        if user_class == "anonymous":
            host = rank(which, 200, 10) + 1
            if more & 1:
                return b"%b.%d" % ((b"192.0.2", b"198.51.100", b"203.0.113")[host % 3], host)
            return b"2001:DB8:%X:%X:0:0:0:%X" % (host * 331 & 0xFFFF, host * 7919 & 0xFFFF, host)
        return b""


def _categorized(member: Page, choice: int) -> tuple[bytes, bytes]:
    done: bytes = (b"added to category", b"added to category", b"added to category", b"removed from category")[
        choice & 3
    ]
    comment = b"[[:%b]] %b" % (member.title, done)
    parsed = b'<a href=\\"/wiki/%b\\" title=\\"%b\\">%b</a> %b' % (member.path, member.title, member.title, done)
    if choice & 0x1C == 0:
        more = b", [[Special:WhatLinksHere/%b|this page is included within other pages]]" % member.title
        return comment + more, parsed + b", this page is included within other pages"
    return comment, parsed
