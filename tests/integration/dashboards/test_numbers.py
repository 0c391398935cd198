"""Every tile says what the oracle says: each is asked as a viewer's browser asks it who chose hours of both layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from dashboards.stories import load
from dashboards.sync import connected
from tests.integration.airflow_rig import AirflowRig
from tests.integration.dashboards.viewer import Told, ask_all, oracle, silent, spans, wait_still
from tests.oracle.questions import Row
from tests.oracle.tiles import TILES
from wikiweir.hours import LENGTH, Hour

pytestmark = pytest.mark.timeout(1800)
"""The first test waits for an hour to be published."""
WIKIS = (None, "enwiki")
"""What is chosen in the filter of wikis."""
ATTEMPTS = 5
SERVED = """\
SELECT p.hour, p.version, p.end_offsets, d.version, date_trunc('hour', now(), 'UTC')
FROM ops.published_hours AS p
LEFT JOIN ops.published_days AS d ON d.day = date_trunc('day', p.hour, 'UTC')
ORDER BY p.hour DESC"""
"""What batch serves, the newest hour first, and which hour is running."""


@dataclass(frozen=True, slots=True)
class Both:
    """What all tiles say with each choice of wikis, and the oracle's tables, of one state of the stack."""

    told: Mapping[str | None, Mapping[str, Told]]
    tables: Mapping[str, list[Row]]


@pytest.fixture(scope="module")
def both(rig: AirflowRig, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """No hour ends or is published while they are asked, and nothing comes into Kafka."""
    rig.wait_published(Hour(Hour.of(datetime.now(UTC)).start - LENGTH))
    viewer = connected(rig.settings)
    assert viewer
    with silent(rig), viewer as superset:
        for _ in range(ATTEMPTS):
            ends, served = wait_still(rig), rig.query(SERVED)
            newest = served[0][0]
            told = {wiki: ask_all(superset, load(), TILES, spans(newest, datetime.now(UTC)), wiki) for wiki in WIKIS}
            tables = oracle(rig, tmp_path_factory.mktemp("oracle"))
            if (rig.kafka_ends(), rig.query(SERVED)) == (ends, served):
                return Both(told, tables)
    raise TimeoutError(f"hours end or are published, or records come, all the time: {served}, {ends}")


@pytest.mark.parametrize("wiki", WIKIS, ids=("all wikis", "one wiki"))
@pytest.mark.parametrize("name", TILES)
def test_a_tile_says_what_the_oracle_says(both: Both, name: str, wiki: str | None) -> None:
    told, questions = both.told[wiki][name], TILES[name].questions
    assert told.answer.error is None, f"{name}: {told.title} {told.answer.error}"
    before, after = told.worlds(both.tables)
    differing = [
        line
        for question, said in zip(questions, told.answer.data, strict=True)
        for line in question.differences(said, before, after)
    ]
    assert not differing, "\n  ".join([f"{name}: {told.title}", *differing])
    assert wiki or all(told.answer.data), f"{name}: there was nothing to compare"
