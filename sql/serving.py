"""Renders the views of `serving` that stand on the rollups and on recent changes: `generated/views.sql`.

The surprising thing: what is live is found by the accounts of the hours' records, not by its rows. The layer keeps its
rows for days after they are published; looking among them for those of other hours would mean reading all of them.
"""

from collections.abc import Iterable, Iterator, Sequence

from wikiweir.rollups import ACTIVITY, RECENT_CHANGES, RECENT_CHANGES_WINDOW_HOURS, ROLLUPS, SUFFIXES, Grain, Rollup

LIVE = "(SELECT live.generation FROM ops.generations AS live WHERE live.state = 'live')"
RECENT_ABOUT = f"One row an event, those that arrived in the last {RECENT_CHANGES_WINDOW_HOURS} hours."
PLACES: tuple[tuple[Rollup, Grain], ...] = (
    *((rollup, "minute") for rollup in ROLLUPS),
    (ACTIVITY, "hour"),
    (ACTIVITY, "day"),
)
"""What is shown with the place of each wiki, too."""
PLACE = "COALESCE(w.project, 'unknown') AS project,\n    COALESCE(w.language, 'none') AS language"
LARGE_BYTES = 10_000
"""From how many bytes on a change is called large."""


def minute_view(rollup: Rollup) -> str:
    """`serving.<rollup>`: published hours from batch, the others from the live generation of speed."""
    columns = (*(f"s.{name}" for name in rollup.columns), "'speed'::text AS layer")
    return _by_layer(rollup, "minute", columns, _live(rollup))


def hour_view(rollup: Rollup) -> str:
    """`serving.<rollup>_hourly`: published hours from batch, the others added up from the minutes of speed."""
    columns = (
        "unpublished.hour",
        *(f"s.{d.name}" if d.in_key else f"max(s.{d.name}) AS {d.name}" for d in rollup.dimensions),
        *(f"{m.merge}(s.{m.name})::{m.pg} AS {m.name}" for m in rollup.additive),
        *(f"NULL::{m.pg} AS {m.name}" for m in rollup.metrics if m not in rollup.additive),
        "'speed'::text AS layer",
    )
    keys = _listed(("unpublished.hour", *(f"s.{d.name}" for d in rollup.dimensions if d.in_key)))
    return _by_layer(rollup, "hour", columns, f"{_live(rollup)}\nGROUP BY\n    {keys}")


def _live(rollup: Rollup) -> str:
    """Minutes of the hours that are not published."""
    return f"""FROM (
    SELECT o.event_hour AS hour
    FROM ops.stream_outcomes AS o
    WHERE o.generation = {LIVE}
        AND o.outcome = 'fact'
        AND o.reason = ''
        AND NOT EXISTS (SELECT FROM ops.published_hours AS p WHERE p.hour = o.event_hour)
) AS unpublished
JOIN speed.{rollup.name} AS s
    ON s.generation = {LIVE}
    AND s.window_start >= unpublished.hour
    AND s.window_start < unpublished.hour + interval '1 hour'"""


def _by_layer(rollup: Rollup, grain: Grain, speed: tuple[str, ...], live: str) -> str:
    batch = [f"b.{name}" for name in _column_names(rollup, grain)]
    return f"""-- {rollup.help}
CREATE VIEW serving.{rollup.table(grain)} AS
SELECT
    {_listed([*batch, "'batch'::text AS layer"])}
FROM batch.{rollup.table(grain)} AS b
UNION ALL
SELECT
    {_listed(speed)}
{live};
"""


def day_view(rollup: Rollup) -> str:
    """`serving.<rollup>_daily`: what of each day is published; the speed layer adds nothing to it."""
    columns = [*(f"b.{name}" for name in _column_names(rollup, "day")), "p.hours", "p.as_of"]
    return f"""-- {rollup.help}
CREATE VIEW serving.{rollup.table("day")} AS
SELECT
    {_listed(columns)}
FROM batch.{rollup.table("day")} AS b
JOIN ops.published_days AS p ON p.day = b.window_start;
"""


def _column_names(rollup: Rollup, grain: Grain) -> list[str]:
    return ["window_start", *(d.name for d in rollup.dimensions), *(m.name for m in rollup.measured(grain))]


