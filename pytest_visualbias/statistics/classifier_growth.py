"""Test whether a gap of rates or scores has grown between two models with the same images."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.classifier_gap import single_test_evidence
from pytest_visualbias.statistics.evidence import Evidence, compute_p_values, welch_p
from pytest_visualbias.statistics.growth import (
    GrowthResult,
    trials_estimate,
    trials_p,
    with_trials_p,
)
from pytest_visualbias.statistics.intervals import (
    UNCHANGED,
    Estimate,
    Estimates,
    RateEstimates,
    compute_estimates,
    direction_sign,
    opposite_sign,
    require_level,
    welch_error,
)
from pytest_visualbias.statistics.permutation.exact import (
    is_countable_by_value,
    permutation_test_by_value,
)
from pytest_visualbias.statistics.permutation.paired_labels import paired_permutation_test
from pytest_visualbias.statistics.permutation.sides import (
    PermutationResult,
    Side,
    least_certain_method,
    mean,
    require_alternative,
)
from pytest_visualbias.statistics.rates import PairedRates
from pytest_visualbias.statistics.scores import require_same_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.classifier_gap import OutcomeScores
    from pytest_visualbias.statistics.permutation.sides import Alternative

    Vector = NDArray[np.float64]
    Signs = tuple[float, float]


def outcome_growth_from_scores(
    before: OutcomeScores,
    after: OutcomeScores,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    is_retraining: bool = True,
) -> GrowthResult:
    """Test whether the gap between two groups has grown.

    Parameters
    ----------
    before, after : OutcomeScores
        Of the same images in the same order, by either model.
    alternative : {"two-sided", "greater", "less"}
        Gaps that count: of both directions, or of one. Growth itself is tested one-sided.
    confidence : float
        Of the intervals, between 0 and 1.
    is_retraining : bool
        Whether several trials are retrainings, whose variation counts (`trials_p`).

    Returns
    -------
    GrowthResult

    Raises
    ------
    DegenerateTestError
        If the models saw different numbers of images, or a group has fewer than two.

    Notes
    -----
    Null hypothesis: the absolute value of the gap is not larger after than before. `p_value` is the
    larger one of two. The first permutes labels on ``s_after y_after - s_before y_before``, y being
    the prediction of an image and s the sign of a gap, one-sided. As these signs are chosen by the
    data, it alone has up to twice its level: the second permutes labels on the pairs of both
    predictions and computes both gaps anew (`paired_permutation_test`). Welch's t is of the first,
    if the groups differ in size.

    For predictions, Newcombe's paired intervals of both groups are combined as his independent ones
    (`difference_interval`); for scores, intervals are Welch's, of the change of each image.
    Simulated coverage at 95 % for 20 to 200 predictions per group: 94 to 100 %, highest for rare
    predictions.
    """
    require_level(confidence)
    require_alternative(alternative)
    old, new, is_same = _sides(before, after)
    ends = old.difference, new.difference
    signs = direction_sign(ends[0], alternative), direction_sign(ends[1], alternative)
    if is_same:
        signs = 0.0, 0.0
    evidence = _evidence(_score_change(old, new, signs), "greater")
    if not is_same:
        recomputed = paired_permutation_test(old, new, alternative=alternative)
        evidence = _with_larger_p(evidence, recomputed)
    trials = None
    if is_retraining:
        gaps = (
            np.array(scores.trials or (end,))
            for scores, end in zip((before, after), ends, strict=True)
        )
        trials = trials_estimate(*(sign * gap for sign, gap in zip(signs, gaps, strict=True)))
    is_held = len(before.trials) < 2 and alternative == "two-sided"
    p_trials = None if trials is None else trials_p(trials, abs(ends[0]) if is_held else None)
    is_rate = before.is_rate and after.is_rate
    estimates = _estimates(old, new, signs, alternative, is_rate=is_rate, is_same=is_same)
    low, high = estimates.growth_interval(confidence)
    shift_low, shift_high = estimates.shift_interval(confidence)
    return GrowthResult(
        growth=signs[1] * ends[1] - signs[0] * ends[0],
        shift=0.0 if is_same else ends[1] - ends[0],
        flipped=not is_same and ends[0] * ends[1] < 0,
        ci_low=low,
        ci_high=high,
        shift_ci_low=shift_low,
        shift_ci_high=shift_high,
        confidence=confidence,
        before=ends[0],
        after=ends[1],
        p_trials=p_trials,
        estimates=estimates,
        trials=trials,
        **asdict(with_trials_p(evidence, p_trials)),
    )


def outcome_shift_from_scores(before: OutcomeScores, after: OutcomeScores) -> Evidence:
    """Test whether the signed gap has changed: labels permuted on the change, two-sided."""
    old, new, is_same = _sides(before, after)
    sign = 0.0 if is_same else 1.0
    return _evidence(_score_change(old, new, (sign, sign)), "two-sided")


def _sides(before: OutcomeScores, after: OutcomeScores) -> tuple[Side, Side, bool]:
    """Return the predictions of both models, and whether they differ by a constant only."""
    require_same_sizes(before.sizes, after.sizes, ("before", "after"))
    old, new = before.side, after.side
    change = new.pooled - old.pooled
    return old, new, bool(np.abs(change - mean(change)).max() <= UNCHANGED)


def _score_change(before: Side, after: Side, signs: Signs) -> Side:
    """Return the change of every prediction, each multiplied by the sign of its model."""
    return Side(
        first=signs[1] * after.first - signs[0] * before.first,
        second=signs[1] * after.second - signs[0] * before.second,
        roles=before.roles,
        magnitude=before.magnitude + after.magnitude,
    )


def _evidence(change: Side, alternative: Alternative) -> Evidence:
    if not is_countable_by_value(change):
        return compute_p_values(change, alternative=alternative, sides="targets")
    is_uneven = change.sizes[0] != change.sizes[1]
    welch = welch_p(change, alternative) if is_uneven else None
    return single_test_evidence(permutation_test_by_value(change, alternative=alternative), welch)


def _with_larger_p(evidence: Evidence, recomputed: PermutationResult) -> Evidence:
    """Return the p-values with the larger of two permutation p-values."""
    p = max(evidence.p_value, recomputed.p_value)
    both = PermutationResult(
        p_value=p,
        p_low=max(evidence.p_low, recomputed.p_low),
        p_high=max(evidence.p_high, recomputed.p_high),
        method=least_certain_method([evidence.p_method, recomputed.method]),
        p_saddlepoint=evidence.p_saddlepoint,
    )
    return single_test_evidence(both, evidence.p_welch)


def _estimates(
    old: Side,
    new: Side,
    signs: Signs,
    alternative: Alternative,
    *,
    is_rate: bool,
    is_same: bool,
) -> Estimates | RateEstimates:
    """Return the estimates from which the intervals of the change are computed."""
    if is_same:
        return Estimates()
    if is_rate:
        pairs = PairedRates.of(new.first, old.first), PairedRates.of(new.second, old.second)
        return RateEstimates(
            pairs=pairs,
            signs=signs,
            opposite=opposite_sign(signs[0], alternative),
            upwards=signs[1] or opposite_sign(0.0, alternative),
        )

    def signed_estimate(before: float, after: float) -> Estimate:
        change = _score_change(old, new, (before, after))
        error = welch_error(change.first, change.second)
        return Estimate(value=change.difference, error=error.value, freedom=error.freedom)

    return compute_estimates(signed_estimate, signs, alternative)
