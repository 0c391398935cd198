"""Rows of a dashboard -> Superset's `position_json`: a flat map of components that name their children.

Widths are twelfths, heights units of 8 px. The surprising thing: a component's id is what Superset remembers it by in a
viewer's browser, so ids are made of names and not of chance.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.stories import Story, identity

WIDTH = 12
GUTTER = 2
"""Units between two charts of a column."""
ROOT, GRID = "ROOT_ID", "GRID_ID"

Positions = dict[str, Any]


def _component(kind: str, key: str, parents: list[str], children: list[str], **meta: Any) -> dict[str, Any]:
    name = f"{kind}-{identity('component', key)[:13]}"
    return {"type": kind, "id": name, "children": children, "parents": parents, "meta": meta}


def _chart(story: Story, name: str, parents: list[str], width: int, height: int, number: int) -> dict[str, Any]:
    return _component(
        "CHART",
        f"{story.name}/{name}",
        parents,
        [],
        chartId=number,
        uuid=identity("chart", f"{story.name}/{name}"),
        sliceName=story.charts[name].title,
        width=width,
        height=height,
    )


def _rows(story: Story, numbers: Mapping[str, int], notice: str | None) -> Iterator[list[dict[str, Any]]]:
    """Each row's components; the first is the one that stands in the grid."""
    under = [ROOT, GRID]
    if notice:
        yield _text(story, "notice", notice, 7)
    for place, row in enumerate(story.dashboard.rows):
        key = f"{story.name}/row/{place}"
        if row.heading is not None:
            shown = {"text": row.heading, "headerSize": "MEDIUM_HEADER", "background": "BACKGROUND_TRANSPARENT"}
            yield [_component("HEADER", key, under, [], **shown)]
        else:
            line = _component("ROW", key, under, [], background="BACKGROUND_TRANSPARENT")
            inside = [*under, line["id"]]
            made = [_chart(story, name, inside, width, row.height, numbers[name]) for name, width in row.charts.items()]
            line["children"] += [chart["id"] for chart in made]
            if row.column:
                pile = _component(
                    "COLUMN", f"{key}/column", inside, [], width=row.column.width, background="BACKGROUND_TRANSPARENT"
                )
                stacked = [
                    _chart(story, name, [*inside, pile["id"]], row.column.width, height, numbers[name])
                    for name, height in row.column.charts.items()
                ]
                pile["children"] += [chart["id"] for chart in stacked]
                line["children"].append(pile["id"])
                made += [pile, *stacked]
            yield [line, *made]


def _text(story: Story, key: str, text: str, height: int) -> list[dict[str, Any]]:
    line = _component("ROW", f"{story.name}/text/{key}", [ROOT, GRID], [], background="BACKGROUND_TRANSPARENT")
    inside = [ROOT, GRID, line["id"]]
    words = _component("MARKDOWN", f"{story.name}/words/{key}", inside, [], code=text, width=WIDTH, height=height)
    line["children"].append(words["id"])
    return [line, words]


def positions(story: Story, numbers: Mapping[str, int], notice: str | None) -> Positions:
    """`position_json` of a dashboard; `notice` is the banner on top of it."""
    rows = list(_rows(story, numbers, notice))
    told: Positions = {
        "DASHBOARD_VERSION_KEY": "v2",
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": story.dashboard.title}},
        ROOT: {"type": "ROOT", "id": ROOT, "children": [GRID]},
        GRID: {"type": "GRID", "id": GRID, "parents": [ROOT], "children": [row[0]["id"] for row in rows]},
    }
    return told | {component["id"]: component for row in rows for component in row}
