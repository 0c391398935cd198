"""Laws over the declarations: what every reader of the spec relies on."""

import pytest

from wikiweir.rollups import ROLLUPS, Rollup
from wikiweir.settings import Lifetimes

each_rollup = pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda r: r.name)


@each_rollup
def test_names_are_unique(rollup: Rollup) -> None:
    names = ["window_start", *(d.name for d in rollup.dimensions), *(m.name for m in rollup.metrics)]
    assert len(names) == len(set(names))


@each_rollup
def test_the_speed_layer_keeps_no_distinct(rollup: Rollup) -> None:
    assert all(metric.merge in ("sum", "max") for metric in rollup.additive)
    assert "editors" not in rollup.columns


@each_rollup
def test_every_word_a_person_reads_is_there(rollup: Rollup) -> None:
    for named in (*rollup.dimensions, *rollup.metrics):
        assert named.label
        assert named.help.endswith(".")


def test_lifetimes_keep_their_order() -> None:
    """A duplicate must be recognisable for longer than it can come back, and Kafka must outlive a lost checkpoint."""
    keep = Lifetimes()
    assert keep.kafka > keep.seen > keep.overlap
    assert keep.bronze > keep.kafka
    assert keep.speed_minutes >= keep.recent_changes
