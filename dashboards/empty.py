"""What a tile says where there is nothing to show, instead of Superset's own words for any of them.

The surprising thing: it is style. Superset lets nobody name a chart's empty state, but a dashboard has CSS of its own,
which can write over the words of one tile.
"""

from functools import cache
from pathlib import Path

from dashboards.reading import read_yaml
from dashboards.stories import Chart, Story

HERE = Path(__file__).resolve().parent
TITLE, REST = '[aria-label="empty"] + div > p:first-child', '[aria-label="empty"] + div > p + p'
"""The two paragraphs beside Superset's picture of an empty chart."""


@cache
def by_dataset() -> dict[str, str]:
    """What empty.yaml says."""
    return dict(read_yaml(HERE / "empty.yaml"))


def words(chart: Chart) -> str:
    """The chart's own, or those of all charts on its dataset; KeyError where there are none."""
    return chart.empty or by_dataset()[chart.dataset]


def _string(text: str) -> str:
    """A string of CSS."""
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'


def css(story: Story) -> str:
    """Rules for every tile of a dashboard."""
    rules = [f"{TITLE} {{ font-size: 0; }}", f"{TITLE}::after {{ font-size: 14px; }}", f"{REST} {{ display: none; }}"]
    for _, chart in story.placed():
        tile = f"[data-test-chart-name={_string(chart.title)}]"
        rules.append(f"{tile} {TITLE}::after {{ content: {_string(words(chart))}; }}")
    return "\n".join(rules)
