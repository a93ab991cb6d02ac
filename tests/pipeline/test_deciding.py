"""Verdicts that hang on a bracket are decided by refining it, and fail where that does not help."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.pipeline import deciding
from pytest_visualbias.pipeline.deciding import decide
from pytest_visualbias.pipeline.numbers import Numbers
from pytest_visualbias.pipeline.remembered import Remembered
from pytest_visualbias.spec.parsing import parse_spec
from pytest_visualbias.statistics import (
    Evidence,
    association_from_scores,
    association_scores,
    contrast_from_scores,
    growth_from_scores,
    similarity_gap_scores,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.statistics import AssociationResult, Scores

N = 40
MEMBERS = [("one", "effect"), ("gone", "effect")]
SPEC = """visualbias: 1
models: {{after: {{source: embeddings, path: after.npz}}}}
concepts: {{x: x, y: y, a: a, b: b}}
settings: {{alpha: {alpha!r}, correction: {correction}}}
tests:
  - name: one
    kind: ieat
    targets: {{X: x, Y: y}}
    attributes: {{A: a, B: b}}
    limits: {{max_effect: 0}}
  - name: gone
    kind: ieat
    targets: {{X: x, Y: y}}
    attributes: {{A: a, B: b}}
    limits: {{max_effect: 0}}
"""


@pytest.fixture(scope="module")
def scores() -> Scores:
    """Scores of sets too large to count, with some effect."""
    random = np.random.default_rng(7)
    x, y, a, b = (random.normal(size=(N, 8)) + shift for shift in (0.2, 0.0, 0.2, 0.0))
    return association_scores(x, y, a, b)


@pytest.fixture(scope="module")
def effect(scores: Scores) -> AssociationResult:
    """Their effect, its p no finer than it has to be."""
    found = association_from_scores(scores)
    assert found.p_verdict_method == "bounded"
    assert found.p_verdict_low < found.p_verdict_high
    return found


def spec(tmp_path: Path, alpha: float, correction: str) -> BiasSpec:
    text = SPEC.format(alpha=alpha, correction=correction)
    return parse_spec(text, file="x.bias.yaml", folder=tmp_path).spec


def numbers(scores: Scores, effect: AssociationResult) -> dict[str, Numbers]:
    """Return a family of one measured test and one that could not be."""
    return {
        "one": Numbers(sets={}, scores=scores, effect=effect),
        "gone": Numbers(sets={}, problem="no images"),
    }


@pytest.mark.parametrize(("correction", "factor"), [("none", 1), ("holm", 2), ("bh", 2)])
def test_a_bracket_that_holds_the_level_is_refined_until_it_does_not(
    tmp_path: Path, scores: Scores, effect: AssociationResult, correction: str, factor: int
) -> None:
    """The level that decides the smaller of two p is alpha over two; the test that erred counts."""
    low, high = effect.p_verdict_low, effect.p_verdict_high
    # Inside the bracket, but not next to its middle, where the true p is likely to lie.
    alpha = factor * (low + 0.1 * (high - low))
    found = decide(
        spec(tmp_path, alpha, correction), numbers(scores, effect), MEMBERS, Remembered(None)
    )
    refined = found.numbers["one"].effect
    assert isinstance(refined, Evidence)
    low, high = (factor * p for p in (refined.p_verdict_low, refined.p_verdict_high))
    assert not low <= alpha < high
    corrected = found.corrected["one", "effect"]
    assert not corrected.is_open
    assert corrected.p == pytest.approx(high)
    assert found.corrected["gone", "effect"].p == 1.0


@pytest.mark.parametrize("what", ["effect", "growth"])
def test_so_is_that_of_a_kind_with_one_side(tmp_path: Path, what: str) -> None:
    random = np.random.default_rng(8)
    before, after = (
        similarity_gap_scores(*(random.normal(size=(N, 8)) + shift for shift in (0.2, push, 0.0)))
        for push in (0.0, 0.15)
    )
    found = Numbers(
        sets={},
        scores=after,
        before=before,
        effect=contrast_from_scores(after),
        growth=growth_from_scores(before, after),
    )
    rough = found.effect if what == "effect" else found.growth
    assert isinstance(rough, Evidence)
    assert rough.p_verdict_method == "bounded"
    alpha = rough.p_verdict_low + 0.1 * (rough.p_verdict_high - rough.p_verdict_low)
    text = SPEC.format(alpha=alpha, correction="none").replace("kind: ieat", "kind: similarity-gap")
    gap = parse_spec(
        text.replace("{A: a, B: b}", "{A: a}"), file="x.bias.yaml", folder=tmp_path
    ).spec
    decided = decide(gap, {"one": found}, [("one", what)], Remembered(None))
    refined = decided.numbers["one"].effect if what == "effect" else decided.numbers["one"].growth
    assert isinstance(refined, Evidence)
    assert not refined.p_verdict_low <= alpha < refined.p_verdict_high
    assert decided.corrected["one", what].p == refined.p_verdict


def test_where_no_verdict_hangs_on_it_nothing_is_computed_again(
    tmp_path: Path, scores: Scores, effect: AssociationResult
) -> None:
    found = decide(
        spec(tmp_path, 0.0001, "holm"), numbers(scores, effect), MEMBERS, Remembered(None)
    )
    assert found.numbers["one"].effect is effect


def test_what_cannot_be_decided_counts_as_significant(
    tmp_path: Path, scores: Scores, effect: AssociationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate fails closed: the lower end of the bracket decides, and says that it does."""
    stubborn = SimpleNamespace(test=lambda *_: effect)
    monkeypatch.setattr(deciding, "remembering", lambda *_: stubborn)
    alpha = (effect.p_verdict_low + effect.p_verdict_high) / 2
    found = decide(
        spec(tmp_path, alpha, "none"), numbers(scores, effect), MEMBERS, Remembered(None)
    )
    corrected = found.corrected["one", "effect"]
    assert corrected.is_open
    assert corrected.p == effect.p_verdict_low <= alpha
