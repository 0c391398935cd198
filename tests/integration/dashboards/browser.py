"""A person at Superset, with a real Chromium: logs in, opens dashboards, looks at their tiles, chooses, downloads.

What a tile shows is read from the page as it is drawn. The surprising thing: the window is taller than any dashboard,
because Superset draws only the tiles that can be seen.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Dialog, Locator, Page, sync_playwright

from dashboards.stories import identity
from local import chromium

WIDE, NARROW, TALL = 1440, 1024, 9000
PATIENCE_MS, LOOK_EVERY_MS = 180_000, 500
"""For a page or a tile: two cores are shared with everything that the stack does."""

TILE = '[data-test="dashboard-component-chart-holder"]:has([data-test="slice-header"])'
"""Texts have holders, too, but no header."""
LOOK = """
tiles => tiles.map(tile => {
  const body = tile.querySelector('[data-test="slice-container"], .slice_container');
  const says = selector => tile.querySelector(selector) !== null;
  const text = tile.innerText;
  const words = tile.querySelector('[aria-label="empty"] + div > p');
  return {
    title: tile.querySelector('[data-test="slice-header"]')?.innerText.trim().split('\\n')[0] ?? '',
    text: text,
    drawn: says('.ant-empty, .ant-alert-error') || !!body?.querySelector('canvas, svg, table, .header-line'),
    loading: says('[data-test="loading-indicator"], .loading, .ant-spin-spinning'),
    failed: says('.ant-alert-error, [role="alert"]') || /unexpected error/i.test(text),
    empty: says('.ant-empty') || /no results were returned|no data/i.test(text),
    instead: words ? getComputedStyle(words, '::after').content : '',
  };
})
"""

CUT = """
tiles => tiles.filter(tile => {
  const edge = Math.min(tile.getBoundingClientRect().right, innerWidth);
  return [...tile.querySelectorAll('canvas, svg, table')].some(drawn => drawn.getBoundingClientRect().right > edge);
}).map(tile => tile.innerText.trim().split('\\n')[0])
"""
"""Titles of tiles in which something hangs over the edge."""

EDGE = """
tiles => tiles.filter(tile => [...tile.querySelectorAll('canvas')].some(canvas => {
  const last = canvas.getContext('2d').getImageData(canvas.width - 1, 0, 1, canvas.height).data;
  return last.some((value, place) => place % 4 === 3 && value > 0);
})).map(tile => tile.innerText.trim().split('\\n')[0])
"""
"""Titles of tiles whose last column of pixels is not empty: where a chart has axes, a label or a mark is cut there."""

CUT_CELLS = """
tiles => tiles.flatMap(tile => [...tile.querySelectorAll('td, td *')])
  .filter(cell => cell.scrollWidth > cell.clientWidth && cell.clientWidth > 0).map(cell => cell.innerText)
"""
"""Texts of cells that are wider than their column: they would be cut, or lie on the next one."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile as a person sees it."""

    title: str
    text: str
    drawn: bool
    loading: bool
    failed: bool
    empty: bool
    instead: str
    """What it says for that, as CSS."""


@dataclass(slots=True)
class Person:
    """A page that is logged in or not. `noticed`: dialogs and errors of scripts, which there must not be."""

    page: Page
    url: str
    noticed: list[str]

    def log_in(self, user: str, password: str) -> None:
        """By the log-in page, as anybody."""
        self.page.goto(f"{self.url}/login/", wait_until="commit")
        self.page.locator('[data-test="username-input"]').fill(user)
        self.page.locator('[data-test="password-input"]').fill(password)
        self.page.locator('[data-test="login-button"]').click()
        self.page.wait_for_url(lambda address: "/login" not in address, wait_until="commit")

    def open(self, dashboard: str) -> list[Tile]:
        """Open a dashboard and wait until every tile has come to rest."""
        self.page.goto(f"{self.url}/superset/dashboard/{dashboard}/", wait_until="commit")
        self.page.locator(TILE).first.wait_for()
        return self.settled()

    def tiles(self) -> list[Tile]:
        """Every tile, as it is now."""
        found = self.page.locator(TILE).evaluate_all(LOOK)
        return [Tile(**tile) for tile in found]

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Look again and again."""
        for _ in range(PATIENCE_MS // LOOK_EVERY_MS):
            if is_so():
                return
            self.page.wait_for_timeout(LOOK_EVERY_MS)
        raise TimeoutError("\n".join(f"{tile.title}: {tile}" for tile in self.tiles()))

    def settled(self) -> list[Tile]:
        """Wait until no tile is loading, twice in a row; the tiles as they were then."""
        calm = 0
        tiles: list[Tile] = []

        def is_calm() -> bool:
            nonlocal calm, tiles
            tiles = self.tiles()
            calm = calm + 1 if tiles and all(not tile.loading and tile.drawn for tile in tiles) else 0
            return calm == 2

        self.wait_until(is_calm)
        return tiles

    def tile(self, title: str) -> Tile:
        """The tile of that title, as it is now."""
        return next(tile for tile in self.tiles() if tile.title == title)

    def holder(self, title: str) -> Locator:
        """The tile's place in the page."""
        return self.page.locator(TILE).filter(has=self.page.locator('[data-test="slice-header"]', has_text=title))

    def choose(self, dashboard: str, name: str, value: str) -> None:
        """Choose a value of a dashboard's filter, and apply it."""
        box = self.page.locator(f"input#NATIVE_FILTER-{identity('filter', f'{dashboard}/{name}')}")
        box.click()
        box.fill(value)
        self.page.locator(".ant-select-item-option", has_text=re.compile(f"^{re.escape(value)}$")).first.click()
        self.page.keyboard.press("Escape")
        self.page.locator('[data-test="filter-bar__apply-button"]').click()

    def at_the_edge(self) -> set[str]:
        """Titles of tiles that are drawn up to the right edge."""
        return set(self.page.locator(TILE).evaluate_all(EDGE))

    def cut_cells(self) -> list[str]:
        """Texts of the cells that do not fit."""
        found: list[str] = self.page.locator(TILE).evaluate_all(CUT_CELLS)
        return found

    def download(self, title: str, folder: Path) -> str:
        """What the tile's own export gives, as text."""
        holder = self.holder(title)
        holder.hover()
        holder.locator('[aria-label="More Options"], [data-test="dropdown-trigger"]').first.click()
        self.page.get_by_text("Download", exact=True).hover()
        with self.page.expect_download() as coming:
            self.page.get_by_text("Export to .CSV", exact=True).click()
        path = folder / "export.csv"
        coming.value.save_as(path)
        return path.read_text(encoding="utf-8-sig")

    def picture(self, path: Path, width: int = WIDE) -> None:
        """The whole dashboard, as high as it is."""
        self.page.set_viewport_size({"width": width, "height": TALL})
        self.wait_until(lambda: not self.page.locator(TILE).evaluate_all(CUT))  # it draws them anew after a while
        self.settled()
        ends = self.page.locator(TILE).evaluate_all("tiles => tiles.map(tile => tile.getBoundingClientRect().bottom)")
        self.page.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": max(ends) + 16})


@contextmanager
def person(url: str) -> Iterator[Person]:
    """A new person, who has never been here."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium.find()), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDE, "height": TALL}, timezone_id="UTC", accept_downloads=True)
        page.set_default_timeout(PATIENCE_MS)
        noticed: list[str] = []

        def answer(dialog: Dialog) -> None:
            noticed.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", answer)
        page.on("pageerror", lambda error: noticed.append(str(error)))
        try:
            yield Person(page, url, noticed)
        finally:
            browser.close()
