"""What a run does about an hour that fails, and what it says to words that make no sense."""

import psycopg2
import pyarrow as pa
import pytest

from jobs.build_hours import build_each, main
from jobs.lib.publish import NewerPublishedError
from jobs.lib.quality import BlockedError
from wikiweir.hours import Hour

HOURS = [Hour.parse(f"2026-11-23T0{number}") for number in range(6)]


def test_an_hour_that_fails_stops_none_of_the_others_whatever_it_raises() -> None:
    ends: list[Exception | None] = [
        KeyError("edits"),
        pa.ArrowInvalid("Integer value out of bounds"),
        BlockedError("kept back"),
        psycopg2.OperationalError("the server closed the connection"),
        NewerPublishedError("another run was faster"),
        None,
    ]
    built = []

    def build(hour: Hour) -> None:
        built.append(hour)
        if (end := ends[HOURS.index(hour)]) is not None:
            raise end

    failed = build_each(build, "hour", HOURS)
    assert built == HOURS
    assert failed == [
        "hour 2026-11-23T00 (KeyError)",
        "hour 2026-11-23T01 (ArrowInvalid)",
        "hour 2026-11-23T02 (blocked: docs/runbooks/hour_blocked.md)",
        "hour 2026-11-23T03 (OperationalError)",
    ]


def test_a_range_that_ends_before_it_begins_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--first", "2026-11-23T05", "--last", "2026-11-23T03"])
    assert refused.value.code == 2
    assert "expected --first before --last, found 2026-11-23T05 and 2026-11-23T03" in capsys.readouterr().err
