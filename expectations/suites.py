"""The suites: one for each rollup, made from its declaration, and the laws that hold between them, by hand.

A critical expectation that fails keeps the hour from being published, a warning is reported. The surprising thing: the
laws are columns of a frame with one row, so that each is an expectation like any other and has a line of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from wikiweir.rollups import ACTIVITY, EDIT_SIZES, PAGE_ACTIVITY, USER_ACTIVITY, Grain, Rollup

CRITICAL, WARNING = FailureSeverity.CRITICAL, FailureSeverity.WARNING
WINDOWS: Mapping[Grain, int] = {"minute": 60, "hour": 1, "day": 1}
"""How many windows of a grain its hour (or day) has."""

PARTS_OF_EDITS = ("new_pages", "minor_edits", "unpatrolled_edits", "reverts", "editors", "pages")
"""Metrics that count some of the edits, or things that each edit has one of."""

REJECTS_SHARE, REJECTS_FEW = 0.05, 20
"""An hour of which more is rejected than this part, and than this many, has something new in it."""

PARTS = " of its parts"
Sums = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Suite:
    """A frame, and what is expected of it."""

    name: str
    frame: pd.DataFrame
    expectations: Sequence[Expectation]


@dataclass(frozen=True, slots=True)
class Band:
    """How many facts the same hour of past weeks had: least and most; none while there are too few."""

    least: int
    most: int


def of_rollup(rollup: Rollup, grain: Grain, rows: pd.DataFrame) -> Suite:
    """Keys, nulls, ranges and sets of a rollup's rows of a grain; `window`: which of its period's windows, from 0."""
    key = ["window", *(column for column in rollup.key if column != "window_start")]
    made: list[Expectation] = [
        gxe.ExpectCompoundColumnsToBeUnique(column_list=key, severity=CRITICAL),
        gxe.ExpectColumnValuesToBeBetween(
            column="window", min_value=0, max_value=WINDOWS[grain] - 1, severity=CRITICAL
        ),
    ]
    for dimension in rollup.dimensions:
        made.append(gxe.ExpectColumnValuesToNotBeNull(column=dimension.name, severity=CRITICAL))
        if dimension.values:
            values = list(dimension.values)
            made.append(gxe.ExpectColumnValuesToBeInSet(column=dimension.name, value_set=values, severity=CRITICAL))
    for metric in rollup.measured(grain):
        made.append(gxe.ExpectColumnValuesToNotBeNull(column=metric.name, severity=CRITICAL))
        if metric.lowest is not None:
            made.append(
                gxe.ExpectColumnValuesToBeBetween(column=metric.name, min_value=metric.lowest, severity=CRITICAL)
            )
    names = {metric.name for metric in rollup.measured(grain)}
    for part in PARTS_OF_EDITS:
        if {"edits", part} <= names:
            made.append(
                gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                    column_A="edits", column_B=part, or_equal=True, severity=CRITICAL
                )
            )
    return Suite(rollup.table(grain), rows, made)


def of_totals(name: str, parts: Sums, whole: Sums) -> Suite:
    """A coarser grain's sums are those of the finer one it is made of."""
    return of_parts(
        name,
        pd.DataFrame({f"{of}{suffix}": [sums[of]] for suffix, sums in ((PARTS, parts), ("", whole)) for of in sums}),
    )


def of_parts(name: str, rows: pd.DataFrame) -> Suite:
    """In every row, what stands in a column is what stands in the one of its parts."""
    made: list[Expectation] = [
        gxe.ExpectColumnPairValuesToBeEqual(column_A=of, column_B=f"{of}{PARTS}", severity=CRITICAL)
        for of in made_of_parts(rows)
    ]
    return Suite(name, rows, made)


def made_of_parts(rows: pd.DataFrame) -> list[str]:
    """The columns that have one of their parts beside them."""
    return [name for name in rows.columns if f"{name}{PARTS}" in rows.columns]


LAWS = (
    ("bronze_rows", "accounted", "every row that bronze holds of the hour is accounted for"),
    ("facts", "events", "each fact is one event"),
    ("edits", "edits_by_size", "edits by wiki and type are the edits by size"),
    ("edits", "edits_by_user", "edits by wiki and type are the edits by user"),
    ("edits", "edits_by_page", "edits by wiki and type are the edits by page"),
    ("edits", "edits_by_class", "bot edits and those of all other classes are the edits"),
    ("bytes_added", "bytes_added_by_page", "bytes added are the same by page"),
    ("bytes_removed", "bytes_removed_by_user", "bytes removed are the same by user"),
    ("edits_by_categorize", "none", "categorize is never an edit"),
)
"""Column, the column it must equal, and the law in words."""


def of_laws(
    rollups: Mapping[str, pd.DataFrame],
    accounting: Mapping[tuple[str, str], int],
    bronze_rows: int,
    published_rows: int,
) -> Suite:
    """What holds between the minute rows of an hour's rollups, its accounting, and its last publication's rows."""
    activity = rollups[ACTIVITY.name]
    bots = int(rollups[EDIT_SIZES.name].query("user_class == 'bot'")["edits"].sum())
    people = int(activity.query("user_class != 'bot'")["edits"].sum())
    found: dict[str, float] = {
        "bronze_rows": bronze_rows,
        "published_rows": published_rows,
        "accounted": sum(accounting.values()),
        "facts": accounting.get(("fact", ""), 0),
        "events": activity["events"].sum(),
        "edits": activity["edits"].sum(),
        "edits_by_size": rollups[EDIT_SIZES.name]["edits"].sum(),
        "edits_by_user": rollups[USER_ACTIVITY.name]["edits"].sum(),
        "edits_by_page": rollups[PAGE_ACTIVITY.name]["edits"].sum(),
        "edits_by_class": bots + people,
        "bytes_added": activity["bytes_added"].sum(),
        "bytes_added_by_page": rollups[PAGE_ACTIVITY.name]["bytes_added"].sum(),
        "bytes_removed": activity["bytes_removed"].sum(),
        "bytes_removed_by_user": rollups[USER_ACTIVITY.name]["bytes_removed"].sum(),
        "edits_by_categorize": activity.query("type == 'categorize'")["edits"].sum(),
        "none": 0,
    }
    rejected = sum(records for (outcome, _), records in accounting.items() if outcome == "rejected")
    found |= {"rejected": rejected, "rejects_allowed": max(REJECTS_FEW, REJECTS_SHARE * bronze_rows)}
    frame = pd.DataFrame({name: [int(value)] for name, value in found.items()})
    made: list[Expectation] = [
        gxe.ExpectColumnPairValuesToBeEqual(column_A=left, column_B=right, description=law, severity=CRITICAL)
        for left, right, law in LAWS
    ]
    made.append(
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="bronze_rows",
            column_B="published_rows",
            or_equal=True,
            description="bronze holds no fewer rows of the hour than it was last published from",
            severity=CRITICAL,
        )
    )
    made.append(
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="rejects_allowed",
            column_B="rejected",
            or_equal=True,
            description="few records are rejected; those that are stand in the lake's quarantine, with their reason",
            severity=CRITICAL,
        )
    )
    return Suite("laws", frame, made)


def of_volume(facts: int, band: Band | None) -> Suite:
    """Whether an hour has about as many facts as the same hour of past weeks; nothing is expected without a band."""
    made: list[Expectation] = []
    if band is not None:
        made.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="facts", min_value=band.least, max_value=band.most, severity=WARNING
            )
        )
    return Suite("volume", pd.DataFrame({"facts": [facts]}), made)
