"""Questions asked of the oracle's tables in plain Python, and how an answer differs from what they come to.

A question is declared: of which table, which rows, grouped by what, which numbers, in which order and how many. The
surprising thing: it is answered by two worlds, of the moments just before and after somebody else was asked. What
depends on the moment is right anywhere between the two; all else is the same in both.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Column = str | Callable[[Row], Any]
Number = Callable[[list[Row]], Any]

TABLES = ("activity", "user_activity", "page_activity", "edit_sizes", "recent_changes")
"""Minutes and single changes: hours, days and distinct counts over any time are made of them here."""
NOWHERE: Row = {"project": "unknown", "language": "none", "language_name": None, "territory": None}
EXAMPLES = 3
INVISIBLE = re.compile("[\u200a\u200b]")
"""What tiles put into texts for the sake of their order, or to keep HTML from being one."""


@lru_cache(maxsize=65536)
def milliseconds(instant: str) -> int:
    """Of an instant as the oracle writes it (or the beginning of one, as `2026-11-23T09`), since 1970."""
    whole = instant + "0000-01-01T00:00:00Z"[len(instant) :]
    return round(datetime.fromisoformat(whole).timestamp() * 1000)


def read(live: Path, published: Mapping[str, Path], places: Mapping[str, Row]) -> dict[str, list[Row]]:
    """The tables of what is served: each published hour as it was built, of all others what has come.

    `published`: hour (as `2026-11-23T09`) -> folder of the oracle's answer to the records that it was built from;
    `live`: folder of its answer to all records. `places`: wiki -> columns of NOWHERE, which the oracle does not know.
    """
    tables: dict[str, list[Row]] = {}
    for name in TABLES:
        tables[name] = []
        hours = {} if name == "recent_changes" else published
        for folder in {live, *hours.values()}:
            with (folder / f"{name}.ndjson").open(encoding="utf-8") as lines:
                columns = json.loads(next(lines))["columns"]
                for line in lines:
                    row = dict(zip(columns, json.loads(line), strict=True))
                    time = str(row["event_time" if name == "recent_changes" else "window_start"])
                    row |= {"hour": time[:13], "day": time[:10], **places.get(row["wiki"], NOWHERE)}
                    row["layer"] = "batch" if row["hour"] in hours else "speed"
                    if hours.get(row["hour"], live) == folder:
                        tables[name].append(row)
    return tables


@dataclass(frozen=True, slots=True)
class World:
    """The tables as somebody sees them who looks at `now` and has chosen [since, until) and perhaps a wiki.

    Instants are text, as the oracle's.
    """

    tables: Mapping[str, list[Row]]
    since: str
    until: str
    now: str
    wiki: str | None = None

    def rows(self, table: str) -> Iterator[Row]:
        """Those of the time and the wiki chosen; of all wikis if none is."""
        time = "event_time" if table == "recent_changes" else "window_start"
        found = (row for row in self.tables[table] if self.since <= row[time] < self.until)
        return (row for row in found if self.wiki in (None, row["wiki"]))


def everything(_: Row) -> bool:
    return True


def all_groups(_: list[Row]) -> bool:
    return True


def as_it_is(rows: list[Row]) -> list[Row]:
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`by` and `numbers`: name in the answer -> what it is; without numbers, the rows themselves are asked for.

    `spread`: its values are columns of the answer, each with the one number. `then`: what is done to the rows, which
    are in order of their keys. `order`: the largest come first, the smallest if it `rises`.
    """

    of: str | Callable[[World], Iterable[Row]]
    where: Callable[[Row], bool] = everything
    by: Mapping[str, Column] = field(default_factory=dict)
    spread: Column | None = None
    having: Callable[[list[Row]], bool] = all_groups
    numbers: Mapping[str, Number] = field(default_factory=dict)
    then: Callable[[list[Row]], list[Row]] = as_it_is
    order: str | None = None
    rises: bool = False
    limit: int | None = None

    def answer(self, world: World) -> list[Row]:
        """Every row, whatever the limit; what has no value is not in it."""
        groups: dict[tuple[Any, ...], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in world.rows(self.of) if isinstance(self.of, str) else self.of(world):
            if self.where(row):
                key = tuple(_value(row, column) for column in self.by.values())
                groups[key][str(_value(row, self.spread)) if self.spread else ""].append(row)
        found = []
        for key in sorted(groups, key=repr):
            one, rows = dict(zip(self.by, key, strict=True)), [*chain.from_iterable(groups[key].values())]
            for series, its_rows in groups[key].items():
                one |= {series or name: number(its_rows) for name, number in self.numbers.items()}
            if self.having(rows):
                found += [one] * (1 if self.numbers else len(rows))
        return [_shown(row) for row in self.then(found)]

    def differences(self, said: list[Row], before: World, after: World) -> list[str]:
        """How an answer differs, a line each; where several rows are as good for the last place, any is right."""
        said, at_first = [_shown(row) for row in said], self.answer(before)
        at_last = at_first if isinstance(self.of, str) else self.answer(after)  # plain rows know no moment
        told = []
        wanted = min(len(at_first), self.limit or len(at_first))
        if len(said) != wanted:
            told.append(f"{len(said)} rows, the oracle has {wanted}")
        if self.order:
            ranks = [self._ranked(rows) for rows in (at_first, at_last)]
            for place, (row, one, other) in enumerate(zip(said, *ranks, strict=False), start=1):
                if not _is_between(row.get(self.order), one, other):
                    told.append(f"place {place} has {self.order} {row.get(self.order)}, the oracle {one}")
                    break
        low, high = ({self._key(row): row for row in rows} for rows in (at_first, at_last))
        left, strange, wrong = Counter(map(self._key, at_first)), [], []
        for row in said:
            key = self._key(row)
            left[key] -= 1
            if left[key] < 0:
                strange.append(f"{_named(self.by, key)}{'once more than' if key in low else 'not in'} the oracle")
                continue
            for name in {*row, *low[key]} - {*self.by} if self.spread else self.numbers:
                one, other = low[key].get(name), high.get(key, low[key]).get(name)
                if not _is_between(row.get(name), one, other):
                    wrong.append(f"{_named(self.by, key)}{name} is {row.get(name)}, the oracle has {one}")
        missing = [f"{_named(self.by, key)}not there" for key, times in left.items() if times > 0]
        missing = missing if wanted == len(at_first) else []
        return told + [line for lines in (strange, wrong, missing) for line in _some(lines)]

    def _ranked(self, rows: list[Row]) -> list[Any]:
        return sorted((row.get(str(self.order)) for row in rows), reverse=not self.rises)

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in self.by)


def _value(row: Row, column: Column) -> Any:
    return row[column] if isinstance(column, str) else column(row)


def _shown(row: Row) -> Row:
    """Without what nobody sees."""
    texts = {INVISIBLE.sub("", name): value for name, value in row.items() if value is not None}
    return {name: INVISIBLE.sub("", value) if isinstance(value, str) else value for name, value in texts.items()}


def _is_between(said: Any, one: Any, other: Any) -> bool:
    if not all(isinstance(value, int | float) for value in (said, one, other)):
        return bool(said == one)
    slack = 1e-9 * max(1, abs(said))
    return bool(min(one, other) - slack <= said <= max(one, other) + slack)


def _named(by: Iterable[str], key: tuple[Any, ...]) -> str:
    return "".join(f"{name} {value!r}, " for name, value in zip(by, key, strict=True))


def _some(lines: list[str]) -> list[str]:
    return lines[:EXAMPLES] + [f"and {len(lines) - EXAMPLES} more of that kind"] * (len(lines) > EXAMPLES)
