"""Facts into the tables they are counted in, as sorted files: one hour after the other, so that a day fits into memory.

The surprising thing: facts are written down by hour first, because they come in Kafka's order, which is not time's.
"""

import functools
import heapq
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (
    1_000_000,
    60_000_000,
    3_600_000_000,
    86_400_000_000,
)  # microseconds, as all times since 1970
SUMS = ("bytes_added", "bytes_removed", "reverts")
ROLLUPS = {  # table: (key after its window, what is decided by the key, what is added up)
    "activity": (
        ("wiki", "type", "namespace", "user_class"),
        (),
        ("events", "edits", "new_pages", "minor_edits", "bytes_added", "bytes_removed", "unpatrolled_edits", "reverts"),
    ),
    "user_activity": (("wiki", "user_key", "user_class"), ("user_name",), ("edits", "new_pages", *SUMS)),
    "page_activity": (("wiki", "namespace", "title"), (), ("edits", *SUMS)),  # and last_edit_at
    "edit_sizes": (("wiki", "user_class", "size_bucket"), (), ("edits",)),
}
GRAINS = {"": MINUTE, "_hourly": HOUR, "_daily": DAY}  # what a table's name ends with: length of its windows
# rollup: what hours and days count, each once, and what tells one from the other
DISTINCT: dict[str, tuple[str, Callable[[Row], Any]]] = {
    "activity": ("editors", itemgetter("editor")),
    "user_activity": ("pages", itemgetter("namespace", "title")),
    "page_activity": ("editors", itemgetter("editor")),
}
NOTHING = (None, None)
TOPS = {  # table: (rollup, what is ranked, what is shown beside it); the first hundred by edits, then in this order
    "top_pages": ("page_activity", ("wiki", "namespace", "title"), ("edits", *SUMS, "last_edit_at")),
    "top_editors": ("user_activity", ("user_key", "user_class"), ("user_name", "edits", "new_pages", *SUMS)),
}
COUNTED = "editor_counts"
KEPT_LINES = 1000


