"""The closed forms are what Ranjit et al. (2023) estimate by drawing images at random.

Their sampling is written here as their text describes it; it adds noise and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.statistics.association import association_test, similarity_gap_test
from pytest_visualbias.statistics.intra_similarity import intra_similarity

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

FEWEST = 5  # of the images that they draw


def unit(n: int, seed: int, push: float) -> Matrix:
    rows = np.random.default_rng(seed).standard_normal((n, 12))
    rows[:, 0] += push
    result: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def similarity(first: Matrix, second: Matrix) -> float:
    return float((first @ second.T).mean())


def halves(rows: Matrix, rng: np.random.Generator) -> float:
    """Similarity of the two halves of a shuffled set."""
    shuffled, half = rng.permutation(rows), len(rows) // 2
    return similarity(shuffled[:half], shuffled[half:])


def between(first: Matrix, second: Matrix, rng: np.random.Generator) -> float:
    """Similarity of some images of each set; never of all, as the bound is exclusive."""
    drawn = [
        rng.choice(rows, rng.integers(FEWEST, len(rows)), replace=False) for rows in (first, second)
    ]
    return similarity(*drawn)


def sampled(draw: Callable[[], float], draws: int = 4000) -> tuple[float, float]:
    """Mean of many draws and its standard error."""
    values = [draw() for _ in range(draws)]
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(draws))


@pytest.mark.parametrize("n", [6, 7, 20])
def test_intra_similarity_is_the_mean_of_random_halves(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = unit(n, n, 1.5)
    estimate, error = sampled(lambda: halves(rows, rng))
    exact = intra_similarity(rows).effect_size
    assert error < abs(exact) / 50, "noise must not hide a difference"
    assert exact == pytest.approx(estimate, abs=4 * error)


@pytest.mark.parametrize(("n_x", "n_y", "n_o"), [(8, 8, 8), (30, 6, 12)])
def test_the_similarity_gap_is_the_mean_of_random_subsets(n_x: int, n_y: int, n_o: int) -> None:
    rng = np.random.default_rng(n_x)
    X, Y, O = unit(n_x, 1, 2.0), unit(n_y, 2, 0.5), unit(n_o, 3, 2.0)  # noqa: E741
    estimate, error = sampled(lambda: between(O, X, rng) - between(O, Y, rng))
    exact = similarity_gap_test(O, X, Y).gap
    assert error < abs(exact) / 50, "noise must not hide a difference"
    assert exact == pytest.approx(estimate, abs=4 * error)


def test_the_gap_of_an_association_is_a_difference_of_two_similarity_gaps() -> None:
    X, Y, A, B = (unit(n, n, push) for n, push in ((9, 1.0), (7, 0.0), (11, 2.0), (5, -1.0)))
    gaps = [similarity_gap_test(O, X, Y).gap for O in (A, B)]  # noqa: E741
    assert association_test(X, Y, A, B).gap == pytest.approx(gaps[0] - gaps[1])
