"""How Superset looks: name, pictures, colours, and the labels and legends of its charts.

`CHARTS` is laid over the options that Superset gives its charting library, by viz type and without a check. The
surprising thing: what is said of `series` goes to each of them.
"""

import base64
from pathlib import Path
from typing import Any

NAME = "Wikiweir"
HOME = "/dashboard/list/"


def picture(name: str) -> str:
    """A picture of this folder as an address that needs no server."""
    data = Path(__file__).with_name(name).read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}"


SPINNER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 50 50"><circle cx="25" cy="25" r="20" fill="none"'
    ' stroke="#2F6DB5" stroke-width="4" stroke-dasharray="90 40"><animateTransform attributeName="transform"'
    ' type="rotate" from="0 25 25" to="360 25 25" dur="1s" repeatCount="indefinite"/></circle></svg>'
)

ICON = picture("icon.svg")

COLOURS = [
    "#2F6DB5",
    "#E8833A",
    "#2A9D8F",
    "#8E5EA2",
    "#C8506B",
    "#7A8B99",
    "#D9A400",
    "#5AA7D6",
    "#7FB069",
    "#A06B45",
    "#B58BC7",
    "#4A5A6A",
]
"""Told apart by people who see red and green alike as well; neighbours differ in lightness."""

COLOUR_SCHEME = {
    "id": "wikiweir",
    "label": "Wikiweir",
    "description": "The colours of Wikiweir's dashboards",
    "isDefault": True,
    "colors": COLOURS,
}

TOKENS = {
    "brandAppName": NAME,
    "brandLogoAlt": NAME,
    "brandLogoUrl": picture("logo.svg"),
    "brandLogoHref": HOME,
    "brandLogoHeight": "24px",
    "brandLogoMargin": "18px 0",
    "brandSpinnerSvg": SPINNER,
    "colorPrimary": "#2F6DB5",
    "colorLink": "#2F6DB5",
    "colorError": "#C8506B",
    "colorWarning": "#D9A400",
    "colorSuccess": "#2A9D8F",
    "colorInfo": "#5AA7D6",
    "fontUrls": [],
    "fontFamily": "Inter, Helvetica, Arial, sans-serif",
    "fontFamilyCode": "'IBM Plex Mono', 'Courier New', monospace",
    "transitionTiming": 0.2,
}

WITH_LEGEND = ("echarts_timeseries_line", "echarts_timeseries_bar", "echarts_area", "mixed_timeseries")
LEGEND = {"selector": False, "itemWidth": 16, "itemGap": 8}
"""Its "All" and "Inv" are dead, and without text, after a refresh; narrow items fit in half a page."""
PAGE_NAME = {
    "show": True,
    "position": "left",
    "verticalAlign": "bottom",  # on the bottom line the neighbours lie beside each other
    "offset": [2, -5],
    "formatter": "{@[3]}",  # x, y, size, entity
    "width": 135,
    "overflow": "break",
    "fontSize": 10,
    "opacity": 1,  # its bubble's otherwise
}


def name_where_it_fits(width: int) -> dict[str, Any]:
    """A box's label: a text that is given a width is left out where it does not fit, else it would be cut."""
    return {"formatter": "{fits|{b}}", "rich": {"fits": {"width": width}}}


CHARTS = {
    "echartsOptionsOverridesByChartType": {
        **{viz: {"legend": LEGEND} for viz in WITH_LEGEND},
        "bubble_v2": {
            "legend": LEGEND,
            "grid": {"right": 28},  # half of the largest bubble
            "xAxis": {"boundaryGap": ["80%", 0]},  # for the names at the left
            "series": {"label": PAGE_NAME, "labelLayout": {"hideOverlap": True}},
        },
        # a code of two letters, three reach into the gap; "wikiversity"
        "treemap_v2": {"series": {"label": name_where_it_fits(16), "upperLabel": name_where_it_fits(66)}},
    }
}
LIGHT: dict[str, Any] = {"token": TOKENS, "algorithm": "default", **CHARTS}
DARK: dict[str, Any] = {"token": TOKENS, "algorithm": "dark", **CHARTS}
