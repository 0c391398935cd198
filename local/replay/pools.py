"""Who edits an invented wiki, which pages, with which summaries: pools of ready JSON bytes, made once.

A pool is a pure function of (seed, wiki). Popularity is skewed as in reality: few names are seen often, most
rarely. The surprising thing: texts are kept as they stand *inside* a JSON string, so that an event is a
substitution and not a serialisation.
"""

import html
import json
import math
import random
from functools import cached_property
from typing import NamedTuple
from urllib.parse import quote

from local.replay.words import invent_words
from wikiweir.definitions import definitions, site

WORDS_OF_A_WIKI = 400
_TWO_32 = 2**32
_ODD_COMMENTS = (
    "\u200fנשלח \u200e(left) \u202eright\u202c",
    "🦉 fledged 🪺 twice 𝔴𝔢𝔦𝔯",
    "e\u0301 combined, \u00ad soft",
    'tab\tand \\ "quotes"',
    "zero\u200bwidth\u2060joiner 👩\u200d🌾",
    "<script>alert(1)</script> & <img src=x onerror=alert(2)>",
    '=HYPERLINK("x")',
)
ODD_COMMENTS = ("nul \0 inside", "line\u2028separator", "next\x85line", "vertical\x0btab", "paragraph\u2029end")
"""Legal in JSON and rare in reality; `json_text` cannot make a lone surrogate, which is added as an escape."""
_WIKIBASE = (
    "/* wbsetclaim-create:2||1 */ [[Property:P{p}]]: [[Q{q}]]", "/* wbsetreference-add:2| */ [[Property:P{p}]]: {q}",
    "/* wbsetdescription-add:1|nl */ {w} {w}", "/* wbsetlabel-add:1|dv */ {w} {w}, batch #{p}",
    "/* wbsetqualifier-add:1| */ [[Property:P{p}]]: {q}", "/* wbeditentity-update:0| */ {w}: {w} {w}",
    "/* wbsetsitelink-add:1|warwiki */ {w}", "/* wbcreateclaim-create:1| */ [[Property:P{p}]]: {q}",
)  # fmt: skip


class Page(NamedTuple):
    """A page as JSON bytes: title with spaces, and percent-encoded with underscores."""

    title: bytes
    path: bytes


class Summary(NamedTuple):
    """`comment` and the HTML made of it, as JSON bytes."""

    comment: bytes
    parsed: bytes


