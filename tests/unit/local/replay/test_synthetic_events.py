"""Invented events look like recorded ones, in the large and in the small."""

import gzip
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from local.replay import make_shapes
from local.replay.invent import Mixture
from local.replay.seconds import Recipe
from local.replay.synthetic import TOPICS, SyntheticLog
from wikiweir.definitions import definitions, site

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"
EPOCH = 1_795_500_000


def generate(seconds: int, recipe: Recipe) -> list[dict[str, Any]]:
    log = SyntheticLog(recipe, now_ms=(recipe.epoch_s + seconds) * 1000)
    return [{**json.loads(r.line()), "_kafka_ms": r.kafka_ms} for r in log.read(0, 10**9)]


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    mixture = Mixture(late=0.01, odd=0.01)
    return generate(600, Recipe(seed=11, epoch_s=EPOCH, rate=37.0, duplicates=0.02, mixture=mixture))


@pytest.fixture(scope="module")
def facts(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in events if e["meta"]["domain"] != "canary"]


def share(events: list[dict[str, Any]], field: str) -> dict[Any, float]:
    counted = Counter(e.get(field) for e in events)
    return {value: count / len(events) for value, count in counted.items()}


def test_shares_are_those_of_the_recordings(facts: list[dict[str, Any]]) -> None:
    types, bots, wikis = share(facts, "type"), share(facts, "bot"), share(facts, "wiki")
    assert 0.51 <= types["edit"] <= 0.65
    assert 0.30 <= types["categorize"] <= 0.41
    assert 0.013 <= types["log"] <= 0.11
    assert 0.009 <= types["new"] <= 0.045
    assert types["142"] < 0.02
    assert 0.32 <= bots[True] <= 0.46
    assert 0.21 <= wikis["commonswiki"] <= 0.42
    assert 0.15 <= wikis["wikidatawiki"] <= 0.30
    assert 0.05 <= wikis["enwiki"] <= 0.17
    assert len(wikis) > 60


def test_rate_follows_the_day_and_can_be_flat() -> None:
    afternoon, night = (EPOCH // 86_400) * 86_400 + 55_800, (EPOCH // 86_400) * 86_400 + 12_600
    busy, quiet, flat = (
        SyntheticLog(recipe, now_ms=(recipe.epoch_s + 600) * 1000).end_seq / 600
        for recipe in (
            Recipe(seed=11, epoch_s=afternoon),
            Recipe(seed=11, epoch_s=night),
            Recipe(seed=11, epoch_s=night, rate=100, is_diurnal=False),
        )
    )
    assert 35 < busy < 60
    assert 22 < quiet < 36
    assert flat == pytest.approx(100, abs=1)


def test_lines_are_as_long_as_real_ones() -> None:
    log = SyntheticLog(Recipe(seed=11, epoch_s=EPOCH), now_ms=(EPOCH + 120) * 1000)
    sizes = sorted(len(r.line()) for r in log.read(0, 10**9))
    assert 1000 <= sum(sizes) / len(sizes) <= 1400
    assert sizes[-1] < 6000


def test_key_order_is_the_recorded_one(facts: list[dict[str, Any]]) -> None:
    edit = next(e for e in facts if e["type"] == "edit" and "minor" in e and "patrolled" in e)
    assert list(edit["meta"]) == [
        "uri", "request_id", "id", "domain", "stream", "dt", "topic", "partition", "offset"
    ]  # fmt: skip
    assert list(edit)[:-1] == [
        "$schema", "meta", "id", "type", "namespace", "title", "title_url", "comment", "timestamp", "user", "bot",
        "notify_url", "minor", "patrolled", "length", "revision", "server_url", "server_name", "server_script_path",
        "wiki", "parsedcomment",
    ]  # fmt: skip


def test_what_is_missing_is_missing(facts: list[dict[str, Any]]) -> None:
    edits = [e for e in facts if e["type"] == "edit" and "minor" in e]
    without_patrolled = sum("patrolled" not in e for e in edits) / len(edits)
    assert 0.15 <= without_patrolled <= 0.47
    assert all("patrolled" not in e for e in edits if e["wiki"] == "enwiki")
    logs = [e for e in facts if e["type"] == "log"]
    assert 0.2 <= sum("id" not in e for e in logs) / len(logs) <= 0.8
    assert not any("length" in e or "notify_url" in e for e in logs)
    assert all("old" not in e["length"] for e in facts if e["type"] == "new")
    assert any("user" not in e for e in facts), "hidden users"
    assert not any("minor" in e or "length" in e for e in facts if e["type"] == "categorize")


def test_log_params_are_objects_arrays_and_text() -> None:
    recipe = Recipe(seed=11, epoch_s=EPOCH, rate=200)
    kinds = {type(e["log_params"]).__name__ for e in generate(60, recipe) if e.get("type") == "log"}
    assert {"dict", "list"} <= kinds <= {"dict", "list", "str"}


def test_users_of_all_classes(facts: list[dict[str, Any]]) -> None:
    rules = definitions()["user_class"]
    users = [e["user"] for e in facts if "user" in e and not e["bot"]]
    temporary = sum(re.fullmatch(rules["temporary"], u) is not None for u in users) / len(users)
    ips = [u for u in users if re.fullmatch(f"{rules['ipv4']}|{rules['ipv6']}", u)]
    assert 0.01 < temporary < 0.3
    assert 0 < len(ips) / len(users) < 0.05
    for address in ips:  # documentation addresses belong to nobody
        assert address.startswith(("192.0.2.", "198.51.100.", "203.0.113.", "2001:DB8:"))


def test_popularity_is_skewed(facts: list[dict[str, Any]]) -> None:
    users = Counter(e.get("user") for e in facts)
    titles = Counter(e["title"] for e in facts)
    assert users.most_common(1)[0][1] > 50
    assert len(users) > 2000
    assert sum(count == 1 for count in titles.values()) > 0.5 * len(titles)


def test_times(facts: list[dict[str, Any]]) -> None:
    delays = sorted(e["_kafka_ms"] / 1000 - e["timestamp"] for e in facts)
    assert -0.1 <= delays[0] < 0.6
    assert 1.0 <= delays[len(delays) // 2] <= 4.0
    late = [d for d in delays if d > 30]
    assert 0.005 < len(late) / len(delays) < 0.05
    assert max(late) < 5 * 3600 + 7300, "late by up to five hours; a duplicate may be two hours older"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["meta"]["dt"]) for e in facts)
    steps = [b["_kafka_ms"] < a["_kafka_ms"] for a, b in pairwise(facts)]
    assert 0.02 < sum(steps) / len(steps) < 0.15, "neighbours step back, as on the real topic"


