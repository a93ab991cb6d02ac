"""What resampling and leaving images out say of an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics import (
    Scores,
    association_from_scores,
    association_scores,
    association_test,
    influence_from_scores,
    mean_scores,
)
from pytest_visualbias.statistics.resampling import bca_interval, leave_one_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics import Sides

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

Sets = tuple["Matrix", "Matrix", "Matrix", "Matrix"]


def drawn(n: tuple[int, int, int, int], seed: int, push: float = 0.5) -> Sets:
    rng = np.random.default_rng(seed)
    common = push * np.eye(10)[0]
    x, y, a, b = (rng.standard_normal((k, 10)) for k in n)
    return x + common, y - common, a + common, b - common


def means(weights: tuple[Matrix, ...]) -> Vector:
    """Difference of the weighted means of two sets of known numbers."""
    values = (np.array([1.0, 4, 2, 8, 5, 7]), np.array([3.0, 1, 4, 1, 5, 9, 2]))
    first, second = (w @ v / w.sum(axis=1) for w, v in zip(weights, values, strict=True))
    result: Vector = first - second
    return result


class TestBca:
    def test_it_agrees_with_scipy(self) -> None:
        """Two implementations, two generators: the noise of 2,000 draws is left."""
        data = [1.0, 4, 2, 8, 5, 7], [3.0, 1, 4, 1, 5, 9, 2]
        theirs = stats.bootstrap(
            data,
            lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
            n_resamples=50_000,
            method="BCa",
            rng=np.random.default_rng(1),
        ).confidence_interval
        ours = bca_interval(means, (6, 7), 0.95, np.random.default_rng(2))
        assert ours == pytest.approx((theirs.low, theirs.high), abs=0.25)

    def test_left_out_images_give_the_values_of_smaller_sets(self) -> None:
        first, second = leave_one_out(means, (6, 7))
        assert first[3] == pytest.approx(np.mean([1, 4, 2, 5, 7]) - 25 / 7)
        assert second[5] == pytest.approx(27 / 6 - np.mean([3, 1, 4, 1, 5, 2]))
        assert (len(first), len(second)) == (6, 7)

    def test_a_constant_statistic_has_no_width(self) -> None:
        def constant(weights: tuple[Matrix, ...]) -> Vector:
            return np.full(len(weights[0]), 2.0)

        assert bca_interval(constant, (4, 1), 0.9, np.random.default_rng(0)) == (2, 2)


class TestWideInterval:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    def test_it_agrees_with_a_plain_bootstrap_of_embeddings(self, sides: Sides) -> None:
        """Whole tests on resampled rows, by scipy's BCa."""
        sets = drawn((9, 8, 7, 10), 1)
        got = association_test(*sets, sides=sides)

        def judged(*rows: NDArray[np.int64]) -> float:
            chosen = [part[row] for part, row in zip(sets, rows, strict=True)]
            scores = association_scores(*chosen, sides=sides)
            effects = scores.targets.difference, scores.attributes.difference
            return effects[0] if sides == "targets" else min(effects, key=abs)

        theirs = stats.bootstrap(
            [np.arange(len(part)) for part in sets],
            judged,
            vectorized=False,
            n_resamples=1000,
            method="BCa",
            rng=np.random.default_rng(3),
        ).confidence_interval
        assert (got.wide_low, got.wide_high) == pytest.approx((theirs.low, theirs.high), abs=0.25)

    @pytest.mark.property
    @given(st.tuples(*[st.integers(2, 6)] * 4), st.integers(0, 2**32 - 1))
    @settings(deadline=None, max_examples=25)
    def test_exchanging_sets_mirrors_it(self, n: tuple[int, int, int, int], seed: int) -> None:
        X, Y, A, B = drawn(n, seed)
        one, turned, back = (
            association_test(*sets) for sets in ((X, Y, A, B), (Y, X, A, B), (Y, X, B, A))
        )
        assert one.wide_low is not None
        assert one.wide_high is not None
        assert (turned.wide_low, turned.wide_high) == pytest.approx(
            (-one.wide_high, -one.wide_low), abs=1e-7
        )
        assert (back.wide_low, back.wide_high) == pytest.approx(
            (one.wide_low, one.wide_high), abs=1e-7
        )

    def test_scores_from_a_record_have_none(self) -> None:
        scores = association_scores(*drawn((5, 5, 5, 5), 2))
        recorded = Scores(x=scores.x, y=scores.y, a=scores.a, b=scores.b, gap=scores.gap)
        got = association_from_scores(recorded)
        assert (got.wide_low, got.wide_high, got.x_ab, got.y_ab) == (None, None, None, None)
        assert influence_from_scores(recorded) is None

    def test_trials_are_resampled_together(self) -> None:
        """Twice the same trial is that trial."""
        scores = association_scores(*drawn((6, 5, 7, 6), 3))
        once, twice = (association_from_scores(mean_scores([scores] * k)) for k in (1, 2))
        assert once.wide_low != once.wide_high
        assert twice.ci_low == pytest.approx(once.ci_low)
        assert len(mean_scores([scores] * 3).cosines) == 3


class TestMeans:
    def test_they_are_mean_differences_of_cosines_and_differ_by_the_gap(self) -> None:
        X, Y, A, B = drawn((4, 5, 3, 6), 4)
        got = association_test(X, Y, A, B)

        def unit(rows: Matrix) -> Matrix:
            scaled: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return scaled

        x_ab, y_ab = (
            (unit(rows) @ unit(A).T).mean() - (unit(rows) @ unit(B).T).mean() for rows in (X, Y)
        )
        assert (got.x_ab, got.y_ab) == pytest.approx((x_ab, y_ab))
        assert got.gap == pytest.approx(x_ab - y_ab)


class TestInfluence:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    def test_it_is_the_effect_of_the_test_without_the_image(self, sides: Sides) -> None:
        sets = drawn((4, 5, 3, 6), 5)
        got = influence_from_scores(association_scores(*sets), sides=sides)
        assert got is not None
        assert got.effect == pytest.approx(association_test(*sets, sides=sides).effect_judged)
        for which, values in enumerate((got.x, got.y, got.a, got.b)):
            assert len(values) == len(sets[which])
            for row, value in enumerate(values):
                fewer = [*sets]
                fewer[which] = np.delete(sets[which], row, axis=0)
                without = association_test(*fewer, sides=sides)
                assert value == pytest.approx(without.effect_judged)

    def test_an_image_that_alone_makes_the_effect_stands_out(self) -> None:
        X, Y, A, B = drawn((8, 8, 8, 8), 6, push=0.0)
        X[2] = 40 * (A.mean(axis=0) - B.mean(axis=0))
        got = influence_from_scores(association_scores(X, Y, A, B), sides="targets")
        assert got is not None
        change = np.abs(np.concatenate([got.x, got.y]) - got.effect)
        assert change.argmax() == 2

    def test_two_images_a_set_leave_finite_numbers(self) -> None:
        got = influence_from_scores(association_scores(*drawn((2, 2, 2, 2), 7)))
        assert got is not None
        assert all(np.isfinite(values).all() for values in (got.x, got.y, got.a, got.b))
