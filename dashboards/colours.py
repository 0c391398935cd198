"""The colour of a value or a series: the same thing has the same colour on every dashboard.

Superset looks them up by a column's value or a metric's name (and label, where the chart has named it). The surprising
thing: they are told apart by lightness, too, for readers to whom red and green look alike.
"""

BLUE = "#2B6CB0"
PALE_BLUE = "#9DBFE3"
GREY = "#6B7A8F"
PALE_GREY = "#C3C9D1"
ORANGE = "#E08E1B"
PINK = "#B5478F"
GREEN = "#1D9A83"
PALE_GREEN = "#7CC4B5"
RED = "#D5533F"
DEEP_RED = "#C2352B"
YELLOW = "#E0B13A"
VIOLET = "#8A63B8"
SAND = "#B9A15A"
DARK = "#44505E"

SERIES = {
    BLUE: (
        "edits",
        "major_edits",
        "events",
        "registered",
        "edit",
        "Major edits",
        "fact",
        "aggregated",
    ),
    PALE_BLUE: (
        "minor_edits",
        "Minor edits",
        "open",
        "duplicate",
        "cleaned",
    ),
    GREY: (
        "bot",
        "external",
        "reconciled",
    ),
    PALE_GREY: (
        "other",
        "unchanged",
        "unknown",
        "hidden",
        "pruned",
        "canary",
    ),
    ORANGE: (
        "unregistered_edits",
        "temporary",
        "Edits without an account",
        "left_to_batch",
    ),
    PINK: ("anonymous",),
    GREEN: (
        "added",
        "Bytes added",
        "bytes_added",
        "new",
        "equal",
        "published",
        "passed",
    ),
    PALE_GREEN: ("explained",),
    RED: (
        "removed",
        "Bytes removed",
    ),
    DEEP_RED: (
        "reverts",
        "Reverts",
        "differ",
        "blocked",
        "rejected",
        "failed",
    ),
    YELLOW: (
        "unpatrolled_edits",
        "Unpatrolled edits",
        "pending",
        "waiting",
    ),
    VIOLET: (
        "log",
        "rewritten",
        "checked",
    ),
    SAND: (
        "categorize",
        "promoted",
    ),
    DARK: (
        "bytes_net",
        "Net bytes",
    ),
}
LABEL_COLOURS = {series: colour for colour, all_of_it in SERIES.items() for series in all_of_it}
