"""`definitions.toml`, read once: what an edit, a user class, a size, a revert is.

The surprising thing: the rules stand in data, so that an independent check can read the same file
without importing any code of ours.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGE_NONE = "none"


@cache
def definitions() -> dict[str, Any]:
    """The whole document, as tomllib reads it."""
    return tomllib.loads((files("wikiweir") / "definitions.toml").read_text(encoding="utf-8"))


def site(server_name: str | None) -> tuple[str, str]:
    """Project and language of a server name, e.g. ``pt.wikipedia.org`` -> ``("wikipedia", "pt")``."""
    rules = definitions()["sites"]
    unknown = (definitions()["missing"]["project"], LANGUAGE_NONE)
    labels = (server_name or "").split(".")
    if len(labels) < 3 or labels[-1] != "org":
        return unknown
    first, domain = labels[0], labels[-2]
    if domain in rules["language_projects"]:
        return domain, LANGUAGE_NONE if first in rules["no_language"] else first
    if domain == "wikimedia":
        return first, LANGUAGE_NONE
    if domain in rules["single_projects"]:
        return domain, LANGUAGE_NONE
    return unknown
