"""The permutation test against brute force, scipy and its own laws."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics.permutation import bounds
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import Side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from pytest_visualbias.statistics.permutation.sides import Alternative, PermutationResult

RNG = np.random.default_rng(13)
ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")
alternatives = st.sampled_from(ALTERNATIVES)
# Halves are exact, so that brute force knows every tie; few values, so that there are many.
halves = st.integers(-6, 6).map(lambda value: value / 2)
few = st.lists(halves, min_size=2, max_size=5)


def side(first: ArrayLike, second: ArrayLike) -> Side:
    return Side.of(np.array(first, dtype=float), np.array(second, dtype=float), ("X", "Y"))


def run(
    first: ArrayLike, second: ArrayLike, alternative: Alternative = "two-sided"
) -> PermutationResult:
    return permutation_test(side(first, second), alternative=alternative)


def brute_force(first: Sequence[float], second: Sequence[float], alternative: str) -> float:
    """Share of all splits that are as extreme, in integers of 1 / (2 n_x n_y)."""
    pooled = [round(2 * value) for value in [*first, *second]]
    n, m = len(first), len(second)

    def statistic(chosen: tuple[int, ...]) -> int:
        ours = sum(pooled[i] for i in chosen)
        return ours * m - (sum(pooled) - ours) * n

    observed = statistic(tuple(range(n)))
    splits = [statistic(chosen) for chosen in combinations(range(n + m), n)]
    hits = {
        "two-sided": [abs(t) >= abs(observed) for t in splits],
        "greater": [t >= observed for t in splits],
        "less": [t <= observed for t in splits],
    }
    return sum(hits[alternative]) / len(splits)


@pytest.mark.property
@given(few, few, alternatives)
@settings(deadline=None)
def test_p_equals_brute_force_with_repeated_scores(
    first: list[float], second: list[float], alternative: Alternative
) -> None:
    assert run(first, second, alternative).p_value == brute_force(first, second, alternative)


@pytest.mark.property
@given(few, few, alternatives, st.floats(-1e3, 1e3), st.sampled_from([0.1, 1 / 3, 7.7e-5, 1e6]))
@settings(deadline=None)
def test_ties_survive_any_scale_and_origin(
    first: list[float], second: list[float], alternative: Alternative, origin: float, scale: float
) -> None:
    moved = [origin * scale + scale * np.array(values) for values in (first, second)]
    assert run(moved[0], moved[1], alternative).p_value == brute_force(first, second, alternative)


@pytest.mark.parametrize("alternative", ["greater", "less"])
@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 8), (9, 4)])
def test_one_sided_p_equals_scipy(n: int, m: int, alternative: Alternative) -> None:
    first, second = RNG.standard_normal(n) + 0.5, RNG.standard_normal(m)
    theirs = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=np.inf,
        alternative=alternative,
        vectorized=True,
    )
    assert run(first, second, alternative).p_value == pytest.approx(theirs.pvalue, rel=1e-12)


def test_the_published_tie_example_is_counted_right() -> None:
    """Two distinct images, six against six: a plain ``>=`` gives .9080 where .9600 is right."""
    first, second = [0.1] * 4 + [0.7] * 2, [0.1] * 3 + [0.7] * 3
    expected = brute_force([0] * 4 + [1] * 2, [0] * 3 + [1] * 3, "greater")
    assert run(first, second, "greater").p_value == expected


def test_sixteen_against_sixteen_is_exact_and_forty_against_forty_is_bounded() -> None:
    values = RNG.standard_normal(80)
    few = run(values[:16], values[16:32])
    assert (few.method, few.p_low, few.p_high) == ("exact", few.p_value, few.p_value)
    assert few.p_saddlepoint is None
    forty = run(values[:40], values[40:])
    assert forty.method == "bounded"
    assert forty.p_low < forty.p_value == forty.p_high
    assert forty.p_saddlepoint is not None


def test_a_small_set_against_a_large_one_is_exact() -> None:
    values = RNG.standard_normal(602)
    assert run(values[:2], values[2:], "less").method == "exact"
    assert run(values[2:], values[:2], "greater").p_value == pytest.approx(
        run(values[:2], values[2:], "less").p_value, rel=1e-12
    )


@pytest.mark.property
@given(few, few, alternatives)
@settings(deadline=None)
def test_p_is_a_count_of_partitions_that_holds_the_observed_one(
    first: list[float], second: list[float], alternative: Alternative
) -> None:
    partitions = math.comb(len(first) + len(second), len(first))
    count = run(first, second, alternative).p_value * partitions
    assert count == pytest.approx(round(count), abs=1e-9)
    assert 1 <= round(count) <= partitions


@pytest.mark.property
@given(few, few)
@settings(deadline=None)
def test_exchanging_the_sets_exchanges_the_one_sided_tests(
    first: list[float], second: list[float]
) -> None:
    assert run(first, second).p_value == run(second, first).p_value
    assert run(first, second, "greater").p_value == run(second, first, "less").p_value


def test_equal_scores_give_p_one() -> None:
    assert run([2.0] * 4, [2.0] * 5).p_value == 1
    assert run([0.0] * 20, [0.0] * 20).p_value == 1


def test_ties_are_judged_by_the_rounding_that_scores_carry() -> None:
    """A small difference of large numbers has their rounding, not its own."""
    first, second = np.array([1e-9, 3e-9]), np.array([2e-9, 2e-9])
    plain = Side.of(first, second, ("X", "Y"))
    carrying = Side(first=first, second=second, roles=("X", "Y"), magnitude=1e4)
    assert permutation_test(plain, alternative="greater").p_value == 4 / 6
    assert permutation_test(carrying, alternative="greater").p_value == 1


class TestBounded:
    @pytest.mark.parametrize("alternative", ALTERNATIVES)
    @pytest.mark.parametrize(("n", "m"), [(26, 26), (24, 31), (8, 90)])
    def test_the_bracket_is_one_per_cent_or_a_ten_thousandth_wide(
        self, n: int, m: int, alternative: Alternative
    ) -> None:
        for shift in (0.0, 0.3, 0.8, -0.8, 1.5):
            rng = np.random.default_rng([n, m])
            got = run(rng.standard_normal(n) + shift, rng.standard_normal(m), alternative)
            assert got.method == "bounded"
            assert got.p_high - got.p_low <= max(0.01 * got.p_high, 1e-4)

    def test_complete_separation_is_known_to_the_single_relabelling(self) -> None:
        """Chernoff's bound and the observed labels meet."""
        rng = np.random.default_rng(5)
        first, second = rng.uniform(1, 2, 30), rng.uniform(-2, -1, 30)
        least = 2 / math.comb(60, 30)
        got = run(first, second)
        assert got.p_low == pytest.approx(least)
        assert least <= got.p_high <= 1e-9
        assert run(first, second, "less").p_high == 1

    def test_neither_order_nor_sign_changes_p(self) -> None:
        rng = np.random.default_rng(6)
        first, second = rng.standard_normal(25) + 0.4, rng.standard_normal(28)
        reference = run(first, second)
        assert run(first[::-1], rng.permutation(second)) == reference
        assert run(second, first) == reference
        assert run(-first, -second) == reference
        nearly = run(first * (1 + 1e-15), second)
        assert nearly.p_value == pytest.approx(reference.p_value, rel=1e-6)


class TestSampled:
    def test_what_cannot_be_bracketed_in_time_is_sampled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As it is for sets of many hundreds; the true p lies in the interval."""
        rng = np.random.default_rng(8)
        first, second = rng.standard_normal(30) + 0.5, rng.standard_normal(30)
        proven = run(first, second)
        monkeypatch.setattr(bounds, "_MAX_CELLS", 1000)
        got = run(first, second)
        assert (proven.method, got.method) == ("bounded", "sampled")
        assert got.p_low <= proven.p_low < proven.p_high <= got.p_high
        assert got.p_low < got.p_value == got.p_high
        assert got.p_saddlepoint == proven.p_saddlepoint


def test_an_unknown_alternative_is_refused() -> None:
    with pytest.raises(ValueError, match="alternative is 'two-sided', 'greater' or 'less', not 'g"):
        run([1, 2], [3, 4], "greatest")  # type: ignore[arg-type]
