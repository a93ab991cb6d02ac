"""A record of a result, as the pipeline makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.record import ResultRecord

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH: dict[str, object] = {
    "base": "before",
    "value": 0.9,
    "shift": 1.1,
    "before": -0.1,
    "after": 1.0,
    "p_value": 0.004,
    "p_attributes": 0.01,
    "p_welch": None,
    "p_verdict": 0.01,
    "p_adjusted": 0.02,
    "p_method": "exact",
    "ci_low": 0.4,
    "ci_high": 1.3,
    "shift_ci_low": 0.5,
    "shift_ci_high": 1.6,
    "flipped": True,
}
MEASURED: dict[str, object] = dict(
    **dict.fromkeys(("n_x", "n_y", "n_a", "n_b"), 8),
    **dict.fromkeys(("effect_size", "effect_judged"), 1.0),
    **dict.fromkeys(("p_value", "p_low", "p_high", "p_verdict"), 0.001),
    **dict.fromkeys(("p_method", "p_verdict_method"), "exact"),
    effect_size_attributes=1.25,
    gap=0.031,
    ci_low=0.2,
    ci_high=1.5,
    p_attributes=0.0005,
    p_adjusted=0.002,
    family_size=2,
)
DECLARED: dict[str, object] = {
    "line": 9,
    "spec": "bias_specs/x.bias.yaml",
    "spec_digest": "0" * 64,
    "kind": "ieat",
    "pooling": "mean",
    "control": None,
    "tags": [],
    "concepts": {},
    "alpha": 0.05,
    "alternative": "two-sided",
    "sides": "both",
    "evidence": "significant",
    "correction": "holm",
    "limits": {"max_effect": 0.5},
    "reasons": ["a reason"],
}


@pytest.fixture
def make() -> Callable[..., ResultRecord]:
    """Make a record; `measured=False` leaves the numbers out, other keys replace."""

    def one(
        test: str = "gender-career",
        *,
        outcome: str = "fail",
        measured: bool = True,
        model: str = "after",
        layer: str = "pooled",
        **keys: object,
    ) -> ResultRecord:
        has_growth = measured and model == "after"
        where = {"test": test, "model": model, "layer": layer, "outcome": outcome}
        return ResultRecord.model_validate(
            {
                **DECLARED,
                "nodeid": f"bias_specs/x.bias.yaml::{model}::{test}[{layer}]",
                "role": "gated" if model == "after" else "reference",
                **(MEASURED if measured else {}),
                "growth": GROWTH if has_growth else None,
                **where,
                **keys,
            }
        )

    return one
