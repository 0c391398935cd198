"""Viewers side by side share a tile's answer as it was sent, not only the rows in it.

Superset keeps a question's rows, but finds the chart, the rights and the SQL anew for everybody: 30 ms of Python. Runs
inside Superset, as hooks of Flask. Who may see an answer is not decided here. Superset itself gave this viewer this
very question's answer a moment ago, and named it; what anybody has been given under that name since, the viewer is
given too. (The name holds all that the rows depend on: the question with its filters, the dataset's version, row-level
rules, and the viewer, where a dataset's SQL speaks of the viewer.) The surprising thing: Superset is asked again,
behind the viewer's back, when half of either time has gone by, so that of ten viewers none waits for it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Any

from flask import Flask, Response, current_app, g, request, session
from superset.extensions import cache_manager
from werkzeug.test import EnvironBuilder, run_wsgi_app

ENDPOINTS = ("ChartDataRestApi.data", "Superset.explore_json")
"""What tiles ask; the second those of viz types that are older than the first."""
OF_A_DASHBOARD = {"form_data", "dashboard_id", "force"}
"""Arguments in the address; with others (`csv`) something else is wanted."""
ALLOWED = timedelta(minutes=2)
"""For so long, and half of it while they look, people whose rights were taken away may see what others are shown."""
ROWS_KEPT = timedelta(seconds=2)
"""An answer is given until its rows are this old for each second that Superset keeps them itself, so that asking again
in its second half finds new ones."""
PENDING = 32
"""Questions that wait in a process to be asked again. With more, whoever comes when an answer is too old waits."""
AGAIN = "wikiweir.again"
"""In the environment of a request that is made here."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Something in the cache. `what`: of an answer its text, of a question the name of its answer."""

    what: str
    since: datetime
    lasts: timedelta

    @property
    def left(self) -> timedelta:
        return self.since + self.lasts - datetime.now(UTC)


class SharedAnswers:
    """Hooks of an application."""

    def __init__(self, app: Flask) -> None:
        self._cache = cache_manager.data_cache
        self._again = ThreadPoolExecutor(1, thread_name_prefix="again")  # however many are due: viewers go first
        self._room = BoundedSemaphore(PENDING)
        app.before_request(self._given)
        app.after_request(self._keep)

    def _given(self) -> Response | None:
        g.tile_question = question = _question()
        if question is None or AGAIN in request.environ or _is_forced():
            return None
        allowed: Kept | None = self._cache.get(question)
        answer: Kept | None = self._cache.get(allowed.what) if allowed else None
        if allowed is None or answer is None or answer.left <= timedelta():
            return None
        if self._is_due(allowed.what, answer) or self._is_due(question, allowed):
            self._ask_again()
        g.tile_question = None
        return Response(answer.what, content_type="application/json; charset=utf-8")

    def _keep(self, response: Response) -> Response:
        question = g.get("tile_question")
        if question is None:
            return response
        if response.status_code != 200 or response.mimetype != "application/json":
            self._cache.delete(question)
            return response
        text = response.get_data(as_text=True)
        told = json.loads(text)
        results = told.get("result", [told])
        rows_seconds = min((int(result.get("cache_timeout") or 0) for result in results), default=0)
        answer = Kept(text, _read(results), ROWS_KEPT * rows_seconds)
        if answer.left > timedelta() and all(result.get("cache_key") for result in results):
            name = _digest("answer", _form(), *(result["cache_key"] for result in results))
            for key, kept in ((name, answer), (question, Kept(name, datetime.now(UTC), ALLOWED))):
                self._cache.set(key, kept, timeout=_seconds(kept.left))
        return response

    def _is_due(self, key: str, kept: Kept) -> bool:
        """Whether its first half is over, and nobody else sees to it."""
        half, mark = kept.lasts / 2, f"{key}_again"
        if kept.left > half or self._cache.get(mark):  # `add` of a cache in files takes what has expired for there
            return False
        self._cache.set(mark, True, timeout=_seconds(half))
        return True

    def _ask_again(self) -> None:
        """By the same viewer, in the same words; what comes is kept as any answer is."""
        data = request.get_data() if request.is_json else request.form.to_dict()
        headers = {name: value for name, value in request.headers.items() if request.is_json or name != "Content-Type"}
        builder = EnvironBuilder(
            path=request.path, query_string=request.query_string.decode(), method=request.method, headers=headers,
            data=data, environ_overrides={AGAIN: True},
        )  # fmt: skip
        app = current_app._get_current_object()  # the one behind this thread's name for it
        if self._room.acquire(blocking=False):
            asked = self._again.submit(run_wsgi_app, app, builder.get_environ(), buffered=True)
            asked.add_done_callback(lambda _: self._room.release())


def _seconds(time: timedelta) -> int:
    """Rounded up: nought would be for ever."""
    return 1 + int(time.total_seconds())


def _question() -> str | None:
    """Who asks what; none for anything but a tile as a dashboard asks for it, by a browser's session or nobody's."""
    if request.endpoint not in ENDPOINTS or request.method != "POST" or "Authorization" in request.headers:
        return None
    asked = request.get_json(silent=True) if request.is_json else {}
    if not isinstance(asked, Mapping) or set(request.args) - OF_A_DASHBOARD:
        return None
    if (asked.get("result_type", "full"), asked.get("result_format", "json")) != ("full", "json"):
        return None
    body = request.get_data(as_text=True) if request.is_json else _form()
    return _digest("question", str(session.get("_user_id")), request.full_path, body)


def _form() -> str:
    """The question at the older address; its answer repeats it. Empty at the newer."""
    return str(request.form.get("form_data", ""))


def _is_forced() -> bool:
    """Whether somebody wants it read anew; for everybody, then."""
    return request.args.get("force") == "true" or bool(request.is_json and request.get_json().get("force"))


def _read(results: Sequence[Mapping[str, Any]]) -> datetime:
    """When the oldest rows in it were read; just now, if none were kept."""
    kept = [result["cached_dttm"] for result in results if result.get("cached_dttm")]
    return min((datetime.fromisoformat(at).replace(tzinfo=UTC) for at in kept), default=datetime.now(UTC))


def _digest(*parts: str) -> str:
    return f"{parts[0]}_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"
