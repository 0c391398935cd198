"""Laws over the declarations: what every reader of the spec relies on."""

import pytest

from wikiweir.rollups import ROLLUPS, Dimension, Metric, Rollup

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
    every: list[Dimension | Metric] = [*rollup.dimensions, *rollup.metrics]
    for named in every:
        assert named.label
        assert named.help.endswith(".")
