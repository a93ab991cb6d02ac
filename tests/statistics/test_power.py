"""What given sizes can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.statistics.association import sc_eat_test
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side
from pytest_visualbias.statistics.power import (
    smallest_detectable_effect,
    smallest_p,
    smallest_visible_gap,
)

if TYPE_CHECKING:
    from pytest_visualbias.statistics.permutation.sides import Alternative


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (5, 3), (4, 4), (10, 10), (2, 9)])
@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_complete_separation_reaches_the_smallest_p(
    n: int, m: int, alternative: Alternative
) -> None:
    side = Side.of(10 + np.arange(n, dtype=float) ** 1.5, np.arange(m) / 7, ("X", "Y"))
    got = permutation_test(side, alternative=alternative)
    assert got.p_value == pytest.approx(smallest_p(n, m, alternative))


def test_large_sets_reach_a_p_of_zero_in_floats() -> None:
    assert smallest_p(2000, 2000, "greater") == 0


def test_an_unknown_alternative_is_refused() -> None:
    with pytest.raises(ValueError, match="alternative is"):
        smallest_p(3, 3, "both")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "bound"), [(4, 1.871), (6, 1.915), (10, 1.949), (20, 1.975), (40, 1.987)]
)
def test_the_bound_of_equal_sets_is_the_published_one(n: int, bound: float) -> None:
    assert largest_effect(n, n) == pytest.approx(bound, abs=5e-4)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 9), (20, 20)])
def test_sets_without_inner_spread_are_at_the_bound(n: int, m: int) -> None:
    d = 1 / np.std([1] * n + [0] * m, ddof=1)
    assert d == pytest.approx(largest_effect(n, m))


class TestSmallestDetectableEffect:
    def test_nothing_is_detectable_below_the_smallest_p(self) -> None:
        assert smallest_detectable_effect(3, 3, 0.09, "two-sided") is None
        assert smallest_detectable_effect(3, 3, 0.1, "two-sided") is not None
        assert smallest_detectable_effect(3, 3, 0.05, "greater") is not None

    @pytest.mark.parametrize("alternative", ["two-sided", "less"])
    @pytest.mark.parametrize(("n", "m", "alpha"), [(6, 6, 0.05), (20, 20, 0.01), (8, 40, 0.2)])
    def test_it_is_the_effect_whose_t_has_this_p(
        self, n: int, m: int, alpha: float, alternative: Alternative
    ) -> None:
        d = smallest_detectable_effect(n, m, alpha, alternative)
        assert d is not None
        assert 0 < d < largest_effect(n, m)
        spare = (n + m - 1) * (1 / n + 1 / m) - d * d
        t = d * np.sqrt((n + m - 2) / spare)
        tails = 2 if alternative == "two-sided" else 1
        assert tails * stats.t.sf(t, n + m - 2) == pytest.approx(alpha)

    def test_it_is_near_the_threshold_of_the_permutation_test(self) -> None:
        rng = np.random.default_rng(19)
        d = smallest_detectable_effect(8, 8, 0.05, "two-sided")
        assert d is not None
        for _ in range(20):
            values = rng.standard_normal(16)
            side = Side.of(values[:8], values[8:], ("X", "Y"))
            effect = abs(side.difference) / np.std(values, ddof=1)
            if abs(effect - d) > 0.1:
                assert (permutation_test(side).p_value <= 0.05) == (effect > d)

    def test_more_images_see_smaller_effects(self) -> None:
        seen = [smallest_detectable_effect(n, n, 0.05, "two-sided") or 9 for n in (4, 8, 20, 100)]
        assert seen == sorted(seen, reverse=True)

    def test_a_level_of_half_sees_everything_one_sided(self) -> None:
        assert smallest_detectable_effect(4, 4, 0.5, "greater") == 0

    @pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
    def test_an_alpha_that_is_no_level_is_refused(self, alpha: float) -> None:
        with pytest.raises(ValueError, match="alpha lies between 0 and 1"):
            smallest_detectable_effect(5, 5, alpha, "two-sided")


class TestSmallestVisibleGap:
    @pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
    @pytest.mark.parametrize(("n", "m"), [(20, 20), (12, 30)])
    def test_one_image_less_is_not_significant(self, n: int, m: int, rate: float) -> None:
        """Held against scipy's exact test of both tables, where the sets have one size."""
        found = smallest_visible_gap(n, m, rate, 0.05, "two-sided")
        assert found is not None
        if n != m:
            swapped = smallest_visible_gap(m, n, rate, 0.05, "two-sided")
            assert found == swapped
            return
        low = round(rate * n)
        high = round(found * n) + low
        tables = [[[count, n - count], [low, n - low]] for count in (high, high - 1)]
        p, p_less = (stats.fisher_exact(table).pvalue for table in tables)
        assert p <= 0.05 < p_less

    def test_it_is_smallest_where_rates_are_near_zero(self) -> None:
        found = [smallest_visible_gap(40, 40, rate, 0.05, "two-sided") for rate in (0, 0.1, 0.4)]
        assert found == sorted(found, key=lambda gap: gap or math.inf)

    def test_few_images_see_none(self) -> None:
        assert smallest_visible_gap(3, 3, 0.0, 0.05, "two-sided") is None
        assert smallest_visible_gap(20, 20, 0.9, 0.05, "two-sided") is None


def test_means_of_scores_show_smaller_effects_and_never_need_larger_ones() -> None:
    """What so many images see in any case is not the least that they can see."""
    rng = np.random.default_rng(3)
    visible = smallest_detectable_effect(8, 8, 0.05, "two-sided")
    assert visible is not None
    found = []
    for push in np.linspace(0, 1.5, 40):
        X, A, B = (rng.standard_normal((8, 12)) for _ in range(3))
        found.append(sc_eat_test(X + 0.5, A + push * 0.5, B))
    smaller = [one for one in found if abs(one.effect_size) < visible]
    larger = [one for one in found if abs(one.effect_size) > visible + 0.05]
    assert any(one.p_value <= 0.05 for one in smaller)
    assert larger
    assert all(one.p_value <= 0.05 for one in larger)
