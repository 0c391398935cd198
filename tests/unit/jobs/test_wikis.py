"""What a wiki's server name says."""

import pytest

from jobs.lib.wikis import wiki_row


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("pt.wikipedia.org", ("wikipedia", "pt", "Portuguese", "BR")),
        ("ja.wiktionary.org", ("wiktionary", "ja", "Japanese", "JP")),
        ("simple.wikipedia.org", ("wikipedia", "simple", "Simple English", "US")),
        ("commons.wikimedia.org", ("commons", "none", None, None)),
        ("www.wikidata.org", ("wikidata", "none", None, None)),
        ("zh-yue.wikipedia.org", ("wikipedia", "zh-yue", "Cantonese", "HK")),
        ("qqqq-zz-zzzzzzzzzzz.wikipedia.org", ("wikipedia", "qqqq-zz-zzzzzzzzzzz", None, None)),
        (None, ("unknown", "none", None, None)),
    ],
)
def test_project_language_and_territory(server: str | None, expected: tuple[str | None, ...]) -> None:
    wiki, shown, *facts = wiki_row("somewiki", server)
    assert (wiki, shown) == ("somewiki", server or "unknown")
    assert tuple(facts) == expected
