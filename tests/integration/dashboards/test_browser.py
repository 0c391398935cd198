"""Dashboards in a running stack: Airflow brings them after a published hour, and a person looks at them with a browser.

The tests share a stack and run in the order of the file. Pictures of what was looked at are kept in `pictures` of the
state folder, or where `PICTURES` says. The surprising thing: the invented events are joined by titles and
names of users that try to be scripts, formulas and control characters; a page that ran any of them would be noticed.
"""

import csv
import io
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from dashboards import empty
from dashboards.client import Superset, SupersetError
from dashboards.stories import identity, load
from dashboards.sync import connected
from local import chromium, toolchain
from local.instance import Instance
from tests.integration.airflow_rig import AirflowRig
from tests.integration.dashboards.browser import NARROW, TALL, WIDE, Person, person
from tests.integration.parts import wait_for
from tests.integration.source import inject
from tests.integration.speed_rig import event
from wikiweir.hours import LENGTH, Hour
from wikiweir.settings import PROJECT

pytestmark = pytest.mark.timeout(1800)  # the first of them starts the stack and sees an hour published
PICTURES = os.environ.get("PICTURES")
DAG = "dashboards_rebuild"
STORIES = [story.name for story in load().stories]
WITH_AXES = ("echarts_", "mixed_timeseries", "bubble")
MAY_BE_EMPTY = {"complaints", "open_incidents", "incidents", "differences", "quality_failures", "rejected_by_reason"}
"""Tiles of what should not be there."""
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '=HYPERLINK("http://127.0.0.1/","look")',
    "\u202etxet emos\u202c",
    "\U0001d4d0" * 127,
)
SHOWN = ("<img src", *HOSTILE[1:])
"""Where cells hold no links Superset itself takes from a tag what could do harm."""
SILENT = 40
"""Connections that browsers open for later; with so many, gunicorn by itself answers nobody for half a minute."""
TOO_LONG = "\U0001d4d0" * 255
"""A title that no wiki can have: rejected, with its reason."""
EDITS_PER_TITLE = 200
"""So many that they are at the top of everything."""
SHOWING = {"pulse": ("top_pages", "top_editors"), "patrol": ("large_additions",)}
"""Tables that they stand in, in one dashboard by Superset's own cells, in the other by cells that may hold links."""


@pytest.fixture(scope="module")
def pictures(rig: AirflowRig) -> Path:
    folder = Path(PICTURES or rig.weir.home / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visitor(rig: AirflowRig) -> Iterator[Person]:
    """Somebody who has not logged in."""
    if chromium.find() is None:
        pytest.skip(f"no Chromium: {chromium.BY_HAND}")
    assert rig.settings.superset_url is not None
    with person(rig.settings.superset_url) as made:
        yield made
        assert not made.noticed


@pytest.fixture
def analyst(rig: AirflowRig, visitor: Person) -> Person:
    visitor.log_in(rig.settings.superset_user, rig.settings.superset_password.get_secret_value())
    return visitor


def superset(rig: AirflowRig) -> Superset:
    there = connected(rig.settings)
    assert there is not None
    return there


def send_hostile(rig: AirflowRig) -> None:
    """Users and pages with such names, in the newest minutes."""
    lines = []
    for number, title in enumerate([*HOSTILE * EDITS_PER_TITLE, TOO_LONG]):
        sent = event(8_000_000 + number, type="edit", bot=False, title=title, user=title[:127])
        sent |= {"wiki": "enwiki", "server_name": "en.wikipedia.org", "namespace": 0}
        lines.append(json.dumps(sent | {"length": {"old": 0, "new": 500_000 + number}}).encode())
    inject(int(Instance(rig.weir.home).values["WIKIWEIR_REPLAY_PORT"]), lines)

    def found() -> int:
        [(edits,)] = rig.query("SELECT sum(edits) FROM serving.page_activity WHERE title = ANY(%s)", list(HOSTILE))
        return int(edits or 0)

    wait_for(lambda: found() >= len(lines) - 1, 180, lambda: f"{found()} of {len(lines) - 1} edits")


def test_a_published_hour_rebuilds_them_and_every_chart_answers(rig: AirflowRig) -> None:
    rig.wait_published(Hour(Hour.of(datetime.now(UTC)).start - LENGTH))

    def rebuilt() -> bool:
        runs = rig.client.get(f"dags/{DAG}/dagRuns")["dag_runs"]
        return any(run["state"] == "success" and run["run_type"] == "asset_triggered" for run in runs)

    wait_for(rebuilt, 600, lambda: str(rig.client.get(f"dags/{DAG}/dagRuns")["dag_runs"]))
    checks = dict(rig.query("SELECT dashboard || '/' || chart, error FROM ops.dashboard_checks"))
    wanted = {f"{story.name}/{name}" for story in load().stories for name, _ in story.placed()}
    assert checks == dict.fromkeys(wanted)


def test_nobody_sees_them_without_a_log_in(rig: AirflowRig, visitor: Person) -> None:
    visitor.page.goto(f"{visitor.url}/superset/dashboard/pulse/")
    assert "/login" in visitor.page.url
    assert requests.get(f"{visitor.url}/api/v1/chart/", timeout=30).status_code == 401


def test_connections_without_a_word_keep_nobody_waiting(rig: AirflowRig) -> None:
    url = rig.settings.superset_url
    there = urlsplit(url or "")
    with ExitStack() as silent:
        for _ in range(SILENT):
            silent.enter_context(socket.create_connection((there.hostname, there.port)))
        assert requests.get(f"{url}/health", timeout=10).text == "OK"


def test_what_the_log_in_page_says_of_itself_ends_no_session(rig: AirflowRig) -> None:
    with requests.Session() as nobody:
        assert "Set-Cookie" in nobody.get(f"{rig.settings.superset_url}/login/", timeout=60).headers
        told = nobody.post(
            f"{rig.settings.superset_url}/superset/log/?explode=events", timeout=60, allow_redirects=False
        )
        assert told.status_code == 200
        assert "Set-Cookie" not in told.headers


@pytest.mark.parametrize("story", STORIES)
def test_every_tile_is_drawn(analyst: Person, pictures: Path, story: str) -> None:
    charts = dict(next(each for each in load().stories if each.name == story).placed())
    titles = {chart.title: name for name, chart in charts.items()}
    tiles = {tile.title: tile for tile in analyst.open(story)}
    assert titles.keys() <= tiles.keys()
    assert not [title for title in titles if tiles[title].failed]
    empty_ones = {name: tiles[title].instead for title, name in titles.items() if tiles[title].empty}
    assert empty_ones.keys() <= MAY_BE_EMPTY
    assert empty_ones == {name: f'"{empty.words(charts[name])}"' for name in empty_ones}
    for width in (WIDE, NARROW):
        analyst.picture(pictures / f"{story}-{width}.png", width)
        assert analyst.page.evaluate("document.documentElement.scrollWidth") <= width, "nothing hangs over"
        assert not {title for title in analyst.at_the_edge() if charts[titles[title]].viz.startswith(WITH_AXES)}
        assert not analyst.cut_cells()


def test_what_strangers_typed_is_text(rig: AirflowRig, analyst: Person, tmp_path: Path) -> None:
    send_hostile(rig)
    analyst.page.set_viewport_size({"width": NARROW, "height": TALL})
    for story, charts in SHOWING.items():
        analyst.open(story)
        for chart in charts:
            analyst.wait_until(partial(shows, analyst, title_of(story, chart), SHOWN))
        assert not analyst.cut_cells()
        assert analyst.page.locator("img[onerror], img[src='x']").count() == 0
    analyst.open("operations")
    analyst.wait_until(partial(shows, analyst, title_of("operations", "not_counted"), ["title_too_long"]))
    analyst.open("pulse")
    exported = analyst.download(title_of("pulse", "top_pages"), tmp_path)
    cells = [cell for row in csv.reader(io.StringIO(exported)) for cell in row]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith("=")], "a spreadsheet would calculate it"


