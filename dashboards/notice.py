"""The banner of every dashboard whose numbers are not Wikimedia's own of now.

Invented data never mix with real ones, and say so wherever they are shown. The surprising thing: the banner is part of
what is imported, so it cannot be filtered away, and changes only with the source, which never does.
"""

import re

KINDS = {
    "synthetic": "**Invented events.** They have the shape of Wikimedia's, but no edit here was ever made",
    "recording": "**A recording is being played.** These edits were made once, at another time",
    "url": "**Another source than Wikimedia.** What is shown is what that server sends",
    "unset": "**No source yet.** There is nothing to show before the first start",
}


def notice(source_id: str) -> str | None:
    """Markdown for a source; none for the live one."""
    if source_id == "live":
        return None
    kind = source_id.split(":", 1)[0]
    words = KINDS.get(kind, "**Not Wikimedia's live events**")
    return f"{words} (source `{re.sub('[^A-Za-z0-9:/._-]', '?', source_id)}`)."