def test_ids_need_64_bits_and_are_unique(facts: list[dict[str, Any]]) -> None:
    numbers = [e["id"] for e in facts if e["wiki"] == "commonswiki" and "id" in e]
    assert min(numbers) > 2**31
    assert all(e["meta"]["offset"] > 2_043_000_000 for e in facts)
    by_meta_id = {e["meta"]["id"]: (e["wiki"], e.get("id")) for e in facts}
    with_number = [value for value in by_meta_id.values() if value[1] is not None]
    assert len(set(with_number)) == len(with_number)
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i) for i in by_meta_id
    )


def test_duplicates_are_the_same_record_again(facts: list[dict[str, Any]]) -> None:
    seen: dict[str, dict[str, Any]] = {}
    repeated = 0
    for event in facts:
        meta = {key: value for key, value in event["meta"].items() if key != "offset"}
        content = {**event, "meta": meta, "_kafka_ms": 0}
        repeated += event["meta"]["id"] in seen
        assert seen.setdefault(event["meta"]["id"], content) == content
    assert repeated / len(facts) == pytest.approx(0.02, abs=0.006)


def test_canaries_come_from_both_data_centres() -> None:
    canaries = [e for e in generate(3600, Recipe(seed=11, epoch_s=EPOCH, rate=1)) if e["meta"]["domain"] == "canary"]
    assert Counter(e["meta"]["topic"] for e in canaries) == dict.fromkeys(TOPICS, 4)
    assert set(canaries[0]) == {"$schema", "meta", "_kafka_ms"}
    assert canaries[0]["$schema"].endswith("/1.0.1")


def test_reverts_in_the_wiki_language(facts: list[dict[str, Any]]) -> None:
    prefixes = definitions()["reverts"]["prefixes"]

    def is_revert(event: dict[str, Any]) -> bool:
        _, language = site(event["server_name"])
        return str(event["comment"]).startswith(tuple(prefixes.get(language, prefixes["none"])))

    people = [e for e in facts if e["type"] in ("edit", "new") and not e["bot"]]
    assert 0.01 < sum(map(is_revert, people)) / len(people) < 0.08
    assert len({e["wiki"] for e in people if is_revert(e)}) > 10


def test_texts_of_many_kinds(facts: list[dict[str, Any]]) -> None:
    text = "".join(e["title"] + e["comment"] + e["parsedcomment"] for e in facts)
    expected = {
        "right to left": "[\u0590-\u06ff]",
        "cyrillic": "[а-я]",
        "han": "[\u4e00-\u9fff]",
        "astral": "[\U0001f300-\U0001faff]",
        "bidi mark": "\u200e",
        "line separator": "\u2028",
        "nul": "\0",
        "lone surrogate": "[\ud800-\udfff]",
        "html": "<span",
    }
    for name, wanted in expected.items():
        assert re.search(wanted, text), name


def test_shapes_hold_nothing_that_anybody_wrote() -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the recordings of ../shared/data")
    shapes = make_shapes.OUTPUT.read_text(encoding="utf-8")
    assert len(shapes) < 500_000
    for name in make_shapes.SOURCES:
        with gzip.open(SHARED / f"{name}.ndjson.gz") as lines:
            for event in map(json.loads, lines):
                own = [event.get("user"), event.get("comment"), event["meta"]["id"], event.get("title")]
                found = [value for value in own if isinstance(value, str) and len(value) > 5 and f'"{value}"' in shapes]
                assert not found, found


def test_shapes_are_what_the_script_makes() -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the recordings of ../shared/data")
    made = json.loads(json.dumps(make_shapes.distil(SHARED)))
    assert json.loads(make_shapes.OUTPUT.read_text(encoding="utf-8")) == made
