"""All numbers of one result, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.reports.html.details import details
from pytest_visualbias.reports.html.glossary import GLOSSARY
from tests.reports.conftest import GROWTH
from tests.reports.html.samples import record

if TYPE_CHECKING:
    from pytest_visualbias.results import ResultRecord


def facts(one: ResultRecord) -> dict[str, dict[str, str]]:
    return {group.title: {fact.name: fact.value for fact in group.facts} for group in details(one)}


def test_a_result_whole() -> None:
    one = record(
        module="layer4",
        tags=["gender"],
        labels={"depth": "20"},
        gap_ci_low=0.0111,
        gap_ci_high=0.0509,
        p_crossed=0.0009,
        x_ab=0.02,
        y_ab=-0.011,
        p_welch=0.0123,
        p_verdict_low=0.0009,
        p_verdict_high=0.001,
        p_saddlepoint=0.002,
        detectable=0.96,
        accept={"max_effect": 1.5, "reason": "known", "until": "2099-01-01"},
        excess={**GROWTH, "base": "untrained", "p_adjusted": None, "untrained": [-0.4, 0.6]},
        trials={"labels": ["a", "b"], "effect_size": [1, 2], "effect_judged": [0.5, -1.5]},
    )
    assert facts(one) == {
        "Effect": {
            "judged": "+1.00",
            "95% interval": "+0.20 to +1.50",
            "targets, attributes": "+1.00, +1.25",
            "gap": "+0.0310 = +0.0200 of X less -0.0110 of Y",
            "95% interval of the gap": "+0.0111 to +0.0509",
            "smallest detectable effect": "0.96",
        },
        "Evidence": {
            "p, targets": "0.001 (exact)",
            "p, attributes": "5.0e-04",
            "p, Welch's t": "0.012",
            "p, crossed t": "9.0e-04",
            "p, verdict": "0.001 (exact)",
            "p, saddle point": "0.002",
            "p adjusted": "0.002 (holm, 2 p)",
        },
        "Growth since before": {
            "effect": "sign changed: -0.10 -> +1.00",
            "growth": "+0.90 (+0.40 to +1.30)",
            "shift": "+1.10 (+0.50 to +1.60)",
            "p": "0.004 targets, 0.01 attributes",
            "p, verdict": "0.01 (exact)",
            "p adjusted": "0.02",
        },
        "Excess over untrained": {
            "effect": "sign changed: -0.10 -> +1.00",
            "excess": "+0.90 (+0.40 to +1.30)",
            "shift": "+1.10 (+0.50 to +1.60)",
            "untrained": "2 seeds from -0.40 to +0.60",
            "p": "0.004 targets, 0.01 attributes",
            "p, verdict": "0.01 (exact)",
        },
        "Judged by": {
            "limits": "max_effect 0.5",
            "waiver": "accepted up to effect 1.5 until 2099-01-01: known",
            "evidence": "significant, alpha 0.05",
            "asked": "two-sided, sides both, holm",
            "model is": "gated",
        },
        "Trials": {"effects": "2, -1.50 to +0.50", "largest": "-1.50: b"},
        "Where": {
            "spec": "bias_specs/x.bias.yaml:9",
            "read from": "layer4 (mean), ieat",
            "tags": "gender",
            "labels": "depth 20",
        },
    }


def test_what_was_not_measured_has_no_numbers() -> None:
    empty: dict[str, Any] = dict.fromkeys(
        ("effect_judged", "effect_size", "p_value", "gap", "growth")
    )
    assert list(facts(record(outcome="error", **empty))) == ["Judged by", "Where"]


def test_a_similarity_within_a_set_has_no_p_and_one_side() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("p_value", "p_verdict", "p_adjusted", "gap", "sides"))
    change = {**GROWTH, **dict.fromkeys(("p_value", "p_verdict", "p_adjusted"))}
    found = facts(record(kind="intra-similarity", growth=change, **nothing))
    assert set(found["Effect"]) == {"judged", "95% interval"}
    assert "Evidence" not in found
    assert set(found["Growth since before"]) == {"effect", "growth", "shift"}


def test_of_an_sc_eat_the_attributes_are_permuted() -> None:
    found = facts(record(kind="sc-eat", sides=None, p_attributes=None))
    assert "p, attributes" in found["Evidence"]
    assert "p, targets" not in found["Evidence"]


@pytest.mark.parametrize("kind", ["ieat", "sc-eat", "similarity-gap", "intra-similarity"])
def test_every_number_that_refers_to_the_glossary_is_explained_there(kind: str) -> None:
    one = record(kind=kind, excess={**GROWTH, "base": "untrained"}, gap_ci_low=0.0, gap_ci_high=1.0)
    terms = {fact.term for group in details(one) for fact in group.facts if fact.term}
    assert len(terms) >= 6
    assert terms <= GLOSSARY.keys()
