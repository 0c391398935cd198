"""The tiles of the dashboards as a viewer's browser asks for them, the SQL each comes to, and how long both take.

The questions are those of `dashboards.checks`: the charts' own forms, with the filters' defaults. The surprising thing:
the SQL is not ours. Superset tells what it has run, and that is run again without Superset, as the reader role.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

import psycopg2
import requests

from bench.lib_result import Document, quantile
from dashboards import checks, query_context, stories
from dashboards.client import SECONDS, Superset, SupersetError
from wikiweir.clock import SystemClock
from wikiweir.settings import Settings

CLOCK = SystemClock()
PULSE = "pulse"
LONGEST = {PULSE: "Last 180 minutes : now", "patrol": "Last 180 minutes : now", "history": "Last 31 days : now"}
"""Look back that a dashboard allows and does not open with."""
BOUND = re.compile(r"(activity|edit_sizes)(_places)?|minutes_of_activity|(newest_)?top_\w+|editors_by_period")
"""Datasets over minutes by wiki and class, and over tops: few rows, whatever is asked of them."""


class Viewer(Superset):
    """Somebody at a browser: asks for what a tile shows."""

    def __enter__(self) -> "Viewer":
        return self

    def another_connection(self) -> "Viewer":
        """The same session on a connection of its own, as browsers have some."""
        twin, session = copy(self), requests.Session()
        session.headers.update(self._session.headers)
        session.cookies.update(self._session.cookies)
        twin._session = session
        return twin

    @contextmanager
    def another_person(self, *roles: str) -> Iterator["Viewer"]:
        """Logged in with an account of its own, which is gone afterwards; made by an administrator."""
        name, password = f"viewer-{secrets.token_hex(4)}", secrets.token_urlsafe()
        account = {"username": name, "first_name": name, "last_name": name, "email": f"{name}@wikiweir.invalid"}
        numbers = [self.ensure_role(role) for role in roles]
        told = {**account, "password": password, "active": True, "roles": numbers}
        number = self.request("POST", "api/v1/security/users/", json=told)["id"]
        try:
            with Viewer(self._url, name, password) as person:
                yield person
        finally:
            self.request("DELETE", f"api/v1/security/users/{number}")

    def answer(self, tile: "Tile", *, is_cold: bool = False) -> tuple[float, dict[str, Any]]:
        """Seconds, and Superset's answer; `is_cold`: past its cache."""
        named = {"form_data": json.dumps({"slice_id": tile.form["slice_id"]})}
        if tile.context is None:  # a viz type that is older than query contexts
            params = named | ({"force": "true"} if is_cold else {})
            return self._timed(
                tile.name, "superset/explore_json/", params=params, data={"form_data": json.dumps(tile.form)}
            )
        return self._timed(tile.name, "api/v1/chart/data", params=named, json=tile.context | {"force": is_cold})

    def _timed(self, name: str, path: str, **asked: Any) -> tuple[float, dict[str, Any]]:
        began = CLOCK.monotonic()
        response = self._session.post(urljoin(self._url, path), timeout=SECONDS, **asked)
        told = response.content
        seconds = CLOCK.monotonic() - began
        if response.status_code != requests.codes.ok:
            raise SupersetError(f"{name}: {response.status_code} {told[:300]!r}")
        return seconds, dict(json.loads(told))


@dataclass(frozen=True, slots=True)
class Tile:
    """A chart on its dashboard."""

    story: str
    name: str
    title: str
    dataset: str
    form: dict[str, Any]
    context: dict[str, Any] | None

    @property
    def is_bound(self) -> bool:
        """Whether it stands on activity or tops; the others have a row a page, a user or an event, or a free range."""
        return BOUND.fullmatch(self.dataset) is not None


def viewer(settings: Settings) -> Viewer:
    """Logged in."""
    if settings.superset_url is None:
        raise SupersetError("expected an instance with Superset, found none: ./weir up")
    return Viewer(settings.superset_url, settings.superset_user, settings.superset_password.get_secret_value())


def tiles(asker: Viewer) -> list[Tile]:
    """Every tile of every dashboard, in reading order, with its filters at their defaults."""
    read, number_of = stories.load(), checks.numbers(asker)
    found = []
    for story in read.stories:
        for name, chart in story.placed():
            form = checks.form_of(story, name, chart, read, number_of)
            found.append(Tile(story.name, name, chart.title, chart.dataset, form, _context(form)))
    return found


def longest(tile: Tile) -> Tile | None:
    """The same tile with the longest look back; none if its dashboard's does not act on it."""
    extra = tile.form["extra_form_data"]
    if "time_range" not in extra or tile.story not in LONGEST:
        return None
    form = tile.form | {"extra_form_data": extra | {"time_range": LONGEST[tile.story]}}
    return replace(tile, form=form, context=_context(form))


def _context(form: dict[str, Any]) -> dict[str, Any] | None:
    return query_context.build(form, int(form["datasource"].split("__")[0]))


def questions(asker: Viewer, tile: Tile) -> list[str]:
    """The SQL that Superset ran for it. (Told without running it, it would leave out the times compared with.)"""
    _, told = asker.answer(tile, is_cold=True)
    texts = [one["query"] for one in told["result"]] if "result" in told else [told["query"]]
    return [statement for text in texts for statement in _statements(text)]


def _statements(text: str) -> Iterator[str]:
    """Those of a comparison with another time stand in one text, each with its semicolon at a line's end."""
    yield from (part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip())


def time_sql(settings: Settings, statements: Sequence[str], rounds: int) -> list[float]:
    """Seconds of all of a tile's questions together, as the reader, on a connection that has been used before."""
    found = []
    with closing(psycopg2.connect(settings.postgres_dsn("reader"))) as reader, reader.cursor() as cursor:
        reader.autocommit = True
        for _ in range(rounds):
            began = CLOCK.monotonic()
            for statement in statements:
                cursor.execute(statement)
                cursor.fetchall()
            found.append(CLOCK.monotonic() - began)
    return found


def time_cold(asker: Viewer, tile: Tile, rounds: int) -> list[float]:
    """Seconds of Superset's answers past its cache."""
    return [asker.answer(tile, is_cold=True)[0] for _ in range(rounds)]


def spread(values: Sequence[float]) -> Document:
    """Milliseconds."""
    ordered = sorted(values)
    shares = {f"p{share}": round(1000 * quantile(ordered, share / 100), 1) for share in (50, 95)}
    return {**shares, "max": round(1000 * ordered[-1], 1), "runs": len(ordered)}
