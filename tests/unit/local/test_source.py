"""A state folder keeps to one source; options that contradict each other are refused with what to do."""

from pathlib import Path

import pytest

from local import instance as instances
from local import source
from local.instance import Instance, InstanceError
from local.source import Wish

NOW_MS = 1_795_000_000_000


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    for name in instances.from_outside():
        monkeypatch.delenv(name, raising=False)
    made = Instance(tmp_path / "state")
    instances.create(made)
    return made


def bind(instance: Instance, wish: Wish, contact: str | None = None) -> str:
    return source.bind(instance, wish, contact=contact, now_ms=NOW_MS)


def recording(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_new_folder_without_options_plays_invented_events(instance: Instance) -> None:
    assert bind(instance, Wish()) == "synthetic:1"
    assert source.needs_replay("synthetic:1")
    arguments = source.replay_arguments(instance)
    assert arguments[:3] == ["--port", instance.values["WIKIWEIR_REPLAY_PORT"], "--state"]
    assert arguments[4:] == ["--seed", "1", "--rate", "37", "--epoch-ms", str(NOW_MS), "--history", "0s"]


def test_plain_up_goes_on_with_the_same_source(instance: Instance) -> None:
    bind(instance, Wish(seed=7, history="26h"))
    played = source.replay_arguments(instance)
    assert source.bind(instance, Wish(), contact=None, now_ms=NOW_MS + 5_000) == "synthetic:7"
    assert source.replay_arguments(instance) == played, "what the log holds must not move with the second start"


def test_history_is_fetched_from_its_first_event(instance: Instance) -> None:
    bind(instance, Wish(history="26h"))
    assert int(instance.values["WIKIWEIR_SINCE"]) == NOW_MS - 26 * 3_600_000


def test_the_pace_of_a_recording_may_change_at_every_start(instance: Instance, tmp_path: Path) -> None:
    files = (recording(tmp_path, "a.ndjson", "{}"),)
    bind(instance, Wish(recordings=files, rate=400))
    assert source.replay_arguments(instance)[-2:] == ["--rate", "400"]
    bind(instance, Wish(speed=2.5))
    assert source.replay_arguments(instance)[-2:] == ["--speed", "2.5"]
    bind(instance, Wish())
    assert source.replay_arguments(instance)[-2:] == ["--speed", "2.5"]


def test_the_rate_of_invented_events_is_part_of_what_they_are(instance: Instance) -> None:
    bind(instance, Wish(rate=400))
    bind(instance, Wish(rate=400))
    with pytest.raises(InstanceError, match="400 a second"):
        bind(instance, Wish(rate=40))


@pytest.mark.parametrize(
    "other", [Wish(live=True), Wish(url="http://127.0.0.1:1"), Wish(seed=2)], ids=["live", "server", "other seed"]
)
def test_another_source_is_refused_with_what_to_do(instance: Instance, other: Wish) -> None:
    bind(instance, Wish())
    before = instance.values
    with pytest.raises(InstanceError) as refusal:
        bind(instance, other, contact="mailto:someone@example.org")
    for part in ("synthetic:1", "./weir reset --yes", "WIKIWEIR_HOME="):
        assert part in str(refusal.value)
    assert instance.values == before


def test_a_recording_is_known_by_its_content(instance: Instance, tmp_path: Path) -> None:
    first, second = recording(tmp_path, "a.ndjson", "{}"), recording(tmp_path, "b.ndjson", "[]")
    bound = bind(instance, Wish(recordings=(first, second)))
    moved = recording(tmp_path, "moved.ndjson", "[]")
    assert bind(instance, Wish(recordings=(moved, first))) == bound
    assert instance.values["WIKIWEIR_SINCE"] == "0"
    with pytest.raises(InstanceError, match="must not mix"):
        bind(instance, Wish(recordings=(first,)))
    with pytest.raises(InstanceError, match="must not mix"):
        bind(instance, Wish(recordings=(first, second), as_recorded=True))


def test_live_needs_a_contact_and_may_begin_in_the_past(instance: Instance) -> None:
    with pytest.raises(InstanceError, match="WIKIWEIR_CONTACT"):
        bind(instance, Wish(live=True))
    assert "WIKIWEIR_SOURCE_ID" not in instance.values
    assert bind(instance, Wish(live=True, since="24h"), contact="mailto:someone@example.org") == "live"
    assert instance.values["WIKIWEIR_SOURCE_URL"] == source.LIVE_URL
    assert int(instance.values["WIKIWEIR_SINCE"]) == NOW_MS - 86_400_000
    assert not source.needs_replay("live")
    assert bind(instance, Wish()) == "live", "the contact is remembered with the source"


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (Wish(live=True, seed=3), "different sources"),
        (Wish(since="1h"), "--since goes with"),
        (Wish(as_recorded=True), "--as-recorded goes with"),
        (Wish(rate=5, speed=2), "exclude each other"),
        (Wish(recordings=(Path("/nowhere/x.ndjson"),)), "no such file"),
        (Wish(history="26 hours"), "90s, 10m, 26h or 2d"),
        (Wish(live=True, rate=5), "pace the replay server"),
        (Wish(live=True, history="2h"), "--history"),
    ],
)
def test_contradictions_are_refused(instance: Instance, wish: Wish, says: str) -> None:
    with pytest.raises(InstanceError, match=says):
        bind(instance, wish, contact="mailto:someone@example.org")
    assert "WIKIWEIR_SOURCE_ID" not in instance.values, "a refused start binds nothing"


def test_only_live_is_called_live() -> None:
    assert "not live" not in source.describe("live")
    for other in ("synthetic:1", "recording:shifted:2-files:abc", "url:http://127.0.0.1:1"):
        assert "not live" in source.describe(other)
