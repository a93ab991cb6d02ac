"""Approximate the tail probability of a permuted sum by a saddlepoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import expit, logit, ndtr

from pytest_visualbias.statistics.permutation.sides import log_subsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Tail

    Vector = NDArray[np.float64]

_STEPS: Final = 60
_PRECISION: Final = 1e-9
_NEARLY_FLAT: Final = 1e-2
_STEEPEST: Final = 200.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tilt:
    """Exponential tilt under which the expected sum is the threshold of a tail.

    Attributes
    ----------
    slope : float
        Increase of the log-odds that a score is in the subset per unit of score; not negative.
    shares : ndarray
        `(n,)`, the probability that each score is in the subset; they sum to the size.
    log_chernoff : float
        Logarithm of a proven upper bound of the tail's probability.
    """

    slope: float
    shares: Vector
    log_chernoff: float

    @property
    def variances(self) -> Vector:
        """Variance of the membership of each score, `(n,)`; never zero."""
        return np.maximum(self.shares * (1 - self.shares), _PRECISION * _PRECISION)


def tilt_for_tail(tail: Tail) -> Tilt:
    """Compute the tilt of a tail.

    Notes
    -----
    The slope solves the two equations of the double saddlepoint by Newton's method. Whatever slope
    results, the bound ``P(sum >= t) <= E[exp(slope (sum - t))]`` (Chernoff) holds.
    """
    slope = _solve_slope(tail)
    exponents = slope * tail.scores
    shares: Vector = expit(exponents + _log_odds_shift(exponents, tail.size))
    log_chernoff = min(0.0, log_mean_exp(exponents, tail.size) - slope * tail.threshold)
    return Tilt(slope=slope, shares=shares, log_chernoff=log_chernoff)


def log_mean_exp(exponents: Vector, size: int) -> float:
    """Return the log of the mean of ``exp(sum of exponents over S)`` over subsets S of a size.

    Parameters
    ----------
    exponents : ndarray
        `(n,)`.
    size : int
        Of the subsets, between 1 and n - 1.

    Notes
    -----
    It is the elementary symmetric polynomial of the exponentials, over the number of subsets. Drawn
    as independent events whose expected number is `size`, the polynomial is the probability that
    just so many happen, times known factors: a sum of positive terms, so no digits are lost.
    """
    return _log_polynomial(exponents, size) - log_subsets(len(exponents), size)


def saddlepoint_probability(tail: Tail, tilt: Tilt | None = None) -> float:
    """Approximate the probability of a tail, to a few per cent in most cases.

    Parameters
    ----------
    tail : Tail
        Subsets whose probability is approximated.
    tilt : Tilt or None
        The tilt of the tail, if it is known.

    Returns
    -------
    float
        Between the probability of a single subset and Chernoff's bound.

    Notes
    -----
    Skovgaard's formula of Lugannani and Rice's kind for the sum given the number taken [1]_, [2]_.
    It chooses how fine a grid must be, and decides no bracketed p.

    References
    ----------
    .. [1] J. Robinson, "Saddlepoint approximations for permutation tests and confidence
       intervals", J. R. Statist. Soc. B 44, 91-101, 1982.
    .. [2] I. M. Skovgaard, "Saddlepoint expansions for conditional distributions", Journal of
       Applied Probability 24, 875-887, 1987.
    """
    tilt = tilt or tilt_for_tail(tail)
    smallest, largest = math.exp(-tail.log_subsets), math.exp(tilt.log_chernoff)
    return min(max(_skovgaard_formula(tail, tilt), smallest), largest)


def _skovgaard_formula(tail: Tail, tilt: Tilt) -> float:
    """Evaluate the formula, or the normal distribution if the formula is near 0 / 0."""
    deviation = sum_deviation(tail)
    if tilt.slope * deviation < _NEARLY_FLAT:
        return float(ndtr(-tail.threshold / deviation))
    n, size = len(tail.scores), tail.size
    centred = tail.scores - (tilt.variances @ tail.scores) / tilt.variances.sum()
    determinant = float(tilt.variances.sum() * (tilt.variances @ (centred * centred)))
    null_variance = size * (n - size) / n
    exponent = _log_odds_sum(tilt.slope * tail.scores, size) - _log_odds_sum(np.zeros(n), size)
    exponent -= tilt.slope * tail.threshold
    signed_root = math.sqrt(max(-2 * exponent, _PRECISION))
    scaled_slope = max(tilt.slope * math.sqrt(determinant / null_variance), _PRECISION)
    density = math.exp(-signed_root * signed_root / 2) / math.sqrt(2 * math.pi)
    return float(ndtr(-signed_root)) + density * (1 / scaled_slope - 1 / signed_root)


def sum_deviation(tail: Tail) -> float:
    """Return the standard deviation of the sum of a random subset."""
    n, size = len(tail.scores), tail.size
    return math.sqrt(size * (n - size) / n * float(tail.scores @ tail.scores) / (n - 1))


def _solve_slope(tail: Tail) -> float:
    """Return the slope at which the expected sum is the threshold; 0 for a threshold below 0."""
    if tail.threshold <= 0:
        return 0.0
    scores, largest = tail.scores, float(np.abs(tail.scores).max())
    slope = 0.0
    for _ in range(_STEPS):
        shares = expit(slope * scores + _log_odds_shift(slope * scores, tail.size))
        variances = shares * (1 - shares)
        centred = scores - (variances @ scores) / max(float(variances.sum()), _PRECISION)
        curvature = float(variances @ (centred * centred))
        difference = tail.threshold - float(shares @ scores)
        # No slope reaches a complete separation, so the iteration stops at a steep slope.
        if curvature < _PRECISION * largest * largest or slope * largest > _STEEPEST:
            break
        step = difference / curvature
        slope = max(0.0, slope + min(step, 1 / largest + slope))
        if abs(step) * largest < _PRECISION:
            break
    return min(slope, _STEEPEST / largest)


def _log_odds_shift(exponents: Vector, size: int) -> float:
    """Return about the shift of the log-odds at which the probabilities sum to `size`."""
    equal_odds = float(logit(size / len(exponents)))
    low, high = equal_odds - float(exponents.max()), equal_odds - float(exponents.min())
    shift = (low + high) / 2
    for _ in range(_STEPS):
        shares = expit(exponents + shift)
        excess = float(shares.sum()) - size
        low, high = (low, shift) if excess > 0 else (shift, high)
        slope = float((shares * (1 - shares)).sum())
        newton_step = shift - excess / slope if slope > 0 else math.nan
        next_shift = newton_step if low <= newton_step <= high else (low + high) / 2
        if abs(next_shift - shift) < _PRECISION:
            break
        shift = next_shift
    return shift


def _log_odds_sum(exponents: Vector, size: int) -> float:
    """Return the log of the product of ``1 + odds`` without the factor of the shift."""
    shift = _log_odds_shift(exponents, size)
    return float(np.logaddexp(0, exponents + shift).sum()) - shift * size


def _log_polynomial(exponents: Vector, size: int) -> float:
    """Return the logarithm of the elementary symmetric polynomial of the exponentials."""
    probability = _count_probability(expit(exponents + _log_odds_shift(exponents, size)), size)
    return _log_odds_sum(exponents, size) + math.log(probability)


def _count_probability(shares: Vector, size: int) -> float:
    """Return the probability that exactly `size` independent events happen."""
    probabilities = np.zeros(size + 1)
    probabilities[0] = 1.0
    for share in shares.tolist():
        probabilities[1:] = probabilities[1:] * (1 - share) + probabilities[:-1] * share
        probabilities[0] *= 1 - share
    return float(probabilities[size])
