"""Lifetimes: the laws between them, and where they are read from."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from wikiweir.settings import PROJECT, Lifetimes, load


def test_lifetimes_keep_their_order() -> None:
    """A duplicate must be recognisable for longer than it can come back, and Kafka must outlive a lost checkpoint."""
    keep = Lifetimes()
    assert keep.kafka > keep.seen > keep.overlap
    assert keep.bronze > keep.kafka
    assert keep.speed_minutes >= keep.recent_changes


def test_the_coarser_the_longer() -> None:
    keep = Lifetimes()
    assert keep.batch_hours > keep.batch_minutes
    assert keep.batch_key_hours > keep.batch_key_minutes
    assert keep.batch_minutes >= keep.batch_key_minutes
    assert keep.batch_hours >= keep.batch_key_hours


def test_views_of_the_last_24_hours_have_their_minutes() -> None:
    assert Lifetimes().batch_key_minutes > timedelta(hours=24)


def test_findings_of_an_hour_outlive_the_rows_it_can_be_built_from() -> None:
    assert Lifetimes().findings >= Lifetimes().bronze


def test_no_job_runs_for_longer_than_the_files_of_its_pinned_version_live() -> None:
    dags = json.loads((PROJECT / "tests" / "fixtures" / "dags.json").read_text(encoding="utf-8"))
    tasks = [task for dag in dags.values() for task in dag["tasks"].values() if "command" in task]
    longest = max(timedelta(seconds=task["time_limit_seconds"]) for task in tasks)
    assert Lifetimes().lake_log >= Lifetimes().lake_files > longest


def test_a_lifetime_is_set_like_any_other_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "instance.env").write_text("WIKIWEIR_KEEP_BRONZE=P200D\nWIKIWEIR_KEEP_SEEN=PT50H\n", encoding="utf-8")
    monkeypatch.setenv("WIKIWEIR_HOME", str(tmp_path))
    monkeypatch.setenv("WIKIWEIR_KEEP_SEEN", "PT60H")
    keep = load().keep
    assert (keep.bronze, keep.seen) == (timedelta(days=200), timedelta(hours=60))
    assert keep.kafka == Lifetimes().kafka
