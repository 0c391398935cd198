"""Answers that viewers share: the same one for all who may see it, none for others, and never an old one.

The surprising thing: whether two were given one answer shows in the times that stand in it: until when was asked for,
and when its rows were read.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest

from bench import dashboard_tiles
from bench.dashboard_tiles import Tile, Viewer
from bench.dashboard_viewers import PEOPLE
from dashboards import stories
from dashboards.bundle import rows_seconds
from dashboards.client import SupersetError
from dashboards.sync import ROLE
from tests.integration.airflow_rig import AirflowRig
from tests.integration.parts import wait_for

PULSE = next(story for story in stories.load().stories if story.name == "pulse")
KEPT = timedelta(seconds=2 * rows_seconds(PULSE))
ALLOWED_SECONDS = 120
"""`ALLOWED` of dashboards/shared_answers.py, which only Superset's own environment can import."""
NAMES = ("edits", "top_pages", "languages_on_the_map")
"""A number, a table, and a chart of the older interface."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who gives out the roles, two who may look, and one who may not."""

    administrator: Viewer
    one: Viewer
    other: Viewer
    stranger: Viewer
    tiles: dict[str, Tile]


@pytest.fixture(scope="module")
def audience(rig: AirflowRig) -> Iterator[Audience]:
    with ExitStack() as stack:
        administrator = stack.enter_context(dashboard_tiles.viewer(rig.settings))
        one, other = (stack.enter_context(administrator.another_person(*PEOPLE)) for _ in range(2))
        stranger = stack.enter_context(administrator.another_person(*set(PEOPLE) - {ROLE}))
        tiles = {tile.name: tile for tile in dashboard_tiles.tiles(administrator) if tile.story == PULSE.name}
        yield Audience(administrator, one, other, stranger, tiles)


def told(viewer: Viewer, tile: Tile, *, is_forced: bool = False) -> dict[str, Any]:
    """A tile's answer, of the newer interface or the older."""
    _, answer = viewer.answer(tile, is_cold=is_forced)
    return dict(answer["result"][0]) if "result" in answer else answer


def given(viewer: Viewer, tile: Tile) -> tuple[Any, ...]:
    """What tells answers apart."""
    answer = told(viewer, tile)
    return answer["to_dttm"], answer["cached_dttm"]


@pytest.mark.parametrize("name", NAMES)
def test_people_side_by_side_are_given_one_answer(audience: Audience, name: str) -> None:
    tile = audience.tiles[name]
    seen: list[tuple[Any, ...]] = []

    def is_shared() -> bool:
        """Three in a row, a second apart from each other, in which a question asked anew would end later."""
        seen.append(first := given(audience.one, tile))
        sleep(1)  # Superset says until when it was asked for in whole seconds
        return first == given(audience.other, tile) == given(audience.one, tile)

    wait_for(is_shared, 60, lambda: str(seen))


@pytest.mark.parametrize("name", NAMES)
def test_what_people_are_given_is_not_for_a_stranger(audience: Audience, name: str) -> None:
    tile = audience.tiles[name]
    for _ in range(3):
        given(audience.one, tile)
        with pytest.raises(SupersetError, match="403"):
            given(audience.stranger, tile)


def test_reading_anew_is_for_everybody(audience: Audience) -> None:
    tile = audience.tiles["edits"]
    given(audience.other, tile)
    sleep(1)  # so that what is read anew ends later
    forced = told(audience.one, tile, is_forced=True)
    assert given(audience.other, tile)[0] >= forced["to_dttm"]


def test_an_answer_is_renewed_before_it_is_old(audience: Audience) -> None:
    tile, ends = audience.tiles["edits"], set()
    for _ in range(60):
        sleep(0.5)  # half a minute of looking: several lives of an answer
        asked = datetime.now(UTC)
        ends.add(end := datetime.fromtimestamp(told(audience.one, tile)["to_dttm"] / 1000, UTC))
        assert end > asked - KEPT - timedelta(seconds=1), "Superset says it in whole seconds"
    early = [one for one, other in zip(sorted(ends), sorted(ends)[1:], strict=False) if other - one < KEPT]
    assert early, f"asked behind the viewer's back: {sorted(ends)}"


def test_who_may_no_longer_look_is_soon_given_nothing(audience: Audience) -> None:
    tile = audience.tiles["edits"]
    with audience.administrator.another_person(*PEOPLE) as person:
        given(person, tile)
        person_number = person.request("GET", "api/v1/me/")["result"]["id"]
        roles = [audience.administrator.ensure_role(role) for role in PEOPLE if role != ROLE]
        audience.administrator.request("PUT", f"api/v1/security/users/{person_number}", json={"roles": roles})

        def is_refused() -> bool:
            given(audience.one, tile)
            try:
                given(person, tile)
            except SupersetError as refused:
                return "403" in str(refused)
            return False

        wait_for(is_refused, ALLOWED_SECONDS, lambda: "still shown")
