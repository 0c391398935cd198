"""A backup is taken as it was written or not at all; a restored instance stands beside the one it came from."""

from pathlib import Path

import pytest

from local import backup
from local import instance as instances
from local.instance import EMBEDDED, InstanceError


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    (folder / "lake").mkdir(parents=True)
    (folder / "lake" / "with space.parquet").write_bytes(b"rows")
    (folder / backup.DUMP).write_bytes(b"dump")
    lines = [f"{digest} {size} {name}" for name, (size, digest) in backup._contents(folder).items()]
    (folder / backup.MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_an_untouched_copy_is_accepted(copied: Path) -> None:
    backup.verify(copied)


def test_all_differences_are_told_at_once(copied: Path) -> None:
    (copied / backup.DUMP).write_bytes(b"dumb")
    (copied / "lake" / "with space.parquet").unlink()
    (copied / "lake" / "new").touch()
    with pytest.raises(InstanceError) as refusal:
        backup.verify(copied)
    for part in ("3 files", "database.dump: other content", "with space.parquet: missing", "new: not in the manifest"):
        assert part in str(refusal.value)


def test_an_unfinished_copy_is_no_backup(copied: Path) -> None:
    (copied / backup.MANIFEST).unlink()
    with pytest.raises(InstanceError, match="not finished"):
        backup.verify(copied)


def test_a_restored_instance_has_ports_of_its_own() -> None:
    old = {
        EMBEDDED: "kafka,postgres",
        "WIKIWEIR_POSTGRES_PORT": "1",
        "WIKIWEIR_REPLAY_PORT": "2",
        "WIKIWEIR_KAFKA_BOOTSTRAP": "127.0.0.1:3",
        "WIKIWEIR_SOURCE_URL": "http://127.0.0.1:2",
        "WIKIWEIR_SOURCE_ID": "synthetic:1",
        instances.SUPERSET_PORT: "4",
        instances.SUPERSET_URL: "http://127.0.0.1:4",
    }
    new = backup._with_new_ports(old)
    assert new["WIKIWEIR_SOURCE_ID"] == "synthetic:1"
    assert new["WIKIWEIR_POSTGRES_PORT"] != "1"
    assert new["WIKIWEIR_KAFKA_BOOTSTRAP"] != "127.0.0.1:3"
    assert new["WIKIWEIR_SOURCE_URL"] == f"http://127.0.0.1:{new['WIKIWEIR_REPLAY_PORT']}"
    assert not {instances.SUPERSET_PORT, instances.SUPERSET_URL} & new.keys(), "the next up chooses"


def test_programs_that_run_elsewhere_keep_their_address() -> None:
    old = {EMBEDDED: "", "WIKIWEIR_POSTGRES_PORT": "1", "WIKIWEIR_KAFKA_BOOTSTRAP": "broker.example:3"}
    new = backup._with_new_ports(old)
    assert (new["WIKIWEIR_POSTGRES_PORT"], new["WIKIWEIR_KAFKA_BOOTSTRAP"]) == ("1", "broker.example:3")
