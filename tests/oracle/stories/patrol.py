"""What the tiles of Patrol should say."""

from tests.oracle import measures as m
from tests.oracle.measures import named, total
from tests.oracle.tile import MINUTES, USER, changes, key_figure, tile

TILES = {
    "unpatrolled": key_figure("activity", "Unpatrolled edits", total("unpatrolled_edits")),
    "without_account": key_figure("activity", "Edits without an account", total("edits", m.is_without_account)),
    "reverted": key_figure("activity", "Reverts", total("reverts")),
    "large": key_figure(
        "edit_sizes",
        "Large changes",
        total("edits", lambda row: row["size_bucket"] in m.LARGE),
        where=lambda row: not m.is_bot(row),
    ),
    "large_additions": changes(
        lambda row: m.is_edit(row) and not m.is_bot(row) and (row["bytes_changed"] or 0) >= 10_000, "bytes_changed"
    ),
    "large_removals": changes(
        lambda row: m.is_edit(row) and not m.is_bot(row) and (row["bytes_changed"] or 0) <= -10_000,
        "bytes_changed",
        rises=True,
    ),
    "unpatrolled_edits": changes(lambda row: row["is_unpatrolled"] and m.is_edit(row)),
    "without_account_edits": changes(lambda row: m.is_without_account(row) and m.is_edit(row)),
    "reverts": changes(lambda row: row["is_revert"]),
    "newest_pages": changes(lambda row: row["type"] == "new"),
    # the last ten minutes are chosen, because its own fifteen end at a moment that goes on
    "contested_pages": tile(
        "minutes",
        of="recent_changes",
        where=m.is_edit,
        by=named("wiki", "title"),
        having=lambda rows: m.EDITORS(rows) >= 3,
        numbers={
            "editors": m.EDITORS,
            "edits": m.count(),
            "reverts": m.count(lambda row: row["is_revert"]),
            "bytes_net": m.known_sum("bytes_changed"),
        },
        order="editors",
        limit=50,
    ),
    "busiest_without_account": tile(
        "hours",
        of="recent_changes",
        where=lambda row: m.is_without_account(row) and m.is_edit(row),
        by=USER,
        numbers={
            "edits": m.count(),
            "wikis": m.distinct("wiki"),
            "pages": m.distinct("wiki", "namespace", "title"),
            "bytes_net": m.known_sum("bytes_changed"),
        },
        order="edits",
        limit=50,
    ),
    "patrol_load": tile(
        "hours",
        of="activity",
        where=m.is_edited,
        by=MINUTES,
        numbers={
            "unpatrolled_edits": total("unpatrolled_edits"),
            "unregistered_edits": total("edits", m.is_without_account),
        },
    ),
    "revert_rate": tile(
        "hours",
        of="activity",
        where=lambda row: row["reverts"] > 0,
        by=MINUTES,
        spread="user_class",
        numbers={"reverts": total("reverts")},
    ),
}