def json_text(text: str) -> bytes:
    """`text` as it stands between the quotes of a JSON string in raw UTF-8."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def page(title: str) -> Page:
    """The page of that title."""
    return Page(json_text(title), quote(title.replace(" ", "_"), safe="!$()*,-./:;@~_").encode())


def rank(word: int, size: int, flat: int) -> int:
    """A place in a pool of `size` from 32 random bits: the first `flat` places about equal, then as 1/n."""
    return int(flat * math.exp(word * (math.log((size + flat) / flat) / _TWO_32))) - flat


def quantile(values: list[int], word: int) -> int:
    """A value of the distribution whose 65 quantiles are given, from 32 random bits."""
    at = word >> 26
    low = values[at]
    return low + (((values[at + 1] - low) * (word & 0x3FFFFFF)) >> 26)


class Wiki:
    """One wiki and its pools. `share` is its part of all events and decides how large they are."""

    def __init__(
        self, name: str, server: str, namespaces: dict[str, str], share: float, seed: int, comment_lengths: list[int]
    ) -> None:
        self.name = name.encode()
        self.server = server.encode()
        self.project, self.language = site(server)
        self.id_base = 3_460_000_000 if share > 0.1 else 40_000_000 + len(name) * 7_000_000
        """Where its ids begin: beyond 32 bits for the largest, alike for many small wikis."""
        self.pages: dict[int, list[Page]] = {}
        self._label = name
        self._namespaces = namespaces
        self._share = share
        self._seed = seed
        self._comment_lengths = comment_lengths

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self._seed}:{self._label}:{purpose}")

    def _size(self, of_all: int, least: int, most: int) -> int:
        return min(max(int(of_all * self._share), least), most)

    @cached_property
    def words(self) -> list[str]:
        language = "en" if self.language == "none" else self.language
        # wikis of one language share their vocabulary, so that titles recur from wiki to wiki
        return invent_words(random.Random(f"{self._seed}:{language}:words"), language, WORDS_OF_A_WIKI)

    @cached_property
    def tail_words(self) -> list[Page]:
        """Words ready to be put together to a title that is hardly ever seen twice."""
        return [page(word) for word in self.words]

    @cached_property
    def registered(self) -> list[bytes]:
        rng = self._rng("registered")
        forms = ("{a}{b}", "{a} {b}", "{a}{n}", "{A}", "{a} {b} {n}", "{a}-{b}")
        return [json_text(self._fill(rng, rng.choice(forms))) for _ in range(self._size(24_000, 40, 6000))]

    @cached_property
    def bots(self) -> list[bytes]:
        rng = self._rng("bots")
        forms = ("{a}Bot", "{a} bot", "{a}{b}Bot", "Bot{a}")
        return [json_text(self._fill(rng, rng.choice(forms))) for _ in range(self._size(250, 3, 60))]

    def popular(self, namespace: int) -> list[Page]:
        """Pages that are edited again and again."""
        held = self.pages.get(namespace)
        if held is None:
            rng = self._rng(f"pages:{namespace}")
            count = self._size(4000 if namespace in (0, 6, 14) else 400, 20, 1500)
            held = self.pages[namespace] = [page(self.title(rng, namespace)) for _ in range(count)]
        return held

    def title(self, rng: random.Random, namespace: int) -> str:
        """An invented title of that namespace."""
        prefix = self.prefix(namespace)
        if namespace in (2, 3):
            name = rng.choice(self.registered).decode()
            return prefix + (json.loads(f'"{name}"') if rng.random() < 0.85 else f"192.0.2.{rng.randint(1, 254)}")
        if self.project == "wikidata" and namespace == 0:
            return f"Q{rng.randint(1, 140_000_000)}"
        body = " ".join(rng.choice(self.words) for _ in range(rng.choice((1, 1, 2, 2, 2, 3, 4, 6))))
        if namespace == 6:
            body += rng.choice((".jpg", " {n}.jpg", ".svg", " (page {n}).tif", ".wav")).format(n=rng.randint(1, 9999))
        elif namespace == 14 and rng.random() < 0.3:
            body = f"{rng.randint(1500, 2026)} {body}"
        elif rng.random() < 0.08:
            body += f" ({rng.choice(self.words)})"
        return prefix + body[:1].upper() + body[1:]

    def prefix(self, namespace: int) -> str:
        """`Category:` and its like in the wiki's own language where it was recorded."""
        if namespace == 0:
            return ""
        english = {-1: "Special", 1: "Talk", 2: "User", 3: "User talk", 4: "Project", 6: "File", 10: "Template"}
        return self._namespaces.get(str(namespace), english.get(namespace, f"Namespace {namespace}")) + ":"

    @cached_property
    def summaries(self) -> list[Summary]:
        """What people write; about one in 25 says it reverts, in the wording of the wiki's language."""
        rng = self._rng("summaries")
        return [self._summary(rng, rng.random()) for _ in range(self._size(4000, 120, 1200))]

    @cached_property
    def bot_summaries(self) -> list[Summary]:
        rng = self._rng("bot summaries")
        return [self._summary(rng, 0.3 + 0.7 * rng.random()) for _ in range(self._size(1000, 40, 400))]

    def _summary(self, rng: random.Random, kind: float) -> Summary:
        if self.project == "wikidata" and kind > 0.06:
            text = rng.choice(_WIKIBASE)
            filled = self._fill(rng, text.format(p=rng.randint(6, 12000), q=rng.randint(1, 10**8), w="{a}"))
            return Summary(json_text(filled), _parsed(filled, ""))
        if kind < 0.04:
            rules = definitions()["reverts"]["prefixes"]
            prefix = rng.choice(rules.get(self.language, rules["none"]))
            name = json.loads(f'"{rng.choice(self.registered).decode()}"')
            text = f"{prefix}{rng.randint(10**7, 10**9)} [[Special:Contributions/{name}|{name}]]"
        elif kind < 0.06:
            text = self._fill(rng, "I undid revision {n}, {a} {b}")
        elif kind < 0.08:
            text = rng.choice(_ODD_COMMENTS)
        elif kind < 0.18:
            text = ""
        else:
            text = self._prose(rng, quantile(self._comment_lengths, rng.getrandbits(32)))
            if kind < 0.5 and text:
                text = (
                    f"/* {self._fill(rng, '{a} {b}')} */ {text}" if kind < 0.4 else f"/* {rng.choice(self.words)} */ "
                )
            elif kind < 0.6 and text:
                text = f"[[{self._fill(rng, '{a} {b}')}]] {text}"
        return Summary(json_text(text), _parsed(text, self.title(rng, 0)))

    def _prose(self, rng: random.Random, characters: int) -> str:
        words: list[str] = []
        length = 0
        while length < characters:
            words.append(rng.choice(self.words))
            length += len(words[-1]) + 1
        return " ".join(words)[:characters]

    def _fill(self, rng: random.Random, form: str) -> str:
        a, b = rng.choice(self.words), rng.choice(self.words)
        filled = form.replace("{A}", a.upper()).replace("{a}", a).replace("{b}", b)
        return filled.replace("{n}", str(rng.randint(1, 99_999)))


def _parsed(comment: str, title: str) -> bytes:
    """What MediaWiki makes of a summary, near enough: escaped, sections and links marked up."""
    section, rest = "", comment
    if comment.startswith("/* ") and " */" in comment:
        section, _, rest = comment[3:].partition(" */")
    out = html.escape(rest, quote=True)
    while "[[" in out and "]]" in out.partition("[[")[2]:
        before, _, tail = out.partition("[[")
        target, _, after = tail.partition("]]")
        target, _, label = target.partition("|")
        href = page(html.unescape(target)).path.decode()
        out = f'{before}<a href="/wiki/{href}" title="{target}">{label or target}</a>{after}'
    if section:
        mark = html.escape(section)
        link = f'<a href="/wiki/{page(title).path.decode()}#{mark}" title="{html.escape(title)}">→\u200e{mark}</a>'
        inner = link if title else f"{mark}: "
        out = (
            f'\u200e<span dir="auto"><span class="autocomment">{inner}{": " if rest.strip() else ""}</span></span>{out}'
        )
    return json_text(out)
