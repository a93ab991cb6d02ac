"""A record of a result, as the pipeline makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.results import ModelRecord, Report, ResultRecord

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

MODEL: dict[str, object] = {
    "source": "timm",
    "role": "gated",
    "trials": [{"label": "a.safetensors", "fingerprint": "f" * 64}],
    "preprocessing": {"input_size": [3, 32, 32]},
    "precision": "fp32",
    "description": {"parameters": 3},
}
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b\\|c | d",
    "``` `code` ```",
    "first\n\n# second\r\n| x |",
    "::error file=x::pwned",
    "x%0A::error::pwned",
    "\u202eevil\u2066 \u200ftxt.exe",
    "a-very-long-name-" * 18,
    "nul\x00bell\x07esc\x1b[31mred\x9b31m",
    '=HYPERLINK("http://evil.example")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "-2+3",
    "@somebody fixes #1, see https://evil.example and www.evil.example",
    "[link](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "<!-- pytest-visualbias:end -->",
    "---\nlicense: evil\n---",
    '\'quoted, "twice"',
    "*bold* _it_ ~~gone~~ $x$ \\n",
    "{{ 7 * 7 }}{% raw %}",
    "Ünïcode → 花 👩‍🔬",
)


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


@pytest.fixture
def make_report(make: Callable[..., ResultRecord]) -> Callable[..., Report]:
    """Make a report of records, by default of one that fails; other keys replace."""

    def one(*results: ResultRecord, **keys: object) -> Report:
        rows = results or (make(),)
        pairs = dict.fromkeys((row.spec, row.model) for row in rows)
        models = [ModelRecord.model_validate({**MODEL, "spec": s, "model": m}) for s, m in pairs]
        whole = {
            "tool": {"name": "pytest-visualbias", "version": "0"},
            "environment": {"python": "3", "git": {"commit": "c0ffee", "dirty": False}},
            "models": models,
            "results": list(rows),
            "summary": {"exit_status": 1, "deselected": 0, "collection_errors": []},
        }
        return Report.model_validate({**whole, **keys})

    return one


@pytest.fixture
def make_measured(make: Callable[..., ResultRecord]) -> Callable[..., ResultRecord]:
    """Make a record with sets and scores, which can be compared."""

    def one(*arguments: str, digest: str = "d", **keys: object) -> ResultRecord:
        sets = {
            role: {
                "concept": f"set {role}",
                "n": 1,
                "digest": digest,
                "images": [f"{digest}{role}"],
                "names": [f"{role}.png"],
            }
            for role in "XYAB"
        }
        scores = {role: {f"{digest}{role}": 0.5} for role in "XYAB"}
        concepts = {role: f"set {role}" for role in "XYAB"}
        filled = {"sets": sets, "scores": scores, "concepts": concepts, "module": "m"}
        return make(*arguments, **{**filled, **keys})

    return one


@pytest.fixture(params=HOSTILE, ids=lambda text: repr(text)[1:20])
def hostile(request: pytest.FixtureRequest) -> str:
    """A name that would do harm in some format."""
    return str(request.param)
