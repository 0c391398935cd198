"""What the daily run takes from a real lake, and what it leaves: by arrival, whole hours, and never an hour's numbers.

Records are put into Kafka with the arrival of some days ago. The surprising thing: a killed run is played by writing
down by hand what it had written down before it was killed.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration import evidence
from tests.integration.parts import wait_for
from tests.integration.speed_rig import Rig
from tests.integration.speed_watch import wait_for_bronze
from tests.integration.test_build_hours import build, built_by, files, of_hour, published, rows
from tests.integration.workshop import Ended
from wikiweir.hours import Hour
from wikiweir.rollups import ROLLUPS

AGE = timedelta(days=3)
LIFETIMES = {"WIKIWEIR_KEEP_BRONZE": "P2D", "WIKIWEIR_KEEP_LAKE_FILES": "PT0S"}


def maintain(rig: Rig, *arguments: str) -> Ended:
    job = rig.run("maintain_lake", *arguments, **LIFETIMES)
    assert job.exit_code == 0, job.log[-3000:]
    return job


def held(rig: Rig, hour: Hour) -> int:
    """Rows that bronze's last version holds of an hour."""
    found = evidence.bronze_rows(rig.folder / "lake" / "bronze")
    return sum(row["event_hour"].replace("T", " ").startswith(f"{hour.start:%Y-%m-%d %H}") for row in found)


def on_disk(rig: Rig) -> set[str]:
    """Data files of bronze, whether or not a version needs them."""
    table = rig.folder / "lake" / "bronze"
    return {str(path.relative_to(table)) for path in table.rglob("*.parquet") if "_delta_log" not in path.parts}


def quarantined(rig: Rig, hour: Hour) -> list[dict[str, Any]]:
    """Rows of an hour in the lake's quarantine."""
    found = evidence.delta_rows(rig.folder / "lake" / "quarantine")
    return [row for row in found if row["event_hour"].startswith(f"{hour.start:%Y-%m-%d %H}")]


def needed(rig: Rig) -> set[str]:
    """Data files of bronze's last version."""
    return set(evidence.bronze_files(rig.folder / "lake" / "bronze"))


def pruned(rig: Rig) -> list[tuple[datetime, int]]:
    return rig.query("SELECT hour, rows FROM ops.pruned_hours ORDER BY hour")


def measured(rig: Rig) -> dict[str, tuple[int, int]]:
    """Table of the lake -> files and bytes, as they were last written down."""
    newest = "SELECT DISTINCT ON (table_name) table_name, files, bytes FROM ops.lake_tables"
    return {name: (files, size) for name, files, size in rig.query(f"{newest} ORDER BY 1, measured_at DESC")}


def taken(rig: Rig, table: str) -> tuple[int, int]:
    """Files and bytes in a table's folder, but for the sums that Hadoop hides beside each file."""
    folder = rig.folder / "lake" / table
    found = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.match(".*.crc")]
    return len(found), sum(found)


def test_an_old_hour_goes_its_numbers_stay_and_it_is_never_built_again(rig: Rig) -> None:
    driver = rig.driver()
    old = Hour.of(datetime.now(UTC) - AGE)
    late, unpublished = (Hour(old.start + timedelta(hours=n)) for n in (1, 2))
    then = old.start + timedelta(hours=4)
    rig.send(of_hour(old, range(60)), arrived=then)
    rig.send(of_hour(late, range(100, 140)), arrived=then)
    rig.send(of_hour(unpublished, range(200, 220)), arrived=then)
    rig.drain()
    wait_for_bronze(rig)
    rig.send(of_hour(late, range(140, 145)))  # came just now: its hour is young again
    rig.drain()
    wait_for_bronze(rig)
    build(rig, "--first", str(old), "--last", str(late))
    first, version = rows(rig, old), published(rig, old)
    assert sum(map(len, first.values())) > 40
    assert on_disk(rig) > needed(rig)
    assert "60 rows would be pruned" in maintain(rig, "--dry-run").log
    assert (held(rig, old), pruned(rig), measured(rig)) == (60, [], {})
    # a run that was killed after it had written the hour down
    rig.query("INSERT INTO ops.pruned_hours (hour, rows, newest_arrival) VALUES (%s, 60, %s)", old.start, then)
    log = maintain(rig).log
    assert [held(rig, hour) for hour in (old, late, unpublished)] == [0, 45, 20]
    assert f"hour {unpublished} outlives bronze: 20 of its rows were never published" in log
    assert pruned(rig) == [(old.start, 60)]
    assert on_disk(rig) == needed(rig), "no version is kept for anybody"
    assert files(rig, late) == 1
    sizes = measured(rig)
    assert {"bronze", "silver/facts", *(f"gold/{rollup.name}" for rollup in ROLLUPS)} <= sizes.keys()
    assert sizes["silver/facts"] == taken(rig, "silver/facts"), "nobody has written there meanwhile"
    shown = rig.query("SELECT layer, bytes FROM serving.disk_usage WHERE relation = 'silver/facts'")
    assert shown == [("silver", sizes["silver/facts"][1])]

    assert driver.exit_code is None
    late_ones = of_hour(old, range(300, 302))
    rig.send(late_ones)
    rig.drain()
    wait_for(lambda: held(rig, old) == 2, 60, lambda: driver.log[-3000:])
    job = build(rig, "--hour", str(old))
    assert built_by(job) == set()
    assert "were pruned on" in job.log
    assert (rows(rig, old), published(rig, old)) == (first, version)
    assert "2 rows came for hours that had been pruned" in maintain(rig).log
    kept = quarantined(rig, old)
    assert [row["reason"] for row in kept] == ["hour_pruned"] * 2
    assert {json.loads(row["raw"])["meta"]["id"] for row in kept} == {each["meta"]["id"] for each in late_ones}
