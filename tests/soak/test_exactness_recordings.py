"""Every recorded recentchange file and raw capture, shifted to now and as recorded, against the oracle.

Skipped where the shared recordings are not there. The surprising thing: the raw captures hold the same events as one of
the files, so playing both makes thousands of real duplicates, which must be counted exactly.
"""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.checks import check
from tests.integration.harness import Stack
from wikiweir.settings import PROJECT

DATA = PROJECT.parent / "shared" / "data"
RECORDINGS = sorted([*DATA.glob("recentchange-*.ndjson.gz"), *DATA.glob("raw-sse-*.sse.gz")])
RECORDINGS = [path for path in RECORDINGS if "flat" not in path.name]
STREAMS = "recentchange,page-create,revision-create"

pytestmark = pytest.mark.skipif(not RECORDINGS, reason=f"no recordings in {DATA}")


def ids(path: Path) -> list[str]:
    """`meta.id` of each whole line, by means of this test's own."""
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    if path.name.endswith(".sse.gz"):
        lines = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ") and line.endswith(b"}")]
    return [json.loads(line)["meta"]["id"] for line in lines if line]


@pytest.mark.parametrize("times", ["shifted", "as_recorded"])
def test_recordings_equal_the_oracle(times: str, tmp_path: Path) -> None:
    recorded = Counter(event for path in RECORDINGS for event in ids(path))
    source = ["--recording", *map(str, RECORDINGS), *(["--as-recorded"] if times == "as_recorded" else [])]
    with Stack(tmp_path, source, {"WIKIWEIR_STREAMS": STREAMS}) as stack:
        stack.drain()
        report = check(stack)
    assert not report.faults, str(report)
    assert report.facts["lines offered"] == recorded.total(), report
    assert report.facts["events in Kafka"] == recorded.total(), report
    assert report.facts["ids offered"] == len(recorded), report
    if times == "as_recorded":  # shifting keeps whole seconds, and no copy of an id was recorded in another hour
        assert report.facts["duplicate"] == recorded.total() - len(recorded), report