@functools.lru_cache(maxsize=4096)
def show(micros: int) -> str:
    """The instant as text, microseconds always written."""
    return (EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def write(out: TextIO, rows: Iterable[list[Any]]) -> int:
    """A line a row; how many."""
    return sum(1 for row in rows if out.write(json.dumps(row, ensure_ascii=False) + "\n"))


class Cells:
    """One table's rows of some windows. Facts are counted into minutes; hours take minutes, and days hours."""

    def __init__(self, rollup: str, grain: str) -> None:
        key, decided, sums = ROLLUPS[rollup]
        self.rollup, self.name, self._length = rollup, rollup + grain, GRAINS[grain]
        self._key, self._has_latest = itemgetter(*key), rollup == "page_activity"
        self._decided = list(enumerate(decided))
        self._sums = list(enumerate(sums, len(decided)))
        self._empty = [None] * len(decided) + [0] * len(sums) + [""] * self._has_latest
        self._cells: dict[tuple[Any, ...], list[Any]] = {}
        self._members: dict[tuple[Any, ...], set[Any]] = defaultdict(set)
        self._member: Callable[[Row], Any] | None
        counted, self._member = DISTINCT.get(rollup, NOTHING) if grain else NOTHING
        self.columns = ["window_start", *key, *decided, *sums] + ["last_edit_at"] * self._has_latest
        self.columns += [counted] if counted else []
        self.key_length = 1 + len(key)

    def add(self, fact: Row) -> None:
        key = (self._window(fact["time"]), *self._key(fact))
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = [*self._empty]
        for place, name in self._decided:
            cell[place] = fact[name]
        for place, name in self._sums:
            cell[place] += fact[name]
        if self._has_latest:
            cell[-1] = max(cell[-1], fact["event_time"])

    def meet(self, fact: Row) -> None:
        """Remember whom or what the fact is about, where that is counted."""
        if self._member and (member := self._member(fact)) is not None:
            self._members[self._window(fact["time"]), *self._key(fact)].add(member)

    def take(self, finer: "Cells", start: int) -> None:
        """Add up the rows of a finer table, all of which are in the window that begins at `start`."""
        window = self._window(start)
        for (_, *rest), row in finer._cells.items():
            key = (window, *rest)
            cell = self._cells.get(key)
            if cell is None:
                self._cells[key] = [*row]
                continue
            for place, _ in self._sums:
                cell[place] += row[place]
            if self._has_latest:
                cell[-1] = max(cell[-1], row[-1])
        for (_, *rest), members in finer._members.items():
            self._members[window, *rest] |= members

    def _window(self, micros: int) -> str:
        return sys.intern(show(micros - micros % self._length))

    def rows(self) -> Iterator[list[Any]]:
        """In order of their key."""
        for key in sorted(self._cells):
            distinct = [len(self._members.get(key, ()))] if self._member else []
            yield [*key, *self._cells[key], *distinct]


def first_hundred(rows: Iterable[Row], ranked: tuple[str, ...], beside: tuple[str, ...]) -> list[list[Any]]:
    """The most edited, each with what is shown beside it; several rows of one are taken together."""
    name_of, shown_of = itemgetter(*ranked), itemgetter(*beside)
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        name, shown = name_of(row), list(shown_of(row))
        for place, value in enumerate(found.get(name, ())):
            shown[place] = shown[place] + value if isinstance(value, int) else max(shown[place], value)
        found[name] = shown
    edits = beside.index("edits")
    best = heapq.nsmallest(100, found.items(), key=lambda item: (-item[1][edits], item[0]))
    return [[place, *name, *shown] for place, (name, shown) in enumerate(best, 1)]


class Tables:
    """Takes facts in any order and writes every table in the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[int, list[str]] = defaultdict(list)

    def add(self, fact: Row) -> None:
        """`time` in microseconds, `event_time` as text, and every column above."""
        hour = fact["time"] // HOUR
        lines = self._lines[hour]
        lines.append(json.dumps(fact))
        if len(lines) >= KEPT_LINES:
            self._keep(hour)

    def _keep(self, hour: int) -> None:
        with (self._folder / f"facts-{hour}").open("a", encoding="ascii") as sink:
            sink.writelines(f"{line}\n" for line in self._lines[hour])
        self._lines[hour] = []

    def _facts(self, hour: int) -> Iterator[Row]:
        """Those of an hour, which are forgotten."""
        self._keep(hour)
        path = self._folder / f"facts-{hour}"
        with path.open(encoding="ascii") as lines:
            for line in lines:
                fact = json.loads(line)
                yield {name: sys.intern(value) if type(value) is str else value for name, value in fact.items()}
        path.unlink()

    def write(self, out: Path) -> dict[str, int]:
        """Table -> how many rows it has."""
        files: dict[str, TextIO] = {}
        counts: dict[str, int] = defaultdict(int)
        tops: dict[str, list[list[Any]]] = {name: [] for name in (*TOPS, COUNTED)}

        def finish(cells: list[Cells], start: int) -> None:
            for one in cells:
                counts[one.name] += write(files[one.name], one.rows())
                for name, (rollup, ranked, beside) in TOPS.items():
                    if grain := {f"{rollup}_hourly": "hour", f"{rollup}_daily": "day"}.get(one.name):
                        tops[name] += _tops(one, [grain, show(start)], ranked, beside)
                        if rollup == "user_activity":
                            tops[COUNTED] += _editors(one, [grain, show(start)])

        for cells in (Cells(rollup, grain) for rollup in ROLLUPS for grain in GRAINS):
            files[cells.name] = (out / f"{cells.name}.ndjson").open("w", encoding="utf-8")
            files[cells.name].write(json.dumps({"columns": cells.columns, "key": cells.key_length}) + "\n")
        for day, hours in itertools.groupby(sorted(self._lines), lambda hour: hour * HOUR // DAY):
            daily = [Cells(rollup, "_daily") for rollup in ROLLUPS]
            for hour in hours:
                minutes, hourly = ([Cells(rollup, grain) for rollup in ROLLUPS] for grain in ("", "_hourly"))
                for fact in self._facts(hour):
                    for minute, one in zip(minutes, hourly, strict=True):
                        if fact["edits"] or one.rollup == "activity":
                            minute.add(fact)
                            one.meet(fact)
                for minute, one, of_day in zip(minutes, hourly, daily, strict=True):
                    one.take(minute, hour * HOUR)
                    of_day.take(one, hour * HOUR)
                finish(minutes + hourly, hour * HOUR)
            finish(daily, day * DAY)
        for file in files.values():
            file.close()
        columns = {name: ["place", *ranked, *beside] for name, (_, ranked, beside) in TOPS.items()}
        columns[COUNTED] = ["user_class", "editors"]
        for name, shown in columns.items():
            head = {"columns": ["grain", "window_start", "scope", *shown], "key": 4}
            with (out / f"{name}.ndjson").open("w", encoding="utf-8") as file:
                file.write(json.dumps(head) + "\n")
                counts[name] = write(file, sorted(tops[name], key=itemgetter(0, 1, 2, 3)))
        return counts


def _tops(cells: Cells, head: list[str], ranked: tuple[str, ...], beside: tuple[str, ...]) -> Iterator[list[Any]]:
    """Ranked rows of one window: of all wikis together (scope: empty) and of each that has a name (scope)."""

    def rows() -> Iterator[Row]:
        named = (dict(zip(cells.columns, row, strict=True)) for row in cells.rows())
        return (row for row in named if row.get("user_class") != "hidden")

    named = (row for row in rows() if row["wiki"])
    for scope, of_scope in itertools.chain([("", rows())], itertools.groupby(named, itemgetter("wiki"))):
        yield from ([*head, scope, *row] for row in first_hundred(of_scope, ranked, beside))


def _editors(cells: Cells, head: list[str]) -> Iterator[list[Any]]:
    """How many different keys one window has: of all wikis (scope: empty) and each, of all classes (empty) and each."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    at = [cells.columns.index(name) for name in ("wiki", "user_class", "user_key")]
    for row in cells.rows():
        wiki, user_class, user = (row[place] for place in at)
        if user_class != "hidden":
            for scope, of_class in itertools.product({wiki, ""}, (user_class, "")):
                found[scope, of_class].add(user)
    yield from ([*head, *where, len(users)] for where, users in found.items())
