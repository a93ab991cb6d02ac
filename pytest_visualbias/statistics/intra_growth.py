"""How the similarity within one set has changed between two models that saw the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.change import UNCHANGED
from pytest_visualbias.statistics.intra import jackknife_margin, left_out, similarity_of, within
from pytest_visualbias.statistics.scores import require_alike

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["IntraGrowthResult", "intra_growth_from_scores"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IntraGrowthResult:
    """How a mean similarity changed; fields are named as in `GrowthResult`, and it has no p.

    Attributes
    ----------
    growth : float
        ``|after| - |before|``.
    shift : float
        ``after - before``.
    flipped : bool
        Whether the mean similarity changed its sign.
    ci_low, ci_high : float
        Jackknife interval of `growth`.
    shift_ci_low, shift_ci_high : float
        Jackknife interval of `shift`.
    confidence : float
        Of both intervals.
    before, after : float
        The mean similarities.
    """

    growth: float
    shift: float
    flipped: bool
    ci_low: float
    ci_high: float
    shift_ci_low: float
    shift_ci_high: float
    confidence: float
    before: float
    after: float


def intra_growth_from_scores(
    before: ArrayLike, after: ArrayLike, *, confidence: float = 0.95
) -> IntraGrowthResult:
    """Measure how the similarity within a set has changed.

    Parameters
    ----------
    before, after : array_like
        `intra_scores` by each model, `(n_x,)`, perhaps of trials or a record; the same images in
        the same order.
    confidence : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    IntraGrowthResult

    Raises
    ------
    DegenerateTestError
        If there are fewer than three images, or the models saw different numbers of them.

    Notes
    -----
    The jackknife leaves each image out of both models at once, so that what the models share of
    it cancels; the interval is the estimate and a quantile of t with N - 1 degrees of freedom of
    standard errors. Where no image's score has moved by more than 1e-6, nothing has changed.

    Simulated coverage of the shift at 95 % (`benchmarks/RESULTS.md`): 95 to 100 %, the more the
    nearer the similarities are to zero.
    """
    old, new = within(before), within(after)
    require_alike({"X": len(old)}, {"X": len(new)}, ("before", "after"))
    ends = similarity_of(old), similarity_of(new)
    changed = bool(np.abs(new - old).max() > UNCHANGED)
    parts = left_out(old), left_out(new)
    growth, growth_margin = 0.0, 0.0
    shift, shift_margin = 0.0, 0.0
    if changed:
        growth, shift = abs(ends[1]) - abs(ends[0]), ends[1] - ends[0]
        # Near zero a part may be of the other sign, where its absolute value would vary too little.
        signed = [part * math.copysign(1, end) for part, end in zip(parts, ends, strict=True)]
        growth_margin = jackknife_margin(signed[1] - signed[0], confidence)
        shift_margin = jackknife_margin(parts[1] - parts[0], confidence)
    return IntraGrowthResult(
        growth=growth,
        shift=shift,
        flipped=ends[0] * ends[1] < 0,
        ci_low=growth - growth_margin,
        ci_high=growth + growth_margin,
        shift_ci_low=shift - shift_margin,
        shift_ci_high=shift + shift_margin,
        confidence=confidence,
        before=ends[0],
        after=ends[1],
    )
