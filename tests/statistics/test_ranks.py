"""Rank correlation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics.multiple_testing import spearman

numbers = st.lists(
    st.tuples(st.integers(-3, 3), st.floats(-1e6, 1e6, allow_subnormal=False)),
    min_size=2,
    max_size=30,
)


@pytest.mark.property
@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
@given(numbers)
def test_it_is_scipys_ties_and_all(pairs: list[tuple[int, float]]) -> None:
    """Small whole numbers are tied often; where all are, there is no correlation."""
    first, second = zip(*pairs, strict=True)
    expected = stats.spearmanr(first, second).statistic
    got = spearman(first, second)
    assert got == (pytest.approx(expected, abs=1e-12) if np.isfinite(expected) else None)


@pytest.mark.parametrize("n", [5, 16, 333])
def test_the_same_order_is_exactly_one_and_the_reverse_minus_one(n: int) -> None:
    values = np.random.default_rng(n).standard_normal(n)
    assert spearman(values, np.exp(values)) == 1
    assert spearman(values, -values) == -1


def test_it_is_the_textbook_formula_where_nothing_is_tied() -> None:
    """1 - 6 sum d^2 / (k (k^2 - 1)), by hand: d = 1, 1, 0, 1, 1 gives 1 - 24 / 120."""
    assert spearman([1, 2, 3, 4, 5], [20, 10, 30, 50, 40]) == pytest.approx(0.8)


def test_equal_numbers_have_no_order() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1], [2]) is None


def test_what_cannot_be_paired_or_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs are needed"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="cannot be ranked"):
        spearman([1, np.nan], [1, 2])
