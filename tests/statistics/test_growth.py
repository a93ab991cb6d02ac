"""Growth: the same images seen by two models."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics import (
    Scores,
    association_from_scores,
    association_scores,
    change,
    growth_from_scores,
    growth_test,
)
from pytest_visualbias.statistics.side import Side

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sets = tuple[
    "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"
]
sizes = st.tuples(*[st.integers(2, 6)] * 4)
seeds = st.integers(0, 2**32 - 1)


def models(
    n: tuple[int, ...], seed: int, *, push: float = 0.0, noise: float = 0.3
) -> tuple[Sets, Sets]:
    """A model, and one in which X and A, and Y and B, have been pushed together."""
    rng = np.random.default_rng(seed)
    before = [rng.standard_normal((k, 12)) for k in n]
    common = np.eye(12)[0]
    signs = (1, -1, 1, -1)
    after = [
        rows + push * sign * common + noise * rng.standard_normal(rows.shape)
        for rows, sign in zip(before, signs, strict=True)
    ]
    return (before[0], before[1], before[2], before[3]), (after[0], after[1], after[2], after[3])


def numbers(result: object) -> dict[str, float]:
    assert dataclasses.is_dataclass(result)
    assert not isinstance(result, type)
    return {k: v for k, v in dataclasses.asdict(result).items() if isinstance(v, float)}


class TestEffects:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    def test_growth_and_shift_are_differences_of_the_judged_effects(self, sides: str) -> None:
        before, after = models((6, 6, 5, 5), 1, push=0.6)
        got = growth_test(before, after, sides=sides)  # type: ignore[arg-type]
        one, other = (
            association_from_scores(association_scores(*sets), sides=sides)  # type: ignore[arg-type]
            for sets in (before, after)
        )
        assert (got.before, got.after) == (one.effect_judged, other.effect_judged)
        assert got.shift == got.after - got.before
        assert got.growth == abs(got.after) - abs(got.before)

    def test_an_association_that_turns_round_is_flipped(self) -> None:
        _, after = models((8, 8, 8, 8), 2, push=1.5)
        X, Y, A, B = after
        assert growth_test(after, (Y, X, A, B)).flipped
        assert not growth_test(after, after).flipped
        turned = growth_test(after, (Y, X, A, B))
        assert turned.growth == pytest.approx(0, abs=1e-12)
        assert turned.shift == pytest.approx(-2 * turned.before)

    @pytest.mark.property
    @given(sizes, seeds)
    @settings(deadline=None, max_examples=25)
    def test_exchanging_the_models_turns_the_signs(self, n: tuple[int, ...], seed: int) -> None:
        before, after = models(n, seed, push=0.5)
        one, other = growth_test(before, after), growth_test(after, before)
        assert (other.growth, other.shift) == (-one.growth, -one.shift)
        assert (other.p_value, other.p_attributes, other.p_verdict) == pytest.approx(
            (one.p_value, one.p_attributes, one.p_verdict)
        )
        assert other.flipped == one.flipped


class TestEvidence:
    def test_the_labels_of_delta_are_permuted_on_each_side(self) -> None:
        before, after = models((5, 7, 4, 6), 3, push=0.5)
        old, new = association_scores(*before), association_scores(*after)
        got = growth_from_scores(old, new)

        def by_scipy(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
            observed = abs(first.mean() - second.mean()) * (1 - 1e-12)
            null = stats.permutation_test(
                (first, second),
                lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
                n_resamples=np.inf,
                vectorized=True,
            ).null_distribution
            return float(np.mean(np.abs(null) >= observed))

        x, y, a, b = (getattr(new, k) - getattr(old, k) for k in "xyab")
        assert got.p_value == pytest.approx(by_scipy(x, y))
        assert got.p_attributes == pytest.approx(by_scipy(a, b))
        welch = [stats.ttest_ind(*pair, equal_var=False).pvalue for pair in ((x, y), (a, b))]
        assert got.p_welch == pytest.approx(max(welch))
        assert got.p_verdict == max(got.p_value, got.p_attributes or 0, got.p_welch or 0)

    def test_a_real_growth_is_found(self) -> None:
        """A weak association before, a strong one after."""
        before, after = models((10, 10, 10, 10), 4, push=2)
        got = growth_test(before, after)
        assert got.growth > 0.5
        assert got.p_verdict < 0.01
        assert got.p_verdict_method == "exact"
        assert got.ci_low > 0
        assert got.shift_ci_low > 0

    def test_targets_only_leaves_the_attribute_side_out(self) -> None:
        before, after = models((5, 5, 4, 6), 5, push=0.5)
        got = growth_test(before, after, sides="targets")
        assert got.p_verdict == got.p_value
        assert got.p_attributes is None
        assert got.p_welch is None


class TestUnchanged:
    @pytest.mark.parametrize("sides", ["both", "targets"])
    @pytest.mark.parametrize("n", [5, 15])
    def test_a_model_against_itself_is_no_change_and_no_error(self, n: int, sides: str) -> None:
        before, _ = models((n, n, n, n), 6)
        got = growth_test(before, before, sides=sides)  # type: ignore[arg-type]
        assert (got.growth, got.shift, got.flipped) == (0, 0, False)
        assert (got.p_value, got.p_verdict) == (1, 1)
        assert got.p_attributes == (None if sides == "targets" else 1)
        assert (got.ci_low, got.ci_high, got.shift_ci_low, got.shift_ci_high) == (0, 0, 0, 0)
        assert got.before == got.after != 0

    def test_unequal_sizes_have_a_welch_of_one(self) -> None:
        before, _ = models((4, 6, 5, 3), 6)
        assert growth_test(before, before).p_welch == 1

    def test_differences_within_a_millionth_are_none(self) -> None:
        scores = association_scores(*models((6, 6, 6, 6), 7)[0])
        rng = np.random.default_rng(7)
        noise = {k: getattr(scores, k) + rng.uniform(-4e-7, 4e-7, 6) for k in "xyab"}
        got = growth_from_scores(scores, Scores(gap=scores.gap, **noise))
        assert (got.growth, got.shift, got.p_verdict) == (0, 0, 1)

    def test_a_constant_added_to_all_scores_is_no_change(self) -> None:
        scores = association_scores(*models((6, 6, 6, 6), 7)[0])
        moved = Scores(gap=0, **{k: getattr(scores, k) + 3 for k in "xyab"})
        got = growth_from_scores(scores, moved)
        assert (got.growth, got.p_verdict, got.ci_low, got.ci_high) == (0, 1, 0, 0)

    def test_one_unchanged_side_means_no_evidence(self) -> None:
        old, new = (association_scores(*sets) for sets in models((6, 6, 6, 6), 8, push=2))
        mixed = Scores(x=new.x, y=new.y, a=old.a, b=old.b, gap=0)
        got = growth_from_scores(old, mixed)
        assert got.p_value < 1
        assert got.p_attributes == got.p_verdict == 1


class TestDegenerate:
    def test_models_that_saw_other_images_are_refused(self) -> None:
        before, _ = models((5, 5, 4, 4), 9)
        X, Y, A, B = before
        with pytest.raises(
            DegenerateTestError, match="Y has 5 images in before and 4 in after; the same images"
        ) as raised:
            growth_test(before, (X, Y[1:], A, B))
        assert raised.value.role == "Y"

    def test_attributes_without_spread_are_null_where_they_have_no_say(self) -> None:
        old, new = (association_scores(*sets) for sets in models((5, 5, 4, 4), 9))
        flat = Scores(x=new.x, y=new.y, a=0 * new.a, b=0 * new.b, gap=0)
        for pair in ((old, flat), (flat, old)):
            assert growth_from_scores(*pair, sides="targets").p_attributes is None
            with pytest.raises(DegenerateTestError, match="all images of A and B"):
                growth_from_scores(*pair)

    def test_a_confidence_out_of_range_is_refused(self) -> None:
        before, after = models((3, 3, 3, 3), 9)
        with pytest.raises(ValueError, match="confidence lies between 0 and 1, not at 1"):
            growth_test(before, after, confidence=1)

    def test_resamples_without_any_spread_give_finite_intervals(self) -> None:
        """With two images against two, whole draws repeat one value."""
        old = Scores(x=[0, 1], y=[0, 2], a=[0, 1], b=[0, 2], gap=0)  # type: ignore[arg-type]
        new = Scores(x=[1, 1], y=[0, 0], a=[1, 1], b=[0, 0], gap=0)  # type: ignore[arg-type]
        got = growth_from_scores(old, new)
        assert all(map(math.isfinite, numbers(got).values()))


class TestGrowthInterval:
    def test_it_agrees_with_a_plain_bootstrap_loop(self) -> None:
        before, after = models((9, 7, 8, 8), 10, push=0.8)
        old, new = association_scores(*before), association_scores(*after)
        got = growth_from_scores(old, new)
        rng = np.random.default_rng(0)

        def effect(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
            return float((first.mean() - second.mean()) / np.std([*first, *second], ddof=1))

        draws = []
        for _ in range(2000):
            rows = {k: rng.integers(0, len(getattr(old, k)), len(getattr(old, k))) for k in "xyab"}
            sizes = [
                min(
                    abs(effect(*(getattr(model, k)[rows[k]] for k in pair)))
                    for pair in ("xy", "ab")
                )
                for model in (old, new)
            ]
            draws.append(sizes[1] - sizes[0])
        assert (got.ci_low, got.ci_high) == pytest.approx(
            tuple(np.quantile(draws, [0.025, 0.975])), abs=0.06
        )

    def test_it_depends_neither_on_order_nor_on_the_size_of_blocks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, after = models((9, 7, 8, 8), 11, push=0.8)
        order = [np.random.default_rng(1).permutation(len(rows)) for rows in before]
        one = growth_test(before, after)
        monkeypatch.setattr(change, "_CELLS", 1000)
        moved = [
            tuple(rows[i] for rows, i in zip(sets, order, strict=True)) for sets in (before, after)
        ]
        other = growth_test(*moved)  # type: ignore[arg-type]
        assert numbers(other) == pytest.approx(numbers(one), rel=1e-12)

    def test_a_wider_confidence_is_a_wider_interval(self) -> None:
        before, after = models((6, 6, 6, 6), 12, push=0.5)
        wide, narrow = (growth_test(before, after, confidence=c) for c in (0.99, 0.8))
        assert wide.ci_low < narrow.ci_low < narrow.ci_high < wide.ci_high
        assert wide.shift_ci_low < narrow.shift_ci_low < narrow.shift_ci_high < wide.shift_ci_high
        assert (wide.confidence, narrow.confidence) == (0.99, 0.8)


class TestShiftInterval:
    @pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 9)])
    def test_influence_is_the_derivative_of_the_effect_by_the_weight_of_an_image(
        self, n: int, m: int
    ) -> None:
        rng = np.random.default_rng([n, m])
        sets = rng.standard_normal(n) + 1, rng.standard_normal(m)
        side = Side.of(*sets, ("X", "Y"))

        def effect(weights: list[NDArray[np.float64]]) -> float:
            """Effect for weighted images, each set keeping its share."""
            shares = [w / w.sum() * len(w) / (n + m) for w in weights]
            means = [np.average(s, weights=w) for s, w in zip(sets, weights, strict=True)]
            pooled, share = np.concatenate(sets), np.concatenate(shares)
            centre = (pooled * share).sum()
            return float((means[0] - means[1]) / np.sqrt(((pooled - centre) ** 2 * share).sum()))

        scale = np.std(np.concatenate(sets))
        for which in (0, 1):
            got = change._influence(side, first=which == 0)
            assert got.sum() == pytest.approx(0, abs=1e-12)
            for i in range(len(sets[which])):
                weights = [np.ones(n), np.ones(m)]
                weights[which][i] += 1e-6
                derivative = (effect(weights) - effect([np.ones(n), np.ones(m)])) / 1e-6
                # Taken with ddof 0 here, and in units of the spread that scores already have.
                expected = derivative * len(sets[which]) * scale
                variance_ratio = (n + m - 1) / (n + m)
                apart = sets[0].mean() - sets[1].mean()
                linear = (sets[which][i] - sets[which].mean()) * (1 if which == 0 else -1)
                corrected = linear + (expected - linear) * variance_ratio
                assert got[i] == pytest.approx(corrected, abs=1e-4 * (1 + abs(apart)))

    def test_the_standard_error_is_near_that_of_simulated_shifts(self) -> None:
        rng = np.random.default_rng(15)

        def scored() -> tuple[Side, Side]:
            truth = rng.standard_normal((2, 25)) + np.array([[0.6], [0]])
            noise = 0.5 * rng.standard_normal((2, 2, 25))
            models = truth + noise + np.array([[[0], [0]], [[1], [0]]])
            units = [values / np.std(values, ddof=1) for values in models]
            before, after = (Side.of(first, second, ("X", "Y")) for first, second in units)
            return before, after

        pairs = [scored() for _ in range(400)]
        shifts = [after.difference - before.difference for before, after in pairs]
        highs = [change.shift_interval(0, (pair,), pair, 0.95)[1] for pair in pairs]
        errors = np.array(highs) / stats.t.ppf(0.975, 48)
        assert np.mean(errors) == pytest.approx(np.std(shifts, ddof=1), rel=0.1)

    def test_effects_judged_from_different_sides_add_up_as_independent(self) -> None:
        rng = np.random.default_rng(16)
        strong, weak = rng.standard_normal((2, 6)), rng.standard_normal((2, 6))
        strong[0] += 3
        weak[0] += 0.2
        old = Scores(x=strong[0], y=strong[1], a=weak[0], b=weak[1], gap=0)
        new = Scores(x=weak[0], y=weak[1], a=strong[0], b=strong[1], gap=0)
        got = growth_from_scores(old, new)
        assert got.shift == 0
        side = Side.of(weak[0], weak[1], ("X", "Y"))
        one = sum(
            np.var(change._influence(side, first=first), ddof=1) / 6 for first in (True, False)
        )
        expected = stats.t.ppf(0.975, 10) * math.sqrt(2 * one)
        assert got.shift_ci_high == pytest.approx(expected)
        assert got.shift_ci_low == pytest.approx(-expected)
