"""Similarity within one set."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics import intra_from_scores, intra_scores, intra_similarity

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
