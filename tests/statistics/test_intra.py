"""Similarity within one set."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.intra_similarity import (
    intra_from_scores,
    intra_growth_from_scores,
    intra_scores,
    intra_similarity,
    mean_intra_scores,
)

RNG = np.random.default_rng(21)


def brute_force(X: np.ndarray) -> float:
    """Mean cosine over all pairs of different rows."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    pairs = unit @ unit.T
    return float(pairs[~np.eye(len(X), dtype=bool)].mean())


def test_it_is_the_mean_over_pairs_with_a_jackknife_interval() -> None:
    X = RNG.standard_normal((7, 5)) + 1
    got = intra_similarity(X)
    assert got.effect_size == got.effect_judged == pytest.approx(brute_force(X))
    left = np.array([brute_force(np.delete(X, row, axis=0)) for row in range(7)])
    error = np.sqrt(6 / 7 * np.sum((left - left.mean()) ** 2))
    # The 97.5 % quantile of t with six degrees of freedom.
    assert got.ci_high - got.effect_size == pytest.approx(2.446912 * error, rel=1e-6)
    assert got.n_x == 7


def test_random_halves_have_it_as_their_mean() -> None:
    """The published way: mean cosine between the two halves of a shuffled set, over and over."""
    X = RNG.standard_normal((9, 4)) + 0.5
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    halves = []
    for _ in range(4000):
        order = RNG.permutation(9)
        halves.append((unit[order[:4]] @ unit[order[4:]].T).mean())
    assert intra_similarity(X).effect_size == pytest.approx(np.mean(halves), abs=0.01)


def test_repeated_images_are_wholly_alike() -> None:
    got = intra_similarity(np.tile([3.0, 4.0], (4, 1)))
    assert (got.effect_size, got.ci_low, got.ci_high) == pytest.approx((1, 1, 1))
    assert got.ci_high <= 1


def test_scores_are_each_images_similarity_to_the_others() -> None:
    X = RNG.standard_normal((5, 3))
    assert intra_from_scores(intra_scores(X)) == intra_similarity(X)
    assert not intra_scores(X).flags.writeable


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_images_are_refused(n: int) -> None:
    with pytest.raises(DegenerateTestError, match="at least three are needed"):
        intra_similarity(np.eye(n, 3))


def test_averaged_trials_have_the_mean_of_their_similarities() -> None:
    trials = [RNG.standard_normal((6, 4)) + 0.5 for _ in range(3)]
    averaged = mean_intra_scores([intra_scores(trial) for trial in trials])
    assert intra_from_scores(averaged).effect_size == pytest.approx(
        np.mean([brute_force(trial) for trial in trials])
    )
    assert not averaged.flags.writeable


def test_trials_of_other_sizes_are_refused() -> None:
    with pytest.raises(DegenerateTestError, match="X has 6 images in the first trial and 5"):
        mean_intra_scores([np.ones(6), np.ones(5)])
    with pytest.raises(ValueError, match="at least one trial"):
        mean_intra_scores([])


class TestGrowth:
    def test_it_leaves_each_image_out_of_both_models_at_once(self) -> None:
        before = RNG.standard_normal((7, 5)) + 1
        after = before + RNG.standard_normal((7, 5)) / 3
        got = intra_growth_from_scores(intra_scores(before), intra_scores(after))
        ends = brute_force(before), brute_force(after)
        assert (got.before, got.after) == pytest.approx(ends)
        assert got.shift == got.growth == pytest.approx(ends[1] - ends[0])
        left = np.array(
            [
                brute_force(np.delete(after, row, axis=0))
                - brute_force(np.delete(before, row, axis=0))
                for row in range(7)
            ]
        )
        error = np.sqrt(6 / 7 * np.sum((left - left.mean()) ** 2))
        # The 97.5 % quantile of t with six degrees of freedom.
        assert got.shift_ci_high - got.shift == pytest.approx(2.446912 * error, rel=1e-6)
        assert got.shift - got.shift_ci_low == pytest.approx(2.446912 * error, rel=1e-6)
        assert (got.ci_low, got.ci_high) == (got.shift_ci_low, got.shift_ci_high)
        assert not got.flipped

    def test_growth_is_of_the_absolute_similarity_and_shift_is_not(self) -> None:
        """A set whose images pointed apart, and now point the same way about as much."""
        before = np.full(5, -0.2) + np.linspace(-0.02, 0.02, 5)
        after = np.full(5, 0.3) - np.linspace(-0.02, 0.02, 5)
        got = intra_growth_from_scores(before, after)
        assert (got.shift, got.growth) == pytest.approx((0.5, 0.1))
        assert got.flipped
        # The two absolute values rise and fall together here, the two values against each other.
        assert got.ci_high - got.ci_low < 0.1 * (got.shift_ci_high - got.shift_ci_low)

    def test_what_both_models_share_of_an_image_cancels(self) -> None:
        each = RNG.standard_normal(9) / 10 + 0.5
        got = intra_growth_from_scores(each, each + 0.1)
        assert (got.shift_ci_low, got.shift_ci_high) == pytest.approx((0.1, 0.1))

    @pytest.mark.parametrize("rounding", [0.0, 9e-7])
    def test_a_model_against_itself_has_not_changed(self, rounding: float) -> None:
        scores = intra_scores(RNG.standard_normal((5, 3)))
        got = intra_growth_from_scores(scores, scores + rounding)
        assert (got.growth, got.shift) == (0, 0)
        assert (got.ci_low, got.ci_high, got.shift_ci_low, got.shift_ci_high) == (0, 0, 0, 0)

    def test_other_numbers_of_images_are_refused(self) -> None:
        with pytest.raises(DegenerateTestError, match="X has 5 images in before and 6 in after"):
            intra_growth_from_scores(np.ones(5), np.ones(6))
        with pytest.raises(DegenerateTestError, match="at least three are needed"):
            intra_growth_from_scores(np.ones(2), np.ones(2))
