"""Runs suites and says what came of each expectation, in plain values."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
from great_expectations.core import ExpectationSuite
from great_expectations.data_context.types.base import ProgressBarsConfig

from expectations.suites import CRITICAL, Suite

SHOWN = ("observed_value", "element_count", "unexpected_count", "partial_unexpected_list")
"""What of a result is kept."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One expectation of one suite. `observed`: what was found, as JSON."""

    suite: str
    expectation: str
    severity: str
    success: bool
    observed: dict[str, Any]
    description: str

    @property
    def blocks(self) -> bool:
        """Whether the hour must not be published."""
        return not self.success and self.severity == CRITICAL.value


def judge(suites: Iterable[Suite]) -> list[Verdict]:
    """Every expectation of every suite; a suite is let go when the next is there."""
    return [verdict for suite in suites if suite.expectations for verdict in _run(suite)]


def _run(suite: Suite) -> list[Verdict]:
    context = gx.get_context(mode="ephemeral")  # of its own: it holds on to every frame it has seen
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas(suite.name).add_dataframe_asset(suite.name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": suite.frame})
    asked = ExpectationSuite(name=suite.name, expectations=list(suite.expectations))
    found = []
    for result in batch.validate(asked).results:
        config = result.expectation_config
        told = result.to_json_dict()
        observed = {name: value for name, value in told["result"].items() if name in SHOWN}
        if told["exception_info"].get("exception_message"):
            observed["exception"] = told["exception_info"]["exception_message"]
        found.append(
            Verdict(
                suite=suite.name,
                expectation=_name(config.type, config.kwargs),
                severity=str(getattr(config.severity, "value", config.severity)),
                success=bool(result.success),
                observed=_finite(observed),
                description=config.description or "",
            )
        )
    return found


def _name(kind: str, kwargs: dict[str, Any]) -> str:
    """E.g. `expect_column_values_to_not_be_null(wiki)`."""
    columns = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return f"{kind}({', '.join([*columns, *kwargs.get('column_list', ())])})"


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
