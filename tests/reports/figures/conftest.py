"""Reports to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.results import ModelRecord, Report, ResultRecord
from tests.reports.conftest import GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Make = Callable[..., ResultRecord]

SPEC = "bias_specs/x.bias.yaml"
TESTS = ("a", "b", "c", "d", "e", "f")


@pytest.fixture
def report() -> Callable[..., Report]:
    """Make a report of results; `prints` are fingerprints of models."""

    def one(results: Iterable[ResultRecord], **prints: str) -> Report:
        return Report(
            tool={},
            environment={},
            models=[
                ModelRecord(
                    spec=SPEC,
                    model=model,
                    source="timm",
                    role="gated",
                    trials=[{"label": f"{fingerprint}.pt", "fingerprint": fingerprint}],
                    preprocessing={},
                    description={},
                )
                for model, fingerprint in prints.items()
            ],
            results=list(results),
            summary={},
        )

    return one


@pytest.fixture
def study(make: Make) -> list[ResultRecord]:
    """Results of a whole run: before, after and untrained, six tests, two layers, labels."""
    records = []
    for layer_index, layer in enumerate(("early", "late")):
        for index, test in enumerate(TESTS):
            before, after = 0.2 * index - 0.5, 0.3 * index - 0.4 + layer_index / 10
            growth = {**GROWTH, "before": before, "after": after, "value": abs(after) - abs(before)}
            place = {"layer": layer, "ci_low": -1.9, "ci_high": 1.9}
            p = 0.01 * (index + 1)
            numbers = {"p_value": p, "p_verdict": p, "p_adjusted": None}
            records += [
                make(test, model="before", effect_judged=before, **numbers, **place),
                make(
                    test,
                    effect_judged=after,
                    growth=growth,
                    labels={"size": "10"},
                    **numbers,
                    **place,
                ),
                make(
                    test,
                    model="untrained",
                    role="random",
                    effect_judged=0.1,
                    **{**numbers, "p_verdict": 0.5},
                    **place,
                ),
            ]
    return records
