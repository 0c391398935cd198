"""Which streams the server knows, under which names, and the topics behind each."""

from local.replay.log import DATA_CENTRES

CANONICAL = (
    "mediawiki.recentchange",
    "mediawiki.page-create",
    "mediawiki.page-delete",
    "mediawiki.page-links-change",
    "mediawiki.page-move",
    "mediawiki.page-properties-change",
    "mediawiki.page-undelete",
    "mediawiki.revision-create",
    "mediawiki.revision-score",
    "mediawiki.revision-tags-change",
    "mediawiki.revision-visibility-change",
    "mediawiki.page_change.v1",
    "eventgate-main.test.event",
)
"""Names of the real server; `revision-score` is gone there, but recordings of it exist."""

_NO_ALIAS = ("mediawiki.page_change.v1", "mediawiki.revision-tags-change", "mediawiki.revision-visibility-change")

STREAMS = {name: name for name in CANONICAL} | {
    "test" if name == "eventgate-main.test.event" else name.removeprefix("mediawiki."): name
    for name in CANONICAL
    if name not in _NO_ALIAS
}
"""Every name a request may use, and the stream it stands for."""


def topics_of(names: list[str]) -> list[str]:
    """Topics of the named streams in the order a fresh cursor lists them, each once."""
    topics = [f"{centre}.{STREAMS[name]}" for name in names for centre in DATA_CENTRES]
    return list(dict.fromkeys(topics))
