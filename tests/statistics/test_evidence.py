"""Which p-values there are, and which decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from pytest_visualbias.statistics.evidence import compute_p_values, welch_p
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pytest_visualbias.statistics.permutation.sides import Alternative

RNG = np.random.default_rng(14)


def side(first: ArrayLike, second: ArrayLike) -> Side:
    return Side.of(np.array(first, dtype=float), np.array(second, dtype=float), ("X", "Y"))


def drawn(n: int, m: int, shift: float = 0.0) -> Side:
    return side(RNG.standard_normal(n) + shift, RNG.standard_normal(m))


class TestWelch:
    @pytest.mark.parametrize(("n", "m"), [(2, 3), (8, 40), (40, 8)])
    def test_it_equals_scipy(self, n: int, m: int) -> None:
        ours = side(RNG.standard_normal(n) * 3 + 1, RNG.standard_normal(m))
        theirs = stats.ttest_ind(ours.first, ours.second, equal_var=False).pvalue
        assert welch_p(ours) == pytest.approx(theirs, rel=1e-9)

    def test_equal_means_give_one(self) -> None:
        assert welch_p(side([1, 3], [0, 2, 4])) == 1

    def test_sets_that_do_not_vary_within_themselves(self) -> None:
        assert welch_p(side([1, 1], [2, 2, 2])) == 0
        assert welch_p(side([2, 2], [2, 2, 2])) == 1


class TestWeigh:
    def test_the_larger_of_both_sides_decides(self) -> None:
        strong, weak = drawn(8, 8, 3), drawn(6, 6, 0.1)
        for targets, attributes in ((strong, weak), (weak, strong)):
            got = compute_p_values(targets, attributes, alternative="two-sided", sides="both")
            assert got.p_value == permutation_test(targets).p_value
            assert got.p_attributes == permutation_test(attributes).p_value
            assert got.p_verdict == permutation_test(weak).p_value
            assert got.p_welch is None
            assert got.p_verdict_method == "exact"

    def test_attributes_have_no_say_where_only_targets_count(self) -> None:
        strong, weak = drawn(8, 8, 3), drawn(5, 7, 0.1)
        got = compute_p_values(strong, weak, alternative="two-sided", sides="targets")
        assert got.p_attributes is None
        assert got.p_welch is None
        assert got.p_verdict == got.p_value

    def test_welch_is_the_larger_over_the_sides_of_unequal_sizes(self) -> None:
        one, other, equal = drawn(5, 9, 2), drawn(4, 7, 1), drawn(6, 6)
        both = compute_p_values(one, other, alternative="greater", sides="both")
        assert both.p_welch == max(welch_p(one, "greater"), welch_p(other, "greater"))
        assert both.p_verdict >= both.p_welch
        assert both.p_verdict_low >= both.p_welch
        less = welch_p(one, "less")
        assert compute_p_values(one, equal, alternative="less", sides="both").p_welch == less
        assert compute_p_values(equal, one, alternative="less", sides="both").p_welch == less

    @pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
    def test_welch_is_one_sided_as_the_alternative_says(self, alternative: Alternative) -> None:
        """Scores that are significant one-sided only: a positive control of them holds."""
        one = side([2.9, 1.2, 3.3, 0.4], [0.1, 1.3, 0.9, 1.5, 0.2, 0.6])
        got = compute_p_values(one, None, alternative=alternative, sides="targets")
        theirs = stats.ttest_ind(one.first, one.second, equal_var=False, alternative=alternative)
        assert got.p_welch == pytest.approx(theirs.pvalue)
        assert got.p_verdict == max(got.p_value, theirs.pvalue)

    @pytest.mark.parametrize("crossed", [1e-9, 0.7])
    def test_the_crossed_p_counts_with_the_others(self, crossed: float) -> None:
        one, other = drawn(6, 6, 2), drawn(5, 5, 2)
        plain = compute_p_values(one, other, alternative="two-sided", sides="both")
        got = compute_p_values(one, other, alternative="two-sided", sides="both", crossed=crossed)
        assert (plain.p_crossed, got.p_crossed) == (None, crossed)
        assert got.p_verdict == max(plain.p_verdict, crossed)
        assert got.p_verdict_low == max(plain.p_verdict_low, crossed)

    def test_welch_decides_where_a_permutation_test_of_means_is_fooled(self) -> None:
        """Eight of large spread against forty of small spread."""
        spread = side([-3, -2, 6, 7, 9, -5, 8, 4], np.linspace(-1, 1, 40).tolist())
        got = compute_p_values(spread, None, alternative="two-sided", sides="targets")
        assert got.p_high < 0.02
        assert got.p_welch is not None
        assert got.p_verdict == got.p_welch > 0.1

    def test_the_least_proven_side_names_the_method_of_the_verdict(self) -> None:
        counted, bounded = drawn(6, 6, 1), drawn(30, 30, 0.2)
        got = compute_p_values(counted, bounded, alternative="two-sided", sides="both")
        assert (got.p_method, got.p_verdict_method) == ("exact", "bounded")
        assert got.p_low == got.p_value == got.p_high
        assert got.p_verdict_low < got.p_verdict == got.p_verdict_high
        assert (got.p_attributes_low, got.p_attributes_high) == (
            got.p_verdict_low,
            got.p_verdict_high,
        )
        alone = compute_p_values(counted, bounded, alternative="two-sided", sides="targets")
        assert alone.p_verdict_method == "exact"
        assert alone.p_verdict_low == alone.p_verdict_high == alone.p_value
