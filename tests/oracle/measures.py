"""What tiles are made of: columns, numbers, conditions and tables made of the oracle's, each in plain Python."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate

from tests.oracle.questions import Column, Number, Question, Row, World, everything, milliseconds

EDITS = ("edit", "new")
TYPES = (*EDITS, "log", "categorize", "external")
PEOPLE = ("registered", "temporary", "anonymous")
NO_ACCOUNT = ("temporary", "anonymous")
LARGE = ("+10k", "+100k", "-10k", "-100k")
STEPS = {1: "1", 2: "2", 3: "3–4", 5: "5–9", 10: "10–19", 20: "20–49", 50: "50–99", 100: "100+"}
MINUTE = 60_000
"""Milliseconds, as all times."""
HOUR = 60 * MINUTE


# ---- columns ----


def named(*names: str, **others: Column) -> dict[str, Column]:
    """Columns that are called the same in the answer, and others that are not."""
    return {name: name for name in names} | others


def minute(row: Row) -> int:
    return milliseconds(row["window_start"])


def hour(row: Row) -> int:
    return milliseconds(row["hour"])


def day(row: Row) -> int:
    return milliseconds(row["day"])


def week(row: Row) -> str:
    monday = datetime.fromisoformat(row["day"])
    return f"{monday - timedelta(days=monday.weekday()):%Y-%m-%d}"


def hour_of_day(row: Row) -> str:
    return str(row["hour"][11:])


def weekday(row: Row) -> str:
    return f"{datetime.fromisoformat(row['day']):%a}"


def start_of_day(row: Row) -> str:
    return f"{datetime.fromisoformat(row['day']):%a %d %b %Y %H:%M} UTC"


def language(row: Row) -> str:
    """Code, mul where the wiki has no language."""
    return "mul" if row["language"] == "none" else str(row["language"])


def event_type(row: Row) -> str:
    return row["type"] if row["type"] in TYPES else "other"


def direction_of_bucket(row: Row) -> str:
    return {"+": "added", "-": "removed", "0": "unchanged"}.get(row["size_bucket"][0], "unknown")


def event_time(row: Row) -> int:
    return milliseconds(row["event_time"])


# ---- numbers ----


def total(column: str, where: Callable[[Row], bool] = everything) -> Number:
    return lambda rows: sum(row[column] or 0 for row in rows if where(row))


def net(rows: list[Row]) -> int:
    return sum(row["bytes_added"] - row["bytes_removed"] for row in rows)


def moved(rows: list[Row]) -> int:
    return sum(row["bytes_added"] + row["bytes_removed"] for row in rows)


def count(where: Callable[[Row], bool] = everything) -> Number:
    return lambda rows: sum(map(where, rows))


def distinct(*columns: str, where: Callable[[Row], bool] = everything) -> Number:
    return lambda rows: len({tuple(row[column] for column in columns) for row in rows if where(row)})


def share(column: str, where: Callable[[Row], bool]) -> Number:
    """None of nothing."""
    return lambda rows: total(column, where)(rows) / whole if (whole := total(column)(rows)) else None


def known_sum(column: str) -> Number:
    """None where no row has a value."""
    return lambda rows: total(column)(rows) if any(row[column] is not None for row in rows) else None


def newest(column: str) -> Number:
    return lambda rows: max(row[column] for row in rows)


def end_of_hours(rows: list[Row]) -> str:
    last = max(datetime.fromisoformat(row["hour"]) for row in rows)
    return f"{last + timedelta(hours=1):%a %d %b %Y %H:%M} UTC"


def events_a_second(rows: list[Row]) -> float:
    first, last = min(map(minute, rows)), max(map(minute, rows))
    return float(total("events")(rows)) / ((last + MINUTE - first) / 1000)


# ---- conditions ----


def is_edit(row: Row) -> bool:
    return row["type"] in EDITS


def is_edited(row: Row) -> bool:
    return bool(row["edits"] > 0)


def is_bot(row: Row) -> bool:
    return bool(row["user_class"] == "bot")


def is_known(row: Row) -> bool:
    return bool(row["user_class"] != "hidden")


def is_without_account(row: Row) -> bool:
    return row["user_class"] in NO_ACCOUNT


def is_published(row: Row) -> bool:
    return bool(row["layer"] == "batch")


def is_final_edit(row: Row) -> bool:
    return is_published(row) and is_edited(row)


def is_live(row: Row) -> bool:
    return not is_published(row)


EDITORS = distinct("user_key", where=is_known)


# ---- tables made of tables ----


def hours_over(world: World) -> Iterator[Row]:
    """Activity without the running hour."""
    return (row for row in world.rows("activity") if row["hour"] < world.now[:13])


def newest_day(table: str) -> Callable[[World], Iterable[Row]]:
    """Published hours of the newest day that has any; nobody hidden has a rank."""

    def rows(world: World) -> list[Row]:
        published = [row for row in world.rows(table) if is_published(row) and row.get("user_class") != "hidden"]
        newest = max((row["day"] for row in published), default="")
        return [row for row in published if row["day"] == newest]

    return rows


def pages_of_newest_day(world: World) -> list[Row]:
    numbers = {name: total(name) for name in ("edits", "bytes_added", "bytes_removed", "reverts")}
    page = named("wiki", "namespace", "title")
    return Question(of=newest_day("page_activity"), by=page, numbers=numbers).answer(world)


def battlefield(world: World) -> Iterator[Row]:
    """Pages, with which way they went, and how many minutes from now they were edited last."""
    sums = {name: total(name) for name in ("edits", "bytes_added", "bytes_removed")}
    last = {"last_edit_at": lambda rows: max(row["last_edit_at"] for row in rows)}
    pages = Question(of="page_activity", by=named("wiki", "namespace", "title"), numbers=sums | last).answer(world)
    for page in pages:
        way = "added" if page["bytes_added"] >= page["bytes_removed"] else "removed"
        ago = (milliseconds(page["last_edit_at"]) - milliseconds(world.now)) / MINUTE
        yield page | {"page": f"{page['title']} ({page['wiki']})", "direction": way, "minutes_ago": ago}


def editors(world: World) -> Iterator[Row]:
    """Each with how many edits it made, in steps."""
    by = named("user_key", "user_class")
    for one in Question(of="user_activity", where=is_known, by=by, numbers={"edits": total("edits")}).answer(world):
        yield one | {"step": STEPS[max(least for least in STEPS if least <= one["edits"])]}


def source(world: World) -> Iterator[Row]:
    """One row, of the newest event and the newest published hour."""
    newest = max(row["event_time"] for row in world.tables["recent_changes"])
    hours = {row["hour"]: is_published(row) for row in world.tables["activity"]}
    until = max(hour for hour, is_exact in hours.items() if is_exact)
    earlier = sum(hour < until and not is_exact for hour, is_exact in hours.items())
    exact = datetime.fromisoformat(until) + timedelta(hours=1)
    yield {
        "age": (milliseconds(world.now) - milliseconds(newest)) / 1000,
        "newest": f"{datetime.fromisoformat(newest):%d %b %H:%M:%S} UTC",
        "exact": f"Exact until {exact:%H:%M} UTC on {exact:%d %b %Y}"
        f"{f' but for {earlier} earlier hours' if earlier else ''}; live after that",
    }


# ---- what is done to the rows ----


def mean_of_five(name: str) -> Callable[[list[Row]], list[Row]]:
    """Of the rows with a value; the others are not shown."""

    def smoothed(rows: list[Row]) -> list[Row]:
        known = [row for row in rows if row[name] is not None]
        windows = [[row[name] for row in known[max(0, end - 4) : end + 1]] for end in range(len(known))]
        return [row | {name: sum(window) / len(window)} for row, window in zip(known, windows, strict=True)]

    return smoothed


def every_hour(name: str) -> Callable[[list[Row]], list[Row]]:
    """Nought in hours without a row, between the first with one and the last."""

    def filled(rows: list[Row]) -> list[Row]:
        known = {row["window_start"]: row for row in rows}
        hours = range(min(known), max(known) + 1, HOUR) if known else ()
        return [known.get(hour, {"window_start": hour, name: 0}) for hour in hours]

    return filled


def added_up(rows: list[Row]) -> list[Row]:
    """Each series from the first row on, also where it has nothing yet."""
    names = sorted({name for row in rows for name in row} - {"window_start"})
    sums = {name: list(accumulate(row.get(name, 0) for row in rows)) for name in names}
    return [row | {name: sums[name][place] for name in names} for place, row in enumerate(rows)]
