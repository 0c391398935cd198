"""Superset's log of what people do: none is kept, and none is heard of.

Runs inside Superset, as a hook of Flask. The surprising thing: heard of, it undoes log-ins. What the log-in page tells
of itself is answered with nobody's session, and where that answer comes after the log-in's own, whoever has just logged
in stands at the log-in page again.
"""

from typing import Any


def keep_none(app: Any) -> None:
    """Superset writes rows for each tile anybody looks at, millions a day with ten viewers, and deletes none."""

    def nothing(*_: Any, **__: Any) -> None:
        """Not even a look at what there would be to say."""

    # this very object: many functions have bound themselves to it already
    logger = app.config["EVENT_LOGGER"]
    logger.log = logger.log_with_context = nothing


def hear_of_none(app: Any) -> None:
    """Pages tell nevertheless, and are answered before there is a session."""
    from flask import request  # of Superset's environment

    app.before_request(lambda: app.response_class() if request.endpoint == "Superset.log" else None)
