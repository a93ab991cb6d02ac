"""Measure the similarity within one set, and its growth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.cosines import unit_rows
from pytest_visualbias.statistics.intervals import (
    UNCHANGED,
    Estimate,
    Estimates,
    compute_estimates,
    direction_sign,
    jackknife,
    jackknife_estimate,
    t_interval,
)
from pytest_visualbias.statistics.permutation.sides import mean, read_only
from pytest_visualbias.statistics.scores import require_same_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.cosines import Embeddings

    Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class IntraResult:
    """Mean similarity of the images of one set; it has no p-value, as nothing is compared.

    Attributes
    ----------
    effect_size, effect_judged : float
        Mean cosine of two different images.
    ci_low, ci_high : float
        Jackknife interval.
    confidence : float
        Of that interval.
    standard_error, degrees_of_freedom : float
        Of `effect_size`.
    n_x : int
        Size of the set.
    gap, p_value : None
        Always None, as nothing is compared.
    """

    effect_size: float
    effect_judged: float
    ci_low: float
    ci_high: float
    confidence: float
    standard_error: float
    degrees_of_freedom: float
    n_x: int
    gap: None = None
    p_value: None = None

    def interval(self, level: float) -> tuple[float, float]:
        """Interval of the similarity at a level between 0 and 1."""
        return _interval(self.effect_judged, self.standard_error, self.degrees_of_freedom, level)

    @property
    def bias_corrected(self) -> float:
        """The similarity, which is unbiased."""
        return self.effect_judged


def intra_similarity(X: ArrayLike, *, confidence: float = 0.95) -> IntraResult:
    """Measure how similar the images of one set are to each other.

    Parameters
    ----------
    X : array_like
        Embeddings, `(n_x, dim)`, three images or more.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    IntraResult

    Raises
    ------
    DegenerateTestError
        If the array is unusable or holds fewer than three images.

    Notes
    -----
    The mean off-diagonal cosine is ``(|sum x|^2 - N) / (N (N - 1))`` for unit rows [1]_. It is a
    U-statistic; the interval is the estimate and a quantile of t with N - 1 degrees of freedom of
    jackknife standard errors. Simulated coverage at 95 % (`benchmarks/RESULTS.md`): 94 to 97 %, and
    98 to 99 % where images are not alike at all.

    References
    ----------
    .. [1] J. Ranjit, T. Wang, B. Ray, V. Ordonez, arXiv 2303.07615, 2023, of whose random halves
       it is the expectation.
    """
    return intra_from_scores(intra_scores(X), confidence=confidence)


def intra_scores(X: Embeddings) -> Vector:
    """Return the mean cosine of each image with all others of its set, `(n_x,)`, read-only."""
    rows = unit_rows(X, "X")
    n = len(rows.rows)
    if n < 2:
        raise DegenerateTestError(
            "X holds 1 image", "at least three are needed for a similarity within it", role="X"
        )
    with_itself = (rows.rows * rows.rows).sum(axis=1)
    return read_only((n * rows.along(rows.centroid) - with_itself) / (n - 1), "X")


def mean_intra_scores(trials: Sequence[ArrayLike]) -> Vector:
    """Average `intra_scores` over trials of one recipe, image by image, `(n_x,)`, read-only.

    Raises
    ------
    DegenerateTestError
        If the trials differ in their sizes.
    """
    if not trials:
        message = "mean_intra_scores needs at least one trial"
        raise ValueError(message)
    each = [read_only(trial, "X") for trial in trials]
    for trial in each[1:]:
        require_same_sizes({"X": len(each[0])}, {"X": len(trial)}, ("the first trial", "another"))
    return read_only(np.mean(each, axis=0), "X")


def intra_from_scores(scores: ArrayLike, *, confidence: float = 0.95) -> IntraResult:
    """Return the similarity within a set from `intra_scores` or `mean_intra_scores`, `(n_x,)`."""
    each = checked_scores(scores)
    similarity = mean_similarity(each)
    error = jackknife(similarity, [similarity_without_each(each)])
    low, high = _interval(similarity, error.value, error.freedom, confidence)
    return IntraResult(
        effect_size=similarity,
        effect_judged=similarity,
        ci_low=low,
        ci_high=high,
        confidence=confidence,
        standard_error=error.value,
        degrees_of_freedom=error.freedom,
        n_x=len(each),
    )


def checked_scores(scores: ArrayLike) -> Vector:
    """Check `intra_scores`, `(n_x,)`, and return them read-only.

    Raises
    ------
    DegenerateTestError
        If there are fewer than three.
    """
    each = read_only(scores, "X")
    if len(each) < 3:
        raise DegenerateTestError(
            f"X holds {len(each)} images",
            "at least three are needed for a similarity within it",
            role="X",
        )
    return each


def mean_similarity(each: Vector) -> float:
    """Return the mean similarity."""
    # Rounding takes the cosines of identical rows a little over 1.
    return min(max(mean(each), -1.0), 1.0)


def similarity_without_each(each: Vector) -> Vector:
    """Return the mean similarity of the set without each image, `(n_x,)`."""
    n = len(each)
    # Without image i, the n (n - 1) ordered pairs lose its 2 (n - 1).
    without: Vector = (n * mean_similarity(each) - 2 * each) / (n - 2)
    return without


def _interval(
    similarity: float, standard_error: float, freedom: float, level: float
) -> tuple[float, float]:
    low, high = t_interval(similarity, standard_error, freedom, level)
    return max(low, -1.0), min(high, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class IntraGrowthResult:
    """Change of a mean similarity; fields are named as in `GrowthResult`, without p-values.

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
    estimates : Estimates
        Estimates from which intervals of other levels are computed.
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
    estimates: Estimates

    def interval(self, level: float) -> tuple[float, float]:
        """Confidence interval of the growth."""
        return self.estimates.growth_interval(level)

    def shift_interval(self, level: float) -> tuple[float, float]:
        """Confidence interval of the shift."""
        return self.estimates.shift_interval(level)


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
    old, new = checked_scores(before), checked_scores(after)
    require_same_sizes({"X": len(old)}, {"X": len(new)}, ("before", "after"))
    ends = mean_similarity(old), mean_similarity(new)
    is_same = bool(np.abs(new - old).max() <= UNCHANGED)
    signs = direction_sign(ends[0], "two-sided"), direction_sign(ends[1], "two-sided")
    if is_same:
        signs = 0.0, 0.0
    parts = similarity_without_each(old), similarity_without_each(new)

    def signed_estimate(before: float, after: float) -> Estimate:
        value = after * ends[1] - before * ends[0]
        return jackknife_estimate(value, [after * parts[1] - before * parts[0]])

    estimates = Estimates() if is_same else compute_estimates(signed_estimate, signs, "two-sided")
    low, high = estimates.growth_interval(confidence)
    shift_low, shift_high = estimates.shift_interval(confidence)
    return IntraGrowthResult(
        growth=signs[1] * ends[1] - signs[0] * ends[0],
        shift=0.0 if is_same else ends[1] - ends[0],
        flipped=ends[0] * ends[1] < 0,
        ci_low=low,
        ci_high=high,
        shift_ci_low=shift_low,
        shift_ci_high=shift_high,
        confidence=confidence,
        before=ends[0],
        after=ends[1],
        estimates=estimates,
    )
