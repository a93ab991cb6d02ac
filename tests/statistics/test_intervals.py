"""The interval of an effect and the distribution it inverts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics import largest_effect
from pytest_visualbias.statistics.intervals import effect_interval, noncentral_t_cdf


class TestNoncentralT:
    @pytest.mark.parametrize("freedom", [1, 2, 4, 18, 78, 2000])
    @pytest.mark.parametrize("t", [1e-3, 0.1, 1.0, 3.0, 30.0])
    def test_it_equals_scipy_where_scipy_is_good(self, t: float, freedom: int) -> None:
        for noncentrality in (-5, -1, 0, 0.5, 2, t / 2, t, 1.2 * t):
            expected = float(stats.nct.cdf(t, freedom, noncentrality))
            assert noncentral_t_cdf(t, freedom, noncentrality) == pytest.approx(expected, abs=1e-10)

    @pytest.mark.parametrize(("t", "noncentrality"), [(1e4, 5e3), (1e8, 1e8), (1e12, 1e12)])
    def test_it_keeps_its_digits_for_large_arguments(self, t: float, noncentrality: float) -> None:
        """With two degrees of freedom, V / 2 is exponential and the mean has a closed form."""
        shrunk = 1 + 2 / t**2
        closed = math.exp(-((noncentrality / t) ** 2) / shrunk) / math.sqrt(shrunk)
        assert noncentral_t_cdf(t, 2, noncentrality) == pytest.approx(closed, rel=1e-11)


class TestEffectInterval:
    @pytest.mark.parametrize(("n", "m"), [(2, 2), (6, 6), (20, 20), (8, 40), (40, 8), (300, 300)])
    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
    def test_its_ends_put_t_at_the_two_tails(self, n: int, m: int, share: float) -> None:
        d = share * largest_effect(n, m)
        low, high = effect_interval(d, n, m, confidence=0.9)
        total = n + m
        t = d * math.sqrt((total - 2) / ((total - 1) * (1 / n + 1 / m) - d * d))
        for end, level in ((low, 0.95), (high, 0.05)):
            if end == d:
                continue
            apart = end / math.sqrt(1 - n * m * end * end / total**2)
            noncentrality = apart / math.sqrt(1 / n + 1 / m)
            assert stats.nct.cdf(t, total - 2, noncentrality) == pytest.approx(level, abs=1e-6)

    def test_t_is_the_pooled_two_sample_t(self) -> None:
        """So that at a 95 % interval that ends at zero, its p is .05."""
        rng = np.random.default_rng(17)
        first, second = rng.standard_normal(7), rng.standard_normal(11)
        p = stats.ttest_ind(first, second).pvalue
        d = (first.mean() - second.mean()) / np.std([*first, *second], ddof=1)
        low, high = effect_interval(float(d), 7, 11, confidence=1 - p)
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-9)

    @pytest.mark.property
    @given(
        st.integers(2, 60),
        st.integers(2, 60),
        st.one_of(st.floats(-1, 1), st.sampled_from([-1.0, 1.0, 1 - 1e-15, 1 - 1e-9, 1.001, 0.0])),
        st.sampled_from([0.5, 0.95, 0.9999]),
    )
    @settings(deadline=None)
    def test_it_is_finite_ordered_around_the_effect_and_within_reach(
        self, n: int, m: int, share: float, confidence: float
    ) -> None:
        d = share * largest_effect(n, m)
        low, high = effect_interval(d, n, m, confidence=confidence)
        # The population's std does not know ddof, and so its effects reach a little further.
        reach = max((n + m) / math.sqrt(n * m), abs(d)) * (1 + 1e-12)
        assert -reach <= low <= d <= high <= reach
        mirrored = effect_interval(-d, n, m, confidence=confidence)
        assert mirrored == pytest.approx((-high, -low), abs=1e-9)

    def test_it_covers_the_effect_of_normal_scores(self) -> None:
        rng = np.random.default_rng(18)
        n, apart = 8, 0.9
        truth = apart / math.sqrt(1 + apart**2 / 4)
        hits = 0
        for _ in range(400):
            first, second = rng.standard_normal(n) + apart, rng.standard_normal(n)
            d = (first.mean() - second.mean()) / np.std([*first, *second], ddof=1)
            low, high = effect_interval(float(d), n, n)
            hits += low <= truth <= high
        assert 0.92 <= hits / 400 <= 0.98

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 95.0, math.nan])
    def test_a_confidence_that_is_no_probability_is_refused(self, confidence: float) -> None:
        with pytest.raises(ValueError, match="confidence lies between 0 and 1"):
            effect_interval(0.5, 5, 5, confidence=confidence)
