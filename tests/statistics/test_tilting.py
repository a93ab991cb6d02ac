"""Exponential moments over subsets, Chernoff's bound and the saddlepoint guess."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_visualbias.statistics.permutation.exact import count_tail_subsets
from pytest_visualbias.statistics.permutation.saddlepoint import (
    log_mean_exp,
    saddlepoint_probability,
    tilt_for_tail,
)
from pytest_visualbias.statistics.permutation.sides import Side, tails_of


@pytest.mark.property
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9), st.data())
@settings(deadline=None)
def test_the_moment_is_the_mean_over_all_subsets(
    exponents: list[float], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(exponents) - 1))
    sums = [math.fsum(subset) for subset in combinations(exponents, size)]
    expected = np.logaddexp.reduce(sums) - math.log(len(sums))
    assert log_mean_exp(np.array(exponents), size) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(8, 8), (6, 14), (20, 20)])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.5, 1.0, 2.0, 9.0])
def test_chernoff_is_an_upper_bound_and_the_saddlepoint_is_near(
    n: int, m: int, shift: float
) -> None:
    rng = np.random.default_rng([n, m])
    side = Side.of(rng.standard_normal(n) + shift, rng.standard_normal(m), ("X", "Y"))
    (tail,) = tails_of(side, "greater")
    p = count_tail_subsets(tail) / math.comb(n + m, n)
    assert p <= math.exp(tilt_for_tail(tail).log_chernoff) * (1 + 1e-9)
    subsets = math.comb(n + m, n)
    # A count_tail_subsets cannot be guessed to less than about one.
    assert saddlepoint_probability(tail) == pytest.approx(p, rel=0.05, abs=2 / subsets)


def test_the_threshold_is_the_expected_sum_under_the_tilt() -> None:
    rng = np.random.default_rng(1)
    side = Side.of(rng.standard_normal(30) + 0.7, rng.standard_normal(40), ("X", "Y"))
    (tail,) = tails_of(side, "greater")
    tilt = tilt_for_tail(tail)
    assert tilt.shares.sum() == pytest.approx(30)
    assert tilt.shares @ tail.scores == pytest.approx(tail.threshold)