def _listed(columns: Iterable[str]) -> str:
    return ",\n    ".join(columns)


def places_view(rollup: Rollup, grain: Grain) -> str:
    """`serving.<rollup>_places` and its hours or days: the rollup with the place of each wiki."""
    columns = (*_column_names(rollup, grain), *(("hours", "as_of") if grain == "day" else ("layer",)))
    shown = _listed([*(f"a.{column}" for column in columns), PLACE, "w.language_name", "w.territory"])
    return f"""-- {rollup.help} With the place of each wiki; one that is not described yet is `unknown` for a moment.
CREATE VIEW serving.{rollup.name}_places{SUFFIXES[grain]} AS
SELECT
    {shown}
FROM serving.{rollup.table(grain)} AS a
LEFT JOIN speed.wikis AS w ON w.wiki = a.wiki;
"""


def hour_totals_view() -> str:
    """`serving.hour_totals`: what edits come to."""
    sums = ("edits", "new_pages", "bytes_added", "bytes_removed")
    return _totals("hour", "unpublished.hour", sums, "WHERE s.edits > 0\n")


def minute_totals_view() -> str:
    """`serving.minute_totals`: what key figures ask for."""
    of_edits = ("new_pages", "minor_edits", "bytes_added", "bytes_removed", "unpatrolled_edits", "reverts")
    return _totals("minute", "s.window_start", ("events", "edits", *of_edits))


def _totals(grain: Grain, window: str, sums: Sequence[str], where: str = "") -> str:
    """Published hours from batch, the others added up from the minutes of speed."""
    batch = ("window_start", "user_class", *sums)
    speed = (window, "s.user_class", *(f"sum(s.{name})::bigint AS {name}" for name in sums))
    return f"""-- Sums of each {grain} over all wikis.
CREATE VIEW serving.{grain}_totals AS
SELECT
    {_listed((*(f"b.{name}" for name in batch), "'batch'::text AS layer"))}
FROM batch.{grain}_totals AS b
UNION ALL
SELECT
    {_listed((*speed, "'speed'::text AS layer"))}
{_live(ACTIVITY)}
{where}GROUP BY
    {window},
    s.user_class;
"""


def recent_view() -> str:
    """`serving.recent_changes`: the live generation's, as far as they are shown."""
    return f"""-- {RECENT_ABOUT}
CREATE VIEW serving.recent_changes AS
SELECT
    {_listed(f"r.{column.name}" for column in RECENT_CHANGES)}
FROM speed.recent_changes AS r
WHERE r.generation = {LIVE}
    AND r.received_at > now() - interval '{RECENT_CHANGES_WINDOW_HOURS} hours';
"""


def patrol_view() -> str:
    """`serving.patrol_changes`. The link is made of numbers and a server's name: nothing in it can have been typed."""
    shown = _listed([*(f"r.{column.name}" for column in RECENT_CHANGES), PLACE, "w.language_name"])
    return f"""-- {RECENT_ABOUT} With the place of its wiki, and a link.
CREATE VIEW serving.patrol_changes AS
SELECT
    {shown},
    COALESCE(abs(r.bytes_changed) >= {LARGE_BYTES}, false) AS is_large,
    CASE WHEN w.server_name ~ '^[a-z0-9-]+([.][a-z0-9-]+)+$' AND r.new_revision > 0 THEN
        'https://' || w.server_name || '/w/index.php?'
        || CASE WHEN r.old_revision > 0
            THEN 'diff=' || r.new_revision || '&oldid=' || r.old_revision
            ELSE 'oldid=' || r.new_revision
        END
    END AS diff_url
FROM serving.recent_changes AS r
LEFT JOIN speed.wikis AS w ON w.wiki = r.wiki;
"""


def views() -> Iterator[str]:
    """All of them, each after what it stands on."""
    for view in (minute_view, hour_view, day_view):
        yield from map(view, ROLLUPS)
    yield from (places_view(rollup, grain) for rollup, grain in PLACES)
    yield hour_totals_view()
    yield minute_totals_view()
    yield recent_view()
    yield patrol_view()
