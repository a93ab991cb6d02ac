"""Gaps of rates and scores between two groups: numbers, evidence, intervals, growth."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import special, stats

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.classifier_gap import (
    OutcomeScores,
    mean_outcome_scores,
    outcome_from_scores,
)
from pytest_visualbias.statistics.classifier_growth import (
    outcome_growth_from_scores,
    outcome_shift_from_scores,
)
from pytest_visualbias.statistics.permutation.paired_labels import paired_permutation_test
from pytest_visualbias.statistics.rates import predicted, probabilities

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.growth import GrowthResult

    Vector = NDArray[np.float64]

LOGITS = [[2.0, 1.0, -1.0], [0.0, 3.0, 3.0], [-1.0, -1.0, 5.0], [1.0, 1.0, 1.0]]


def rates(first: ArrayLike, second: ArrayLike) -> OutcomeScores:
    return OutcomeScores(first=np.array(first, float), second=np.array(second, float), is_rate=True)


def mean_scores(first: ArrayLike, second: ArrayLike) -> OutcomeScores:
    return OutcomeScores(
        first=np.array(first, float), second=np.array(second, float), is_rate=False
    )


def table(hits: int, n: int) -> list[float]:
    return [1.0] * hits + [0.0] * (n - hits)


class TestReadingLogits:
    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_the_largest_logit_is_predicted_and_the_first_of_equal_ones(self, index: int) -> None:
        expected = {0: [1, 0, 0, 1], 1: [0, 1, 0, 0], 2: [0, 0, 1, 0]}[index]
        assert predicted(LOGITS, index, activation="softmax").tolist() == expected

    def test_probabilities_are_the_softmax_of_all_logits(self) -> None:
        found = probabilities(LOGITS, 2, activation="softmax")
        assert found == pytest.approx(
            [1 / (np.e**3 + np.e**2 + 1), *special.softmax(LOGITS, 1)[1:, 2]]
        )

    def test_or_the_sigmoid_of_one(self) -> None:
        found = probabilities(LOGITS, 0, activation="sigmoid")
        assert found == pytest.approx([1 / (1 + np.exp(-one[0])) for one in LOGITS])

    def test_a_threshold_counts_what_reaches_it(self) -> None:
        assert predicted(LOGITS, 1, activation="softmax", threshold=0.3).tolist() == [0, 1, 0, 1]
        assert predicted([[0.0], [-0.01]], 0, activation="sigmoid").tolist() == [1, 0]

    @pytest.mark.parametrize("size", [1e4, -1e4])
    def test_large_logits_neither_overflow_nor_lose_the_class(self, size: float) -> None:
        found = probabilities([[size, 0.0], [0.0, size]], 0, activation="softmax")
        assert found.tolist() == ([1, 0] if size > 0 else [0, 1])

    @pytest.mark.parametrize("index", [3, 7])
    def test_a_class_that_there_is_not_is_an_error(self, index: int) -> None:
        with pytest.raises(
            DegenerateTestError, match=f"has 3 classes, 0 to 2, and none .* {index}"
        ):
            predicted(LOGITS, index, activation="softmax")

    def test_one_logit_has_no_softmax(self) -> None:
        with pytest.raises(DegenerateTestError, match="add 'activation: sigmoid'"):
            predicted([[3.0], [-3.0]], 0, activation="softmax")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_logits_that_are_not_finite_are_an_error_that_names_the_image(self, bad: float) -> None:
        with pytest.raises(DegenerateTestError, match="image 1 of X") as caught:
            predicted([[1.0, 2.0], [bad, 0.0]], 1, activation="softmax", role="X")
        assert (caught.value.role, caught.value.row) == ("X", 1)

    def test_maps_of_logits_are_an_error(self) -> None:
        with pytest.raises(DegenerateTestError, match="shape"):
            predicted(np.zeros((2, 3, 4)), 1, activation="softmax")


class TestGap:
    def test_it_is_the_difference_of_the_rates_and_not_standardised(self) -> None:
        found = outcome_from_scores(rates(table(12, 30), table(5, 40)))
        assert (found.rate_x, found.rate_y) == (0.4, 0.125)
        assert found.gap == found.effect_size == found.effect_judged == pytest.approx(0.275)
        assert (found.n_x, found.n_y) == (30, 40)

    def test_of_predictions_p_is_exact_and_needs_no_welch(self) -> None:
        found = outcome_from_scores(rates(table(12, 30), table(5, 40)), alternative="greater")
        fisher = stats.fisher_exact([[12, 18], [5, 35]], alternative="greater").pvalue
        assert found.p_verdict == found.p_value == pytest.approx(fisher, rel=1e-9)
        assert (found.p_method, found.p_welch, found.p_attributes) == ("exact", None, None)

    def test_of_mean_scores_labels_are_permuted_and_unequal_sizes_add_welch(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.beta(2, 2, 6), rng.beta(2, 5, 8)
        found = outcome_from_scores(mean_scores(x, y))
        pooled = np.concatenate([x, y])
        splits = [list(split) for split in itertools.combinations(range(14), 6)]
        apart = [pooled[split].mean() - np.delete(pooled, split).mean() for split in splits]
        extreme = np.mean(np.abs(apart) >= abs(x.mean() - y.mean()) - 1e-12)
        assert found.p_value == pytest.approx(extreme)
        assert found.p_welch == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)
        assert found.p_verdict == max(found.p_value, found.p_welch or 0)

    def test_the_interval_of_a_mean_score_is_welchs(self) -> None:
        rng = np.random.default_rng(1)
        x, y = rng.beta(2, 2, 12), rng.beta(2, 5, 20)
        found = outcome_from_scores(mean_scores(x, y), confidence=0.9)
        low, high = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.9)
        assert (found.ci_low, found.ci_high) == pytest.approx((low, high))

    def test_no_prediction_at_all_is_a_gap_of_zero_whose_interval_says_how_little_is_known(
        self,
    ) -> None:
        found = outcome_from_scores(rates(table(0, 20), table(0, 30)))
        assert (found.gap, found.p_verdict) == (0, 1)
        assert found.ci_low < -0.1
        assert found.ci_high > 0.1

    def test_under_the_null_it_rejects_no_more_often_than_it_says(self) -> None:
        rng = np.random.default_rng(5)
        draws = (
            outcome_from_scores(rates(rng.binomial(1, 0.3, 15), rng.binomial(1, 0.3, 40)))
            for _ in range(600)
        )
        assert np.mean([found.p_verdict <= 0.05 for found in draws]) <= 0.06

    @pytest.mark.parametrize("scores", [rates([1], [0, 1]), mean_scores([0.3, 0.4], [0.5])])
    def test_one_image_has_no_rate(self, scores: OutcomeScores) -> None:
        with pytest.raises(DegenerateTestError, match="at least two"):
            outcome_from_scores(scores)

    @pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
    def test_what_is_no_share_is_refused(self, bad: float) -> None:
        with pytest.raises(DegenerateTestError, match="X"):
            rates([0, bad], [0, 1])


class TestTrials:
    def test_the_gap_of_their_mean_is_the_mean_of_their_gaps(self) -> None:
        one, other = rates(table(6, 10), table(2, 10)), rates(table(3, 10), table(1, 10))
        found = outcome_from_scores(mean_outcome_scores([one, other]))
        assert found.gap == pytest.approx((0.4 + 0.2) / 2)

    def test_they_are_tested_once_on_the_mean_of_every_image(self) -> None:
        """Shares are no longer zeros and ones, and are permuted as any scores are."""
        one, other = rates([1, 1, 1, 0], [0, 0, 0, 1]), rates([1, 1, 0, 0], [0, 0, 1, 0])
        found = outcome_from_scores(mean_outcome_scores([one, other]))
        pooled = np.array([1, 1, 0.5, 0, 0, 0, 0.5, 0.5])
        sums = [pooled[list(split)].sum() for split in itertools.combinations(range(8), 4)]
        extreme = np.mean([abs(2 * s - pooled.sum()) >= 1.5 - 1e-12 for s in sums])
        assert found.p_value == pytest.approx(extreme)
        assert found.p_method == "exact"

    def test_alike_they_are_one(self) -> None:
        one = rates(table(6, 10), table(2, 12))
        assert outcome_from_scores(mean_outcome_scores([one] * 3)) == outcome_from_scores(one)

    def test_of_other_sizes_they_are_refused(self) -> None:
        with pytest.raises(DegenerateTestError, match="another"):
            mean_outcome_scores([rates([1, 0], [0, 1]), rates([1, 0, 1], [0, 1])])

    def test_one_that_does_not_know_the_class_makes_their_mean_say_nothing(self) -> None:
        blind = OutcomeScores(first=np.ones(2), second=np.ones(2), is_rate=True, is_blind=True)
        seeing = rates([1, 0], [0, 1])
        assert outcome_from_scores(mean_outcome_scores([blind, seeing])).is_blind
        assert not outcome_from_scores(mean_outcome_scores([seeing, seeing])).is_blind


def grown(before: OutcomeScores, after: OutcomeScores) -> GrowthResult:
    return outcome_growth_from_scores(before, after)


class TestGrowth:
    def test_it_is_the_absolute_gap_after_less_that_before(self) -> None:
        found = grown(rates(table(2, 20), table(4, 20)), rates(table(9, 20), table(4, 20)))
        assert (found.before, found.after) == pytest.approx((-0.1, 0.25))
        assert (found.growth, found.shift) == pytest.approx((0.15, 0.35))
        assert found.flipped

    @pytest.mark.parametrize("kind", ["rates", "scores"])
    @pytest.mark.parametrize("turn", [False, True])
    def test_p_is_the_larger_one_of_both_ways_to_permute_labels(
        self, kind: str, turn: bool
    ) -> None:
        """Signs held, and both gaps computed anew for every relabelling: by listing all of them."""
        before = np.array([0, 0, 0, 1, 0, 1, 0, 0, 1.0]), np.array([1, 1, 1, 1, 0, 0, 0, 0, 1.0])
        if kind == "scores":
            rng = np.random.default_rng(3)
            before = tuple(0.9 * one + 0.1 * rng.random(9) for one in before)  # type: ignore[assignment]
        old, new = before
        old = 1 - old if turn else old
        splits = [list(split) for split in itertools.combinations(range(9), 5)]

        def gaps(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.array(
                [values[split].mean() - np.delete(values, split).mean() for split in splits]
            )

        signed = gaps(np.sign(gaps(new)[0]) * new - np.sign(gaps(old)[0]) * old)
        anew = np.abs(gaps(new)) - np.abs(gaps(old))
        held, recomputed = (np.mean(one >= one[0] - 1e-12) for one in (signed, anew))
        make = rates if kind == "rates" else mean_scores
        found = grown(make(old[:5], old[5:]), make(new[:5], new[5:]))
        change = np.sign(gaps(new)[0]) * new - np.sign(gaps(old)[0]) * old
        welch = stats.ttest_ind(change[:5], change[5:], equal_var=False, alternative="greater")
        assert found.p_welch == pytest.approx(welch.pvalue)
        assert found.p_value == pytest.approx(max(held, recomputed))
        assert found.p_method == "exact"
        assert found.p_verdict == max(found.p_value, found.p_welch or 0)

    def test_a_gap_of_the_other_direction_counts_as_none(self) -> None:
        before, after = rates(table(2, 20), table(12, 20)), rates(table(14, 20), table(2, 20))
        found = outcome_growth_from_scores(before, after, alternative="greater")
        assert found.growth == pytest.approx(0.6)
        assert found.p_verdict < 0.001
        fallen = outcome_growth_from_scores(before, after, alternative="less")
        assert fallen.growth == pytest.approx(-0.5)
        assert fallen.p_verdict > 0.99

    def test_many_images_are_counted_by_the_kinds_of_their_pairs(self) -> None:
        """Both ways agree where no gap changes its sign in any likely relabelling."""
        before, after = rates(table(50, 400), table(30, 400)), rates(table(90, 400), table(30, 400))
        found = grown(before, after)
        assert found.p_method == "exact"
        assert found.p_value < 1e-6

    @pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 4), (2, 5), (4, 5)])
    @pytest.mark.parametrize("before", [0.0, 0.5])
    def test_the_smallest_p_has_a_mirror_image_where_groups_have_one_size(
        self, n: int, m: int, before: float
    ) -> None:
        """Exchanging the groups leaves the absolute gaps as they are."""
        make = rates if before == 0 else mean_scores
        old, new = make([before] * n, [before] * m), make([1] * n, [0] * m)
        splits = math.comb(n + m, n)
        assert grown(old, new).p_value == (2 if n == m else 1) / splits
        one_way = outcome_growth_from_scores(old, new, alternative="greater")
        assert one_way.p_value == 1 / splits
        assert one_way.p_method == "exact"

    def test_scores_of_more_relabellings_than_are_counted_are_drawn(self) -> None:
        """Of 2 against 449, listed by their pairs; p is the upper end of a 99.9 % interval."""
        rng = np.random.default_rng(6)
        old, new = rng.random((2, 451))
        new[:2] = 0.9, 0.8
        pairs = np.triu_indices(451, 1)

        def gaps(values: Vector) -> Vector:
            first = values[pairs[0]] + values[pairs[1]]
            apart: Vector = first / 2 - (values.sum() - first) / 449
            return apart

        growths = np.abs(gaps(new)) - np.abs(gaps(old))
        truth = np.mean(growths >= growths[0] - 1e-12)
        sides = (mean_scores(values[:2], values[2:]).side for values in (old, new))
        found = paired_permutation_test(*sides)
        assert found.method == "sampled"
        assert found.p_low <= truth <= found.p_value <= truth + 0.012

    def test_trials_count_by_the_spread_of_their_gaps(self) -> None:
        rng = np.random.default_rng(4)
        one = rates(table(4, 20), table(4, 20))
        each = [rates(rng.binomial(1, 0.7, 20), rng.binomial(1, 0.3, 20)) for _ in range(4)]
        found = grown(one, mean_outcome_scores(each))
        gaps = np.array([trial.first.mean() - trial.second.mean() for trial in each])
        t = gaps.mean() / (gaps.std(ddof=1) / 2)
        # A gap of 0 before has either sign.
        assert found.p_trials == pytest.approx(2 * stats.t.sf(t, 3))
        assert found.p_verdict == max(found.p_value, found.p_trials or 0)

    def test_a_model_compared_with_itself_has_not_changed(self) -> None:
        one = rates(table(2, 20), table(4, 20))
        found = grown(one, one)
        assert (found.growth, found.shift, found.p_verdict) == (0, 0, 1)
        assert (found.ci_low, found.ci_high, found.shift_ci_low, found.shift_ci_high) == (0,) * 4

    def test_scores_that_differ_by_rounding_have_not_changed_either(self) -> None:
        x, y = np.linspace(0.1, 0.9, 9), np.linspace(0.2, 0.7, 9)
        assert grown(mean_scores(x, y), mean_scores(x + 4e-7, y - 4e-7)).p_verdict == 1

    def test_exchanging_the_models_turns_the_shift(self) -> None:
        before, after = rates(table(2, 20), table(4, 25)), rates(table(9, 20), table(5, 25))
        one, other = grown(before, after), grown(after, before)
        assert (other.growth, other.shift) == pytest.approx((-one.growth, -one.shift))
        assert (other.shift_ci_low, other.shift_ci_high) == pytest.approx(
            (-one.shift_ci_high, -one.shift_ci_low)
        )
        shifts = outcome_shift_from_scores(before, after), outcome_shift_from_scores(after, before)
        assert shifts[0].p_verdict == pytest.approx(shifts[1].p_verdict)

    def test_it_does_not_depend_on_which_group_is_called_x(self) -> None:
        before, after = rates(table(2, 20), table(4, 25)), rates(table(9, 20), table(5, 25))
        other = grown(rates(before.second, before.first), rates(after.second, after.first))
        one = grown(before, after)
        assert (other.growth, other.ci_low, other.ci_high) == pytest.approx(
            (one.growth, one.ci_low, one.ci_high)
        )
        assert other.shift == pytest.approx(-one.shift)

    def test_the_interval_of_a_shift_of_scores_is_welchs_of_the_changes(self) -> None:
        rng = np.random.default_rng(2)
        x, y = rng.beta(2, 2, 12), rng.beta(2, 5, 20)
        x2, y2 = np.clip(x + 0.2, 0, 1), np.clip(y + rng.normal(0, 0.1, 20), 0, 1)
        found = grown(mean_scores(x, y), mean_scores(x2, y2))
        expected = stats.ttest_ind(x2 - x, y2 - y, equal_var=False).confidence_interval(0.95)
        assert (found.shift_ci_low, found.shift_ci_high) == pytest.approx(tuple(expected))

    @pytest.mark.parametrize(
        ("before", "after"),
        [((0.1, 0.1), (0.4, 0.1)), ((0.3, 0.1), (0.1, 0.4)), ((0.5, 0.5), (0.5, 0.5))],
    )
    def test_its_intervals_cover_what_they_say(
        self, before: tuple[float, float], after: tuple[float, float]
    ) -> None:
        """Half of the images keep their prediction, so that both models agree as far."""
        rng = np.random.default_rng(8)
        rate = [(b + a) / 2 for b, a in zip(before, after, strict=True)]
        gaps = before[0] - before[1], rate[0] - rate[1]
        hits = []
        for _ in range(500):
            old = [rng.binomial(1, p, n) for p, n in zip(before, (30, 50), strict=True)]
            new = [
                np.where(rng.random(len(one)) < 0.5, rng.binomial(1, p, len(one)), one)
                for one, p in zip(old, after, strict=True)
            ]
            found = grown(rates(*old), rates(*new))
            is_growth = found.ci_low <= abs(gaps[1]) - abs(gaps[0]) <= found.ci_high
            is_shift = found.shift_ci_low <= gaps[1] - gaps[0] <= found.shift_ci_high
            hits.append((is_growth, is_shift))
        assert np.mean(hits, axis=0).min() >= 0.92

    def test_of_other_sizes_they_are_refused(self) -> None:
        with pytest.raises(DegenerateTestError, match="before"):
            grown(rates([1, 0], [0, 1]), rates([1, 0, 1], [0, 1]))
