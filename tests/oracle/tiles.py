"""What each tile of the dashboards should say, as questions to the oracle's tables, with the tile's own column names.

The surprising thing: nothing is read from the dashboards. Whoever adds a chart says in `stories/` once more, in plain
Python, what it means, or here why nobody can.
"""

from collections.abc import Mapping

from tests.oracle.stories import history, patrol, pulse
from tests.oracle.tile import Tile

TILES: Mapping[str, Tile] = {
    f"{story}/{name}": tile
    for story, tiles in (("pulse", pulse.TILES), ("history", history.TILES), ("patrol", patrol.TILES))
    for name, tile in tiles.items()
}
NOT_COMPARED: Mapping[str, str] = {
    "operations": "what the machinery says of itself; the oracle knows records alone",
}
"""Chart, or dashboard: why nothing is said of it above."""
