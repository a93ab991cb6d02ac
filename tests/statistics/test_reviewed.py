"""Cases that a review by fresh eyes found wanting: nothing may crash, and every bracket holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics import (
    Scores,
    adjust,
    association_from_scores,
    association_scores,
    association_test,
    influence_from_scores,
    intra_similarity,
)
from pytest_visualbias.statistics.bracketing import bracket
from pytest_visualbias.statistics.counting import count
from pytest_visualbias.statistics.permutation import permutation_test
from pytest_visualbias.statistics.side import Side
from pytest_visualbias.statistics.tail import tails_of

NAMES = ("X", "Y")


@pytest.mark.parametrize("alternative", ["less", "greater"])
@pytest.mark.parametrize("n", [40, 100])
def test_an_effect_that_points_the_other_way_has_a_p_near_one(n: int, alternative: str) -> None:
    """As where a positive control is inverted."""
    random = np.random.default_rng(0)
    X, Y, A, B = random.standard_normal((4, n, 16))
    sign = 1 if alternative == "less" else -1
    for rows, side in ((X, sign), (A, 1), (Y, -sign), (B, -1)):
        rows[:, 0] += side
    found = association_test(X, Y, A, B, alternative=alternative)  # type: ignore[arg-type]
    assert 0.999 < found.p_low <= found.p_value <= 1.0
    assert found.p_verdict <= 1.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alternative", ["less", "greater"])
def test_the_bracket_of_a_large_p_holds_the_counted_one(seed: int, alternative: str) -> None:
    """Where most relabellings are as extreme, what is left out is bracketed instead."""
    random = np.random.default_rng(seed)
    shift = -0.4 if alternative == "greater" else 0.4
    side = Side.of(random.normal(size=9) + shift, random.normal(size=11), NAMES)
    (tail,) = tails_of(side, alternative)  # type: ignore[arg-type]
    truth = count(tail) / math.comb(20, 9)
    found = bracket((tail,))
    assert found is not None
    low, high = found
    assert low <= truth <= high <= 1.0
    assert high - low <= max(0.01 * high, 1e-4)
    if tail.threshold < 0:
        decided = bracket((tail,), decide_at=truth + 0.3 * (high - truth))
        assert decided is not None
        assert decided[0] <= truth <= decided[1]


def test_a_complete_count_of_repeated_scores_is_no_more_than_one() -> None:
    for seed in range(12):
        random = np.random.default_rng(seed)
        scores = np.sort(random.integers(0, 2 + seed % 3, 200).astype(float))
        side = Side.of(scores[100:], scores[:100], NAMES)
        found = permutation_test(side, alternative="less")
        assert found.p_value <= 1.0
        assert adjust([found.p_value], "holm") == (found.p_value,)


@pytest.mark.parametrize("sizes", [(30, 30), (60, 10), (22, 24)])
def test_scores_on_a_lattice_are_bracketed(sizes: tuple[int, int]) -> None:
    """Their rounding errors on a grid can be all equal."""
    random = np.random.default_rng(0)
    n, m = sizes
    for _ in range(6):
        whole = random.integers(0, 1500, n + m).astype(float)
        scores = Scores(
            x=whole[:n], y=whole[n:], a=np.array([1.0, 2, 3]), b=np.array([0.0, 1, 5]), gap=1.0
        )
        found = association_from_scores(scores)
        assert 0 < found.p_low <= found.p_value <= 1.0


def test_the_similarity_of_identical_images_is_one_and_inside_its_interval() -> None:
    for seed in range(20):
        row = np.random.default_rng(seed).normal(size=7)
        found = intra_similarity(np.tile(row, (5, 1)))
        assert found.ci_low <= found.effect_size <= found.ci_high <= 1.0


def test_sides_that_do_not_exist_are_refused() -> None:
    X, Y, A, B = np.random.default_rng(0).normal(size=(4, 5, 6))
    with pytest.raises(ValueError, match="sides"):
        association_scores(X, Y, A, B, sides="target")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sides"):
        influence_from_scores(association_scores(X, Y, A, B), sides="target")  # type: ignore[arg-type]


def test_scores_that_are_no_numbers_or_of_another_shape_are_refused() -> None:
    one = np.array([1.0, 2, 4])
    with pytest.raises(DegenerateTestError, match="gap of the scores"):
        Scores(x=one, y=one, a=one, b=one, gap=float("nan"))
    for cosines in (np.full((6, 6), np.nan), np.zeros((6, 5))):
        with pytest.raises(
            DegenerateTestError, match=r"cosines must be finite and of shape \(6, 6\)"
        ):
            Scores(x=one, y=one, a=one, b=one, gap=0.1, cosines=(cosines,))


def test_cosines_cannot_be_changed_from_outside() -> None:
    outside = np.zeros((6, 6))
    one = np.array([1.0, 2, 4])
    scores = Scores(x=one, y=one, a=one, b=one, gap=0.1, cosines=(outside[:],))
    outside[0] = 5
    assert not scores.cosines[0].any()
    assert not scores.cosines[0].flags.writeable
