"""What is measured: each dimension, metric and rollup, declared once.

Expressions run over one *classified* event (`jobs.lib.classify`); how the values of many become one is `merge`. Tables,
views, comments and the dictionary are rendered from these declarations or checked against them.
The surprising thing: a `distinct` metric does not add up, so only the batch layer computes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PgType = Literal["text", "bigint", "integer", "smallint", "boolean", "uuid", "timestamptz"]
Merge = Literal["sum", "max", "distinct"]
Grain = Literal["minute", "hour", "day"]

SUFFIXES: Mapping[Grain, str] = MappingProxyType({"minute": "", "hour": "_hourly", "day": "_daily"})
"""Of the tables of each grain. The speed layer keeps minutes only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a classified event. `expr` is none: it comes out of `jobs.lib.classify`."""

    name: str
    pg: PgType
    help: str
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """What a rollup groups by. `in_key=False`: decided by the other dimensions, shown beside them.

    `values`: the only ones there are, where they are few.
    """

    name: str
    pg: PgType
    label: str
    help: str
    in_key: bool = True
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a rollup counts: each event's `value` (SQL), and how values, increments and coarser grains combine."""

    name: str
    value: str
    pg: PgType
    merge: Merge
    label: str
    help: str
    lowest: int | None = 0

    @property
    def aggregate(self) -> str:
        """The SQL aggregate over a group's events."""
        return {"sum": "SUM({})", "max": "MAX({})", "distinct": "COUNT(DISTINCT {})"}[self.merge].format(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """One noun: the Delta table, the `speed.`/`batch.`/`serving.` tables and the dataset of that name."""

    name: str
    help: str
    dimensions: tuple[Dimension, ...]
    metrics: tuple[Metric, ...]
    where: str = "TRUE"
    """Which events it is about (SQL predicate over a classified event)."""

    @property
    def key(self) -> tuple[str, ...]:
        """Primary key: the window first, so that neighbours in time are neighbours on disk."""
        return ("window_start", *(d.name for d in self.dimensions if d.in_key))

    @property
    def additive(self) -> tuple[Metric, ...]:
        """The metrics the speed layer can keep."""
        return tuple(m for m in self.metrics if m.merge != "distinct")

    @property
    def summed(self) -> tuple[Metric, ...]:
        """The metrics whose total is the same at every grain."""
        return tuple(m for m in self.metrics if m.merge == "sum")

    def measured(self, grain: Grain) -> tuple[Metric, ...]:
        """The metrics of its rows of a grain: a `distinct` of minutes would be of no use for anything coarser."""
        return self.additive if grain == "minute" else self.metrics

    def table(self, grain: Grain) -> str:
        """Name of its table of a grain."""
        return f"{self.name}{SUFFIXES[grain]}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a speed increment, in order."""
        return (
            "window_start",
            *(d.name for d in self.dimensions),
            *(m.name for m in self.additive),
        )


WIKI = Dimension(name="wiki", pg="text", label="Wiki", help="Database name of the wiki; `unknown` if absent.")
TYPE = Dimension(
    name="type",
    pg="text",
    label="Event type",
    help="edit, new, log, categorize, external, or whatever the source sends.",
)
NAMESPACE = Dimension(
    name="namespace", pg="integer", label="Namespace", help="MediaWiki namespace number; -100 if absent."
)
USER_CLASS = Dimension(
    name="user_class",
    pg="text",
    label="User class",
    help="bot, registered, temporary, anonymous or hidden.",
    values=("bot", "registered", "temporary", "anonymous", "hidden"),
)
USER_KEY = Dimension(
    name="user_key",
    pg="uuid",
    label="User key",
    help="First 128 bits of HMAC-SHA256 of the true user name; all zeros for hidden users.",
)
USER_NAME = Dimension(
    name="user_name",
    pg="text",
    label="User",
    help="User name as shown: IP addresses cut to /24 or /48; `hidden` when the source removed it.",
    in_key=False,
)
TITLE = Dimension(
    name="title",
    pg="text",
    label="Page",
    help="Full page title; IP addresses in user pages cut to /24 or /48; `unknown` if absent.",
)
SIZE_BUCKET = Dimension(
    name="size_bucket",
    pg="text",
    label="Size of change",
    help="Sign and decade of the bytes changed: 0, +1, +10 … +100k, -1 … -100k; `unknown` without a length.",
    values=(
        "0",
        "unknown",
        *(f"{sign}{decade}" for sign in "+-" for decade in ("1", "10", "100", "1k", "10k", "100k")),
    ),
)


def _count(name: str, condition: str, label: str, help: str) -> Metric:
    value = f"CASE WHEN {condition} THEN 1 ELSE 0 END"
    return Metric(name=name, value=value, pg="bigint", merge="sum", label=label, help=help)


def _sum(name: str, label: str, help: str) -> Metric:
    return Metric(name=name, value=name, pg="bigint", merge="sum", label=label, help=help)


def _distinct(name: str, value: str, label: str, help: str) -> Metric:
    return Metric(name=name, value=value, pg="bigint", merge="distinct", label=label, help=help)


EVENTS = Metric(name="events", value="1", pg="bigint", merge="sum", label="Events", help="Every event but canaries.")
EDITS = _count("edits", "is_edit", "Edits", "Events of type edit or new.")
NEW_PAGES = _count("new_pages", "is_new_page", "New pages", "Events of type new.")
MINOR_EDITS = _count("minor_edits", "is_edit AND is_minor", "Minor edits", "Edits their author marked as minor.")
BYTES_ADDED = _sum("bytes_added", "Bytes added", "Sum of the positive length changes of edits, in bytes.")
BYTES_REMOVED = _sum(
    "bytes_removed", "Bytes removed", "Sum of the negative length changes of edits, in bytes, as a positive number."
)
UNPATROLLED = _count(
    "unpatrolled_edits",
    "is_edit AND is_unpatrolled",
    "Unpatrolled edits",
    "Edits with `patrolled` false; a wiki that does not patrol sends none.",
)
REVERTS = _count(
    "reverts",
    "is_edit AND is_revert",
    "Reverts",
    "Edits whose summary begins with the wiki's undo or rollback wording.",
)
EDITORS = _distinct(
    "editors",
    "CASE WHEN is_edit AND user_class <> 'hidden' THEN user_key END",
    "Editors",
    "Distinct users among edits, hidden ones not counted; exact, from the batch layer.",
)
PAGES = _distinct(
    "pages",
    "namespace, title",
    "Pages",
    "Distinct pages edited; exact, from the batch layer.",
)
LAST_EDIT_AT = Metric(
    name="last_edit_at",
    value="event_time",
    pg="timestamptz",
    merge="max",
    label="Last edit",
    help="Time of the latest edit (UTC).",
    lowest=None,
)

ACTIVITY = Rollup(
    name="activity",
    help="All events by wiki, type, namespace and user class.",
    dimensions=(WIKI, TYPE, NAMESPACE, USER_CLASS),
    metrics=(
        EVENTS,
        EDITS,
        NEW_PAGES,
        MINOR_EDITS,
        BYTES_ADDED,
        BYTES_REMOVED,
        UNPATROLLED,
        REVERTS,
        EDITORS,
    ),
)
USER_ACTIVITY = Rollup(
    name="user_activity",
    help="Edits by user.",
    dimensions=(WIKI, USER_KEY, USER_NAME, USER_CLASS),
    metrics=(EDITS, NEW_PAGES, BYTES_ADDED, BYTES_REMOVED, REVERTS, PAGES),
    where="is_edit",
)
PAGE_ACTIVITY = Rollup(
    name="page_activity",
    help="Edits by page.",
    dimensions=(WIKI, NAMESPACE, TITLE),
    metrics=(EDITS, BYTES_ADDED, BYTES_REMOVED, REVERTS, LAST_EDIT_AT, EDITORS),
    where="is_edit",
)
EDIT_SIZES = Rollup(
    name="edit_sizes",
    help="Edits by the decade of the bytes they changed.",
    dimensions=(WIKI, USER_CLASS, SIZE_BUCKET),
    metrics=(EDITS,),
    where="is_edit",
)

ROLLUPS = (ACTIVITY, USER_ACTIVITY, PAGE_ACTIVITY, EDIT_SIZES)

RECENT_CHANGES = (
    Column(name="received_at", pg="timestamptz", help="When the record entered Kafka (UTC)."),
    Column(name="event_id", pg="uuid", help="The source's `meta.id` (its md5 where that is no UUID)."),
    Column(name="event_time", pg="timestamptz", help="When the change happened (UTC)."),
    Column(name="wiki", pg="text", help=WIKI.help),
    Column(name="type", pg="text", help=TYPE.help),
    Column(name="namespace", pg="integer", help=NAMESPACE.help),
    Column(name="title", pg="text", help=TITLE.help),
    Column(name="user_key", pg="uuid", help=USER_KEY.help),
    Column(name="user_name", pg="text", help=USER_NAME.help),
    Column(name="user_class", pg="text", help=USER_CLASS.help),
    Column(
        name="severity",
        pg="text",
        help="minor or major, as the author marked the edit; NULL on other events.",
        nullable=True,
    ),
    Column(
        name="bytes_changed",
        pg="bigint",
        help="New length minus old length in bytes; NULL when not an edit or unknown.",
        nullable=True,
    ),
    Column(name="is_revert", pg="boolean", help=REVERTS.help),
    Column(name="is_unpatrolled", pg="boolean", help=UNPATROLLED.help),
    Column(name="old_revision", pg="bigint", help="Revision before the edit.", nullable=True),
    Column(name="new_revision", pg="bigint", help="Revision the edit made.", nullable=True),
    Column(name="log_type", pg="text", help="Kind of log entry; NULL on other events.", nullable=True),
    Column(name="log_action", pg="text", help="Action of the log entry; NULL on other events.", nullable=True),
)
"""`recent_changes`, speed layer only: one row an event that was younger than 3 h when it arrived."""

RECENT_CHANGES_WINDOW_HOURS = 3
