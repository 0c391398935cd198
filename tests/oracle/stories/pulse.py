"""What the tiles of Pulse should say."""

from tests.oracle import measures as m
from tests.oracle.measures import named, total
from tests.oracle.tile import EDITS, MINUTES, USER, key_figure, tile

TILES = {
    "events_a_second": key_figure("activity", "Events a second", m.events_a_second),
    "edits": key_figure("activity", "Edits", total("edits")),
    "editors": key_figure("user_activity", "Editors", m.EDITORS, where=m.is_known),
    "bot_share": key_figure("activity", "Bot share", m.share("edits", m.is_bot)),
    "bytes_added": key_figure("activity", "Bytes added", total("bytes_added")),
    "bytes_removed": key_figure("activity", "Bytes removed", total("bytes_removed")),
    "freshness": tile("ever", of=m.source, numbers={"Age of the newest event": total("age")}),
    "live_share": tile("hours", of="activity", numbers={"live_share": m.share("events", m.is_live)}),
    "events_by_type": tile(
        "hours", of="activity", by=MINUTES, spread=m.event_type, numbers={"Events": total("events")}
    ),
    "who_edits": tile("hours", of="activity", where=m.is_edited, by=MINUTES, spread="user_class", numbers=EDITS),
    "battlefield": tile(
        "hours",
        of=m.battlefield,
        by=named("page", "direction"),
        numbers={"bytes_moved": m.moved, "minutes_ago": m.newest("minutes_ago"), **EDITS},
        order="bytes_moved",
        limit=60,
    ),
    "pages": tile("hours", of=m.battlefield, numbers={"pages": m.count()}),
    "biggest_pages": tile(
        "hours",
        of=m.battlefield,
        by=named("wiki", "title"),
        numbers={"bytes_moved": m.moved, "bytes_net": m.net, **EDITS},
        order="bytes_moved",
        limit=60,
    ),
    "top_pages": tile(
        "hours",
        of="page_activity",
        by=named("wiki", "title"),
        numbers={
            "Edits": total("edits"),
            "Added": total("bytes_added"),
            "Removed": total("bytes_removed"),
        },
        order="Edits",
        limit=50,
    ),
    "top_editors": tile(
        "hours",
        of="user_activity",
        where=m.is_known,
        by=USER,
        numbers={**EDITS, "wikis": m.distinct("wiki"), "new_pages": total("new_pages"), "bytes_net": m.net},
        order="edits",
        limit=50,
    ),
    "languages_on_the_map": tile(
        "hours",
        of="activity",
        where=lambda row: m.is_edited(row) and row["territory"],
        by={"code": "territory"},
        numbers={"m1": total("edits"), "m2": total("edits")},
    ),
    "top_wikis": tile(
        "hours",
        of="activity",
        where=m.is_edited,
        by=named("wiki"),
        numbers={
            **EDITS,
            "bot_share": m.share("edits", m.is_bot),
            "new_pages": total("new_pages"),
            "bytes_net": m.net,
        },
        order="edits",
        limit=50,
    ),
    "edit_sizes": tile(
        "hours", of="edit_sizes", by={"Bytes changed": "size_bucket"}, spread=m.direction_of_bucket, numbers=EDITS
    ),
    "edits_per_editor": tile(
        "hours", of=m.editors, by={"Edits made": "step"}, spread="user_class", numbers={"editors": m.count()}
    ),
    "running_count": tile(
        "hours",
        of="activity",
        by=MINUTES,
        spread=m.event_type,
        numbers={"events": total("events")},
        then=m.added_up,
    ),
    "minor_and_major": tile(
        "hours",
        of="activity",
        where=m.is_edited,
        by=MINUTES,
        numbers={
            "minor_edits": lambda rows: total("minor_edits")(rows) / total("edits")(rows),
            "major_edits": lambda rows: 1 - total("minor_edits")(rows) / total("edits")(rows),
        },
    ),
}
