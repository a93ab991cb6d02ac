"""Exact permutation of scores of -1, 0 and 1, beside scipy and every relabelling."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics.permutation.exact import (
    is_countable_by_value,
    permutation_test_by_value,
)
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative

ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")
SCORES = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=6)


def side_of(first: ArrayLike, second: ArrayLike) -> Side:
    return Side.of(np.array(first, float), np.array(second, float), ("X", "Y"))


def table(hits: int, n: int) -> list[float]:
    return [1.0] * hits + [0.0] * (n - hits)


def every_relabelling(first: Sequence[float], second: Sequence[float]) -> NDArray[np.float64]:
    """Differences of the means of all splits, the observed one first."""
    pooled = np.array([*first, *second])
    n, total = len(first), len(pooled)
    sums = [pooled[list(split)].sum() for split in itertools.combinations(range(total), n)]
    return np.array([s / n - (pooled.sum() - s) / (total - n) for s in sums])


@pytest.mark.property
@pytest.mark.parametrize("alternative", ALTERNATIVES)
@given(first=SCORES, second=SCORES)
def test_it_is_the_share_of_all_relabellings(
    alternative: Alternative, first: list[float], second: list[float]
) -> None:
    found = permutation_test_by_value(side_of(first, second), alternative=alternative)
    null = every_relabelling(first, second)
    extreme = {
        "two-sided": np.abs(null) >= abs(null[0]) - 1e-12,
        "greater": null >= null[0] - 1e-12,
        "less": null <= null[0] + 1e-12,
    }[alternative]
    assert found.p_value == pytest.approx(extreme.mean(), rel=1e-12)
    assert (found.p_low, found.p_high, found.method) == (found.p_value, found.p_value, "exact")


@pytest.mark.parametrize("alternative", ["greater", "less"])
@pytest.mark.parametrize(
    "counts", [(0, 8, 0, 9), (3, 8, 1, 30), (40, 90, 12, 85), (700, 2000, 900, 3000)]
)
def test_of_zeros_and_ones_one_sided_it_is_fishers_exact_test(
    alternative: Alternative, counts: tuple[int, int, int, int]
) -> None:
    a, n, b, m = counts
    found = permutation_test_by_value(side_of(table(a, n), table(b, m)), alternative=alternative)
    fisher = stats.fisher_exact([[a, n - a], [b, m - b]], alternative=alternative)
    assert found.p_value == pytest.approx(fisher.pvalue, rel=1e-9)


@pytest.mark.parametrize("counts", [(0, 9), (5, 1), (30, 12), (17, 17)])
def test_of_equal_sizes_it_is_fishers_two_sided_too(counts: tuple[int, int]) -> None:
    n = 40
    found = permutation_test_by_value(side_of(table(counts[0], n), table(counts[1], n)))
    fisher = stats.fisher_exact([[counts[0], n - counts[0]], [counts[1], n - counts[1]]])
    assert found.p_value == pytest.approx(fisher.pvalue, rel=1e-9)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_it_agrees_with_the_count_that_any_scores_get(alternative: Alternative) -> None:
    rng = np.random.default_rng(4)
    side = side_of(rng.integers(-1, 2, 15).astype(float), rng.integers(-1, 2, 21).astype(float))
    general = permutation_test(side, alternative=alternative)
    assert general.method == "exact"
    own = permutation_test_by_value(side, alternative=alternative)
    assert own.p_value == pytest.approx(general.p_value, rel=1e-10)


def test_equal_rates_are_certain_to_be_chance() -> None:
    """No rounding is left of a p of 1, whatever the sizes."""
    assert permutation_test_by_value(side_of(table(30, 60), table(50, 100))).p_value == 1.0
    assert permutation_test_by_value(side_of(table(0, 60), table(0, 100))).p_value == 1.0


def test_exchanging_the_sets_exchanges_the_one_sided_p() -> None:
    first, second = [1.0, 1.0, 0.0, -1.0, 1.0], [0.0, -1.0, 0.0, 0.0]
    one = permutation_test_by_value(side_of(first, second), alternative="greater")
    other = permutation_test_by_value(side_of(second, first), alternative="less")
    assert one.p_value == pytest.approx(other.p_value, rel=1e-12)


def test_sets_of_many_thousands_are_still_exact() -> None:
    a, n, b, m = 6000, 20_000, 8000, 30_000
    found = permutation_test_by_value(side_of(table(a, n), table(b, m)), alternative="greater")
    assert found.method == "exact"
    assert found.p_value == pytest.approx(stats.hypergeom.sf(a - 1, n + m, a + b, n), rel=1e-6)


def test_other_scores_are_not_for_it() -> None:
    assert is_countable_by_value(side_of([1, 0, -1], [0, 0]))
    assert not is_countable_by_value(side_of([1, 0.5], [0, 0]))


def test_an_alternative_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="alternative is"):
        permutation_test_by_value(side_of([1, 0], [0, 0]), alternative="both")  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "m"), [(3, 3), (8, 8), (4, 7)])
def test_p_is_the_nearest_float_to_a_whole_number_of_relabellings(n: int, m: int) -> None:
    """Of 3 against 3, one in 20 is 0.05: a little more would not be significant at that alpha."""
    total = n + m
    for ones in range(1, total):
        for hits in range(max(0, ones - m), min(ones, n) + 1):
            found = permutation_test_by_value(
                side_of(table(hits, n), table(ones - hits, m)), alternative="greater"
            )
            ways = sum(
                math.comb(ones, up) * math.comb(total - ones, n - up)
                for up in range(hits, min(ones, n) + 1)
            )
            assert found.p_value == float(Fraction(ways, math.comb(total, n)))
