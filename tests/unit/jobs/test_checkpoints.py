"""Which checkpoints Spark may go on with, and what becomes of the others; on plain files as Spark writes them."""

import contextlib
import json
from pathlib import Path

import pytest

from jobs.lib import checkpoints, lake
from jobs.lib.checkpoints import Checkpoint, TornError
from jobs.lib.ledger import Entry


class LocalStore:
    """Plain files, without a JVM."""

    def names(self, folder: str) -> list[str]:
        path = Path(folder.removeprefix("file://"))
        return [child.name for child in path.iterdir()] if path.is_dir() else []

    def text(self, path: str) -> str:
        return Path(path.removeprefix("file://")).read_text(encoding="utf-8")

    def rename(self, path: str, new_path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(path.removeprefix("file://")).rename(new_path.removeprefix("file://"))

    def delete(self, path: str) -> None:
        root = Path(path.removeprefix("file://"))
        for child in sorted(root.rglob("*"), reverse=True):
            child.rmdir() if child.is_dir() else child.unlink()
        if root.is_dir():
            root.rmdir()


STORE = LocalStore()


def write(folder: Path, ends: list[dict[str, int]], committed: int, query_id: str = "q") -> Path:
    """A checkpoint with a planned batch for each end, and commits up to `committed`."""
    for name in ("offsets", "commits"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "metadata").write_text(json.dumps({"id": query_id}))
    for batch, end in enumerate(ends):
        head = json.dumps({"batchWatermarkMs": 0, "conf": {}})
        (folder / "offsets" / str(batch)).write_text(f"v1\n{head}\n{json.dumps({'t': end})}")
        (folder / "offsets" / f".{batch}.crc").write_bytes(b"x")
    for batch in range(committed + 1):
        (folder / "commits" / str(batch)).write_text('v1\n{"nextBatchWatermarkMs":0}')
    return folder


def entry(batch_id: int, end: dict[int, int]) -> Entry:
    return Entry(generation=1, sequence=9, checkpoint_id="c", batch_id=batch_id, start_offsets={0: 0}, end_offsets=end)


def verdict(folder: Path, last: Entry) -> str | None:
    return checkpoints.objection(checkpoints.read(STORE, str(folder), "t"), last)


def test_equal_to_the_ledger_with_or_without_sparks_commit(tmp_path: Path) -> None:
    assert verdict(write(tmp_path / "a", [{"0": 5}, {"0": 9}], 1), entry(1, {0: 9})) is None
    assert verdict(write(tmp_path / "b", [{"0": 5}, {"0": 9}], 0), entry(1, {0: 9})) is None


def test_exactly_one_batch_ahead(tmp_path: Path) -> None:
    folder = write(tmp_path, [{"0": 5}, {"0": 9}], 0)
    assert verdict(folder, entry(0, {0: 5})) is None
    assert "ends at {0: 5} in the checkpoint" in str(verdict(folder, entry(0, {0: 6})))


@pytest.mark.parametrize("batch_id", [0, 3, 4])
def test_behind_or_more_than_one_ahead_is_not_gone_on_with(tmp_path: Path, batch_id: int) -> None:
    folder = write(tmp_path, [{"0": 5}, {"0": 9}, {"0": 12}], 1)
    assert "newest batch is 2" in str(verdict(folder, entry(batch_id, {0: 5})))


def test_other_offsets_of_the_same_batch(tmp_path: Path) -> None:
    assert verdict(write(tmp_path, [{"0": 5}], 0), entry(0, {0: 4})) is not None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("metadata", None),
        ("metadata", ""),
        ("offsets/1", ""),
        ("offsets/1", "v1"),
        ("offsets/1", 'v1\n{"conf": {}}\n{"t": {"0"'),
        ("offsets/1", 'v1\n{"conf": {}}\n{"other": {"0": 9}}'),
        ("offsets/0", None),
        ("commits/1", ""),
        ("commits/1", "v1\n{"),
    ],
)
def test_torn_files_are_found(tmp_path: Path, path: str, content: str | None) -> None:
    write(tmp_path, [{"0": 5}, {"0": 9}], 1)
    if content is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_text(content)
    with pytest.raises(TornError):
        checkpoints.read(STORE, str(tmp_path), "t")


def test_a_commit_of_a_batch_that_is_not_planned_is_torn(tmp_path: Path) -> None:
    write(tmp_path, [{"0": 5}, {"0": 9}], 1)
    (tmp_path / "offsets" / "1").unlink()
    with pytest.raises(TornError, match="planned is only 0"):
        checkpoints.read(STORE, str(tmp_path), "t")


def test_a_folder_that_is_not_there_is_torn(tmp_path: Path) -> None:
    with pytest.raises(TornError):
        checkpoints.read(STORE, str(tmp_path / "nothing"), "t")


def test_sweep_keeps_the_current_and_the_last_retired(tmp_path: Path) -> None:
    for name in ("current", "orphan"):
        write(tmp_path / name, [{"0": 1}], 0)
    for stamp in range(5):
        write(tmp_path / f"old{stamp}", [{"0": 1}], 0)
        checkpoints.retire(STORE, str(tmp_path), f"old{stamp}", stamp)
    checkpoints.sweep(STORE, str(tmp_path), "current")
    assert sorted(STORE.names(str(tmp_path))) == [
        "current",
        "old2.retired-2",
        "old3.retired-3",
        "old4.retired-4",
    ]


def test_retiring_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    checkpoints.retire(STORE, str(tmp_path), "nothing", 1)
    assert STORE.names(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("newest", "in_bronze", "is_good"),
    [(0, None, True), (0, 0, True), (4, 4, True), (4, 3, True), (4, None, False), (4, 5, False), (4, 2, False)],
)
def test_the_lakes_checkpoint_is_held_to_bronze(newest: int, in_bronze: int | None, is_good: bool) -> None:
    found = Checkpoint("q", newest, {0: 1}, None)
    assert (lake.objection(found, in_bronze) is None) == is_good


def test_a_lake_checkpoint_without_a_planned_batch_is_not_used() -> None:
    assert lake.objection(Checkpoint("q", None, None, None), None) is not None
