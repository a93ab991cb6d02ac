"""Intervals of effects, against the jackknife written anew in plain numpy, and their coverage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_visualbias.statistics.association import (
    association_from_scores,
    association_test,
    contrast_from_scores,
)
from pytest_visualbias.statistics.classifier_gap import OutcomeScores, outcome_from_scores
from pytest_visualbias.statistics.contrast_scores import mean_contrast_scores
from pytest_visualbias.statistics.intervals import jackknife, pooled_freedom, t_interval
from pytest_visualbias.statistics.intra_similarity import intra_similarity
from pytest_visualbias.statistics.leave_one_out import effect_uncertainty
from pytest_visualbias.statistics.scores import Scores, association_scores, mean_scores
from tests.statistics.definitions import (
    JUDGED,
    ROLES,
    drawn,
    gap_in_cosines,
    score,
    target_effect,
    without_each,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.statistics.association import AssociationResult, ContrastResult
    from tests.statistics.definitions import Effect, Sets

SIZES = st.tuples(*[st.integers(2, 6)] * 4)
SEEDS = st.integers(0, 2**32 - 1)


def result(kind: str, s: Sets, confidence: float = 0.95) -> AssociationResult | ContrastResult:
    scores = score(kind, s)
    if isinstance(scores, Scores):
        return association_from_scores(scores, confidence=confidence)
    return contrast_from_scores(scores, confidence=confidence)


def defined(
    kind: str, trials: Sequence[Sets], effect: Effect, level: float
) -> tuple[float, float, float]:
    """Ends of the interval and the bias-corrected estimate, every smaller set recomputed."""
    estimate = float(np.mean([effect(s) for s in trials]))
    variances, weights, bias = 0.0, 0.0, 0.0
    for role in ROLES[kind]:
        n = len(trials[0][role])
        if n < 2:
            continue
        values = without_each(trials, role, effect)
        variance = (n - 1) / n * ((values - values.mean()) ** 2).sum()
        variances += variance
        weights += variance**2 / (n - 1)
        bias += (n - 1) * (values.mean() - estimate)
    freedom = variances**2 / weights
    margin = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variances)
    return estimate - margin, estimate + margin, estimate - bias


@pytest.mark.parametrize("kind", [*ROLES])
def test_a_hundred_random_cases_equal_the_definition(kind: str) -> None:
    rng = np.random.default_rng(46)
    for _ in range(100):
        n = [int(size) for size in rng.integers(2, 7, 4)]
        sets = drawn(n, rng, push=rng.uniform(0, 1), apart=rng.uniform(0, 3))
        level = float(rng.choice([0.8, 0.9, 0.95, 0.999]))
        got = result(kind, sets, level)
        low, high, corrected = defined(kind, [sets], JUDGED[kind], level)
        assert (got.ci_low, got.ci_high) == pytest.approx((low, high), abs=1e-7)
        assert got.interval(level) == (got.ci_low, got.ci_high)
        assert got.bias_corrected == pytest.approx(corrected, abs=1e-7)
        gap = defined(kind, [sets], lambda s: gap_in_cosines(kind, s), level)
        assert (got.gap_ci_low, got.gap_ci_high) == pytest.approx(gap[:2], abs=1e-9)
        assert got.gap_interval(level) == (got.gap_ci_low, got.gap_ci_high)
        assert gap[2] == pytest.approx(got.gap, abs=1e-9), "a difference of means has no bias"


@pytest.mark.parametrize("kind", [*ROLES])
def test_trials_give_the_interval_of_their_mean_effect(kind: str) -> None:
    """Of the weaker of the two mean effects, where there are two sides."""
    rng = np.random.default_rng(47)
    trials = [drawn((4, 5, 6, 4), rng, push=0.8) for _ in range(3)]
    each = [score(kind, sets) for sets in trials]
    got: AssociationResult | ContrastResult
    effect: Effect
    if kind == "ieat":
        means = mean_scores([one for one in each if isinstance(one, Scores)])
        got = association_from_scores(means, sides="targets")
        effect = target_effect
    else:
        contrasts = [one for one in each if not isinstance(one, Scores)]
        got, effect = contrast_from_scores(mean_contrast_scores(contrasts)), JUDGED[kind]
    low, high, corrected = defined(kind, trials, effect, 0.95)
    assert (got.ci_low, got.ci_high) == pytest.approx((low, high))
    assert got.bias_corrected == pytest.approx(corrected)
    gap = defined(kind, trials, lambda s: gap_in_cosines(kind, s), 0.95)
    assert (got.gap_ci_low, got.gap_ci_high) == pytest.approx(gap[:2])


def test_a_set_of_one_stimulus_counts_as_held() -> None:
    sets = drawn((1, 5, 4, 6), np.random.default_rng(48))
    got = result("sc-eat", sets)
    low, high, _ = defined("sc-eat", [sets], JUDGED["sc-eat"], 0.95)
    assert (got.ci_low, got.ci_high) == pytest.approx((low, high))


def test_targets_alone_have_the_interval_of_the_target_side() -> None:
    sets = drawn((4, 6, 3, 5), np.random.default_rng(49), push=0.3)
    got = association_test(*sets.values(), sides="targets")
    low, high, _ = defined("ieat", [sets], target_effect, 0.95)
    assert (got.ci_low, got.ci_high) == pytest.approx((low, high))


def test_sets_that_do_not_vary_within_themselves_have_an_interval_without_width() -> None:
    rng = np.random.default_rng(50)
    X, Y, A, B = (np.repeat(rng.standard_normal((1, 8)), 4, axis=0) for _ in range(4))
    got = association_test(X, Y, A, B)
    assert got.standard_error == pytest.approx(0, abs=1e-7)
    assert got.interval(0.95) == pytest.approx((got.effect_judged, got.effect_judged), abs=1e-6)


def test_scores_from_a_record_have_none() -> None:
    scores = association_scores(*drawn((5, 5, 5, 5), np.random.default_rng(51)).values())
    recorded = Scores(x=scores.x, y=scores.y, a=scores.a, b=scores.b, gap=scores.gap)
    got = association_from_scores(recorded)
    assert (got.ci_low, got.ci_high, got.wide_low, got.standard_error) == (None,) * 4
    for interval in (got.interval, got.gap_interval):
        with pytest.raises(ValueError, match="cosines"):
            interval(0.95)


@pytest.mark.property
@pytest.mark.parametrize("kind", [*ROLES])
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_it_is_finite_around_the_effect_and_wider_at_higher_levels(
    kind: str, n: tuple[int, ...], seed: int
) -> None:
    got = result(kind, drawn(n, np.random.default_rng(seed), push=0.3))
    narrow, wide = got.interval(0.5), got.interval(0.99)
    assert np.isfinite([*narrow, *wide]).all()
    assert wide[0] <= narrow[0] <= got.effect_judged <= narrow[1] <= wide[1]


@pytest.mark.property
@pytest.mark.parametrize("kind", [*ROLES])
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_order_and_scale_do_not_matter(kind: str, n: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = drawn(n, rng, push=0.4)
    changed = {
        role: rng.permutation(rows * rng.uniform(0.01, 100, (len(rows), 1)))
        for role, rows in sets.items()
    }
    one, other = result(kind, sets), result(kind, changed)
    assert other.interval(0.95) == pytest.approx(one.interval(0.95), rel=1e-6, abs=1e-8)
    assert other.gap_interval(0.95) == pytest.approx(one.gap_interval(0.95), rel=1e-6, abs=1e-10)


@pytest.mark.property
@given(n=SIZES, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_exchanging_sets_mirrors_it(n: tuple[int, ...], seed: int) -> None:
    X, Y, A, B = drawn(n, np.random.default_rng(seed), push=0.4).values()
    low, high = association_test(X, Y, A, B).interval(0.95)
    for turned in ((Y, X, A, B), (X, Y, B, A)):
        got = association_test(*turned).interval(0.95)
        assert got == pytest.approx((-high, -low), rel=1e-6, abs=1e-8)
    for same in ((Y, X, B, A), (A, B, X, Y)):
        got = association_test(*same).interval(0.95)
        assert got == pytest.approx((low, high), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95.0, math.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        t_interval(0.0, 1.0, 5.0, confidence)
    with pytest.raises(ValueError, match="between 0 and 1"):
        result("ieat", drawn((4, 4, 4, 4), np.random.default_rng(0)), confidence)


def test_the_jackknife_of_a_difference_of_means_is_that_of_welch() -> None:
    rng = np.random.default_rng(52)
    first, second = rng.standard_normal(7), 3 * rng.standard_normal(12)
    estimate = float(first.mean() - second.mean())
    without = [
        (first.sum() - first) / 6 - second.mean(),
        first.mean() - (second.sum() - second) / 11,
    ]
    got = jackknife(estimate, without)
    theirs = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    assert t_interval(estimate, got.value, got.freedom, 0.9) == pytest.approx(
        (theirs.low, theirs.high)
    )
    assert got.bias == pytest.approx(0, abs=1e-12)


def test_equal_variances_of_equal_sets_pool_their_freedom() -> None:
    assert pooled_freedom([2.0, 2.0, 2.0], [5, 5, 5]) == pytest.approx(12)
    assert pooled_freedom([1.0, 0.0], [5, 9]) == pytest.approx(4)
    assert pooled_freedom([0.0, 0.0], [5, 9]) == 12


class TestOtherKinds:
    def test_a_similarity_within_a_set_has_intervals_of_every_level(self) -> None:
        got = intra_similarity(np.random.default_rng(53).standard_normal((9, 6)) + 1)
        assert got.interval(0.95) == (got.ci_low, got.ci_high)
        margin = float(stats.t.ppf(0.95, 8)) * got.standard_error
        assert got.interval(0.9) == pytest.approx(
            (got.effect_judged - margin, got.effect_judged + margin)
        )

    def test_mean_scores_of_a_classifier_have_the_interval_of_welch(self) -> None:
        rng = np.random.default_rng(54)
        first, second = rng.uniform(size=9), rng.uniform(size=14)
        got = outcome_from_scores(OutcomeScores(first=first, second=second, is_rate=False))
        test = stats.ttest_ind(first, second, equal_var=False)
        for level in (0.8, 0.95):
            theirs = test.confidence_interval(level)
            assert got.interval(level) == pytest.approx((theirs.low, theirs.high))
        assert got.interval(0.95) == got.gap_interval(0.95) == (got.ci_low, got.ci_high)

    def test_rates_of_a_classifier_have_narrower_intervals_at_lower_levels(self) -> None:
        first, second = np.repeat([0.0, 1], [4, 8]), np.repeat([0.0, 1], [7, 3])
        got = outcome_from_scores(OutcomeScores(first=first, second=second, is_rate=True))
        assert got.interval(0.95) == pytest.approx((got.ci_low, got.ci_high))
        low, high = got.interval(0.5)
        assert got.ci_low < low < got.gap < high < got.ci_high


@pytest.mark.parametrize("push", [0.0, 1.5])
def test_it_covers_the_effect_of_the_populations(push: float) -> None:
    """The simulation error of 200 draws is 1.5 points; the truth is of 2,000 images a set."""
    rng = np.random.default_rng(55)
    large = association_scores(*drawn((2000,) * 4, rng, push=push).values())
    truth = min(large.targets.difference, large.attributes.difference, key=abs) if push else 0.0
    covered = []
    for _ in range(200):
        scores = association_scores(*drawn((10, 10, 10, 10), rng, push=push).values())
        judged = min(scores.targets.difference, scores.attributes.difference, key=abs)
        found = effect_uncertainty(scores, judged, "both", 0.95)
        covered.append(found["ci_low"] <= truth <= found["ci_high"])
    assert 0.91 <= np.mean(covered) <= 0.995
