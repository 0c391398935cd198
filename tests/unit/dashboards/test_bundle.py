"""What is imported: the same bytes for the same files, ids made of names, and every component reached from the grid."""

import json
from uuid import UUID

import pytest

from dashboards import bundle, datasets
from dashboards.client import Standing
from dashboards.notice import notice
from dashboards.sync import fingerprint
from tests.unit.dashboards import support

WORLD = support.stories({"edits": support.chart(), "more": support.chart()})
FILES = bundle.files(WORLD, "127.0.0.1:5432/wikiweir", "**Invented**")


def test_the_same_files_are_the_same_bundle() -> None:
    again = bundle.files(WORLD, "127.0.0.1:5432/wikiweir", "**Invented**")
    assert bundle.zipped(FILES) == bundle.zipped(again)
    assert bundle.digest(FILES, ["secret"]) == bundle.digest(again, ["secret"])


@pytest.mark.parametrize("other", [("127.0.0.1:5433/wikiweir", "**Invented**"), ("127.0.0.1:5432/wikiweir", None)])
def test_another_address_or_notice_is_another_bundle(other: tuple[str, str | None]) -> None:
    assert bundle.digest(bundle.files(WORLD, *other), []) != bundle.digest(FILES, [])


def test_another_password_is_imported_and_stands_in_no_file() -> None:
    assert bundle.digest(FILES, ["one"]) != bundle.digest(FILES, ["other"])
    assert bundle.MASK in FILES[bundle.DATABASE_FILE]["sqlalchemy_uri"]


def test_ids_are_made_of_names_and_differ() -> None:
    ids = [content["uuid"] for content in FILES.values() if "uuid" in content]
    assert len(set(ids)) == len(ids)
    assert {UUID(each).version for each in ids} == {5}


def test_a_dashboard_reaches_every_component_and_its_banner() -> None:
    positions = FILES["dashboards/pulse.yaml"]["position"]
    reached, todo = set(), ["ROOT_ID"]
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += positions[name]["children"]
    assert reached | {"HEADER_ID", "DASHBOARD_VERSION_KEY"} == positions.keys()
    words = [positions[name] for name in reached if name.startswith("MARKDOWN")]
    assert [each["meta"]["code"] for each in words] == ["**Invented**"]


def test_a_chart_carries_its_questions() -> None:
    context = json.loads(FILES["charts/pulse/edits.yaml"]["query_context"])
    assert context["queries"][0]["metrics"] == ["edits"]


def test_an_empty_tile_says_its_own_words() -> None:
    world = support.stories({"edits": support.chart(title='What is "big"?', empty='Nothing is "big"\nor \\ yet')})
    css = bundle.files(world, "127.0.0.1:5432/wikiweir", None)["dashboards/pulse.yaml"]["css"]
    rule = next(line for line in css.splitlines() if line.startswith("[data-test-chart-name="))
    assert rule.startswith(r'[data-test-chart-name="What is \"big\"?"] ')
    assert r'content: "Nothing is \"big\" or \\ yet";' in rule


def test_a_change_by_hand_changes_the_fingerprint() -> None:
    before, after = (Standing("chart", 1, "u", changed) for changed in ("10:00", "10:01"))
    assert fingerprint([before]) != fingerprint([after])
    assert fingerprint([before]) != fingerprint([])


@pytest.mark.parametrize("source", ["synthetic:1", "recording:shifted:1-files:0123", "url:http://x", "unset", "odd"])
def test_what_is_not_live_says_so(source: str) -> None:
    assert source in str(notice(source))
    assert notice("live") is None


def test_a_source_cannot_write_into_the_banner() -> None:
    assert "<" not in str(notice("url:<script>"))


def test_generated_datasets_are_current() -> None:
    assert not datasets.stale(), "run python -m dashboards.datasets and commit"
