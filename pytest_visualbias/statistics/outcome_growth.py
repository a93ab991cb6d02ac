"""Whether a gap of rates or scores has changed between two models that saw the same images."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.change import UNCHANGED
from pytest_visualbias.statistics.evidence import weigh, welch_p
from pytest_visualbias.statistics.growth import GrowthResult
from pytest_visualbias.statistics.hypergeometric import (
    is_countable_by_value,
    permutation_test_by_value,
)
from pytest_visualbias.statistics.intervals import require_level, t_interval, welch_error
from pytest_visualbias.statistics.outcomes import alone
from pytest_visualbias.statistics.proportions import apart, paired
from pytest_visualbias.statistics.scores import require_alike
from pytest_visualbias.statistics.side import Side, mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.evidence import Evidence
    from pytest_visualbias.statistics.outcomes import OutcomeScores

    Vector = NDArray[np.float64]
    Signs = tuple[float, float]
    Interval = tuple[float, float]

__all__ = ["outcome_growth_from_scores"]


def outcome_growth_from_scores(
    before: OutcomeScores,
    after: OutcomeScores,
    *,
    confidence: float = 0.95,
) -> GrowthResult:
    """Test whether the gap between two groups has changed.

    Parameters
    ----------
    before, after : OutcomeScores
        Of the same images in the same order, by either model.
    confidence : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    GrowthResult

    Raises
    ------
    DegenerateTestError
        If the models saw different numbers of images, or a group has fewer than two.

    Notes
    -----
    Null hypothesis: how the prediction of an image changed has nothing to do with its group. The
    change is -1, 0 or 1 (or a difference of scores), the shift is the difference of its means, and
    the labels are permuted, two-sided; with Welch's t where the groups differ in size.

    The intervals of predictions are made of Newcombe's paired one in each group, joined as he joins
    independent ones (`apart`); those of scores are Welch's of the change of each image. That of the
    growth takes both gaps with the sign that they have. Simulated coverage at 95 %, of 20 to 200
    predictions a group: 94 to 100 %, the more the rarer they are.
    """
    require_level(confidence)
    require_alike(before.sizes, after.sizes, ("before", "after"))
    old, new = before.side, after.side
    delta = _delta(old, new)
    changed = bool(delta.pooled.any())
    ends = old.difference, new.difference
    is_rate = before.is_rate and after.is_rate
    growth, shift, growth_ci, shift_ci = 0.0, 0.0, (0.0, 0.0), (0.0, 0.0)
    if changed:
        growth, shift = abs(ends[1]) - abs(ends[0]), ends[1] - ends[0]
        growth_ci = _interval(old, new, _signs(*ends), confidence, is_rate=is_rate)
        shift_ci = _interval(old, new, (1.0, 1.0), confidence, is_rate=is_rate)
    return GrowthResult(
        growth=growth,
        shift=shift,
        flipped=ends[0] * ends[1] < 0,
        ci_low=max(growth_ci[0], -1.0),
        ci_high=min(growth_ci[1], 1.0),
        shift_ci_low=max(shift_ci[0], -2.0),
        shift_ci_high=min(shift_ci[1], 2.0),
        confidence=confidence,
        before=ends[0],
        after=ends[1],
        **asdict(_evidence(delta)),
    )


def _evidence(delta: Side) -> Evidence:
    if not is_countable_by_value(delta):
        return weigh(delta, alternative="two-sided", sides="targets")
    welch = welch_p(delta) if delta.sizes[0] != delta.sizes[1] else None
    return alone(permutation_test_by_value(delta), welch)


def _delta(before: Side, after: Side) -> Side:
    """Change of every score; exactly zero where it is the same for all images."""
    first, second = after.first - before.first, after.second - before.second
    pooled = np.concatenate([first, second])
    if np.abs(pooled - mean(pooled)).max() <= UNCHANGED:
        first, second = np.zeros_like(first), np.zeros_like(second)
    magnitude = before.magnitude + after.magnitude
    return Side(first=first, second=second, roles=before.roles, magnitude=magnitude)


def _signs(before: float, after: float) -> Signs:
    """Signs with which the two gaps are their absolute values; of a gap of 0, that of the other."""
    return math.copysign(1, before or after), math.copysign(1, after or before)


def _interval(
    before: Side, after: Side, signs: Signs, confidence: float, *, is_rate: bool
) -> Interval:
    """Interval of the gap after less that before, each with its sign."""
    pairs = ((before.first, after.first), (before.second, after.second))
    if not is_rate:
        first, second = (signs[1] * new - signs[0] * old for old, new in pairs)
        error = welch_error(first, second)
        return t_interval(mean(first) - mean(second), error.value, error.freedom, confidence)
    # A share of opposite sign is, but for a constant that both groups have, one of its complement.
    turned = [(_turned(new, signs[1]), _turned(old, signs[0])) for old, new in pairs]
    one, other = (
        (mean(new) - mean(old), paired(new, old, confidence=confidence)) for new, old in turned
    )
    return apart(one, other)


def _turned(shares: Vector, sign: float) -> Vector:
    return shares if sign > 0 else 1 - shares