def shows(person: Person, title: str, words: Sequence[str]) -> bool:
    """At once or after a refresh: what is kept may be older than the words."""
    text = person.tile(title).text.replace("\u200b", "")
    return all(word in text for word in words)


def title_of(story: str, chart: str) -> str:
    return next(each for each in load().stories if each.name == story).charts[chart].title


def test_numbers_move_and_filters_act(rig: AirflowRig, analyst: Person) -> None:
    analyst.open("pulse")
    edits, wikis = title_of("pulse", "edits"), title_of("pulse", "top_wikis")
    before = analyst.tile(edits).text
    analyst.wait_until(lambda: analyst.tile(edits).text != before)
    [(wiki,)] = rig.query("SELECT wiki FROM serving.activity WHERE window_start > now() - interval '30 minutes'"
                          " GROUP BY wiki ORDER BY sum(edits) DESC LIMIT 1")  # fmt: skip
    known = {name for (name,) in rig.query("SELECT wiki FROM serving.dim_wiki")}
    assert len(known & set(analyst.tile(wikis).text.split())) > 1
    analyst.choose("pulse", "Wiki", wiki)
    analyst.wait_until(lambda: known & set(analyst.tile(wikis).text.split()) == {wiki})


def test_a_chart_changed_by_hand_is_put_back_and_one_without_a_file_goes(rig: AirflowRig, tmp_path: Path) -> None:
    uuid, gone = identity("chart", "pulse/edits"), identity("chart", "pulse/minor_and_major")
    with superset(rig) as there:
        before = {thing.uuid: thing.number for thing in there.standing("chart")}
        there.request("PUT", f"api/v1/chart/{before[uuid]}", json={"slice_name": "Mine now"})
        rig.wait_finished(rig.trigger(DAG), DAG, "sync")
        put_back = there.request("GET", f"api/v1/chart/{before[uuid]}")["result"]
        assert put_back["slice_name"] == title_of("pulse", "edits")
        copy = tmp_path / "project"
        for room in ("dashboards", "wikiweir"):
            shutil.copytree(PROJECT / room, copy / room)
        (copy / "dashboards" / "stories" / "pulse" / "minor_and_major.yaml").unlink()
        layout = copy / "dashboards" / "stories" / "pulse" / "dashboard.yaml"
        layout.write_text(layout.read_text(encoding="utf-8").replace(
            "{running_count: 6, minor_and_major: 6}", "{running_count: 12}"), encoding="utf-8")  # fmt: skip
        command = [str(toolchain.python()), "-m", "dashboards.sync"]
        here = rig.weir.environment | {"PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert before.keys() - {thing.uuid for thing in there.standing("chart")} == {gone}
        rig.wait_finished(rig.trigger(DAG), DAG, "sync")
        assert before.keys() == {thing.uuid for thing in there.standing("chart")}


def test_superset_reads_and_never_writes(rig: AirflowRig) -> None:
    with superset(rig) as there:
        [database] = [thing for thing in there.standing("database") if thing.uuid == identity("database", "Wikiweir")]
        for statement in ("DELETE FROM ops.incidents", "CREATE TABLE ops.mine (n int)", "SELECT * FROM speed.activity"):
            asked = {"database_id": database.number, "sql": statement, "runAsync": False}
            with pytest.raises(SupersetError, match=r"(?i)permission denied|not allowed|read-only|DML"):
                there.request("POST", "api/v1/sqllab/execute/", json=asked)
