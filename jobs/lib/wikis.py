"""Rows of `speed.wikis`: what a server name says about a wiki, and what `langcodes` knows about its language.

The surprising thing: the territory is the language's most likely one (CLDR), so `en` is put in the United States; it is
for maps, not for claims about readers.
"""

from functools import cache

import langcodes
from langcodes.tag_parser import LanguageTagError

from wikiweir.definitions import LANGUAGE_NONE, site

WikiRow = tuple[str, str, str, str, str | None, str | None]
"""wiki, server_name, project, language, language_name, territory."""

OWN_CODES = {
    "simple": "en",
    "als": "gsw",
    "bat-smg": "sgs",
    "be-x-old": "be-tarask",
    "fiu-vro": "vro",
    "map-bms": "jv",
    "nds-nl": "nds-NL",
    "no": "nb",
    "roa-rup": "rup",
    "roa-tara": "nap",
    "zh-classical": "lzh",
    "zh-min-nan": "nan",
    "zh-yue": "yue",
}
"""Wikimedia's names that are no language tags, or another language's tag."""


@cache
def language_facts(language: str) -> tuple[str | None, str | None]:
    """English name and main territory of a wiki's language code; none where nobody knows."""
    if language == LANGUAGE_NONE:
        return None, None
    try:
        tag = langcodes.Language.get(OWN_CODES.get(language, language))
    except LanguageTagError:
        return None, None
    if not tag.is_valid():
        return None, None
    name = tag.display_name("en")
    return ("Simple English" if language == "simple" else name), tag.maximize().territory


def wiki_row(wiki: str, server_name: str | None) -> WikiRow:
    """What is kept about a wiki."""
    project, language = site(server_name)
    name, territory = language_facts(language)
    return wiki, server_name or "unknown", project, language, name, territory
