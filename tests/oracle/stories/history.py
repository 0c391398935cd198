"""What the tiles of History should say."""

from tests.oracle import measures as m
from tests.oracle.measures import named, total
from tests.oracle.questions import Question
from tests.oracle.tile import EDITS, HOURS, USER, Tile, of_newest_hour, tile

TILES = {
    "exactness": tile("ever", of=m.source, by={"Exact numbers": "exact", "Newest event": "newest"}),
    "edits_newest_hour": of_newest_hour("activity", "edits", total("edits"), where=m.is_final_edit),
    "editors_newest_hour": of_newest_hour("user_activity", "editors", m.EDITORS, where=m.is_published),
    "new_pages_newest_hour": of_newest_hour("activity", "new_pages", total("new_pages"), where=m.is_final_edit),
    "growth_newest_hour": of_newest_hour("activity", "bytes_net", m.net, where=m.is_final_edit),
    "edits_by_hour": tile("days", of=m.hours_over, where=m.is_edited, by=HOURS, numbers=EDITS),
    "edits_by_day": tile(
        "days",
        of="activity",
        where=m.is_published,
        by={"window_start": m.day},
        spread="user_class",
        numbers=EDITS,
    ),
    "edits_by_week": tile(
        "ever", of="activity", where=m.is_published, by={"Week from": m.week}, spread="user_class", numbers=EDITS
    ),
    "editors_by_day": tile(
        "days",
        of="user_activity",
        where=lambda row: m.is_published(row) and m.is_known(row),
        by={"window_start": m.day},
        spread="user_class",
        numbers={"editors": m.EDITORS},
    ),
    "week_heat_map": tile(
        "days",
        of=m.hours_over,
        where=lambda row: m.is_edited(row) and row["user_class"] in m.PEOPLE,
        by={"Hour (UTC)": m.hour_of_day, "Weekday": m.weekday},
        numbers={"Edits an hour": lambda rows: total("edits")(rows) / m.distinct("hour")(rows)},
    ),
    "places": tile(
        "days",
        of="activity",
        where=m.is_final_edit,
        by=named("project", Language=m.language),
        numbers=EDITS,
        order="edits",
    ),
    "growth": Tile(
        (
            Question(
                of=m.hours_over,
                where=m.is_edited,
                by=HOURS,
                numbers={
                    "bytes_added": total("bytes_added"),
                    "Bytes removed": lambda rows: -total("bytes_removed")(rows),
                },
            ),
            Question(of=m.hours_over, where=m.is_edited, by=HOURS, numbers={"bytes_net": m.net}),
        ),
        "days",
    ),
    "new_pages": tile(
        "days",
        of=m.hours_over,
        where=lambda row: row["new_pages"] > 0,
        by=HOURS,
        spread="user_class",
        numbers={"new_pages": total("new_pages")},
    ),
    "new_pages_by_wiki": tile(
        "days",
        of="activity",
        where=m.is_final_edit,
        by=named("wiki"),
        numbers={"new_pages": total("new_pages"), **EDITS, "bytes_net": m.net},
        order="new_pages",
        limit=10,
    ),
    "tops_period": tile(
        "ever",
        of=m.newest_day("page_activity"),
        by={"grain": lambda _: "day", "From": m.start_of_day},
        numbers={"As of": m.end_of_hours, "Wikis": m.distinct("wiki")},
    ),
    # by namespace too, which the tile does not show
    "top_pages": tile(
        "ever",
        of=m.pages_of_newest_day,
        by=named("wiki", "title", "edits", "bytes_added", "bytes_removed", "reverts"),
        order="edits",
        limit=100,
    ),
    "top_editors": tile(
        "ever",
        of=m.newest_day("user_activity"),
        by=USER,
        numbers={"Edits": total("edits"), "New pages": total("new_pages"), "Bytes added": total("bytes_added")},
        order="Edits",
        limit=100,
    ),
}
