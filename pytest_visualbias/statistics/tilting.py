"""Exponential tilting of a permutation distribution: bounds that are proven, a guess that is not.

A random subset S of k scores is drawn as if each were taken by itself with a probability that grows
with its score, given that k are taken. Such weights make any observed sum a typical one, which is
what keeps relative accuracy in a far tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit, ndtr

from pytest_visualbias.statistics.tail import log_subsets

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.tail import Tail

    Vector = NDArray[np.float64]

__all__ = ["Tilt", "deviation_of", "log_mean_exp", "saddlepoint_of", "tilt_of"]

_STEPS: Final = 60
_CLOSE: Final = 1e-9
_NEARLY_FLAT: Final = 1e-2
_STEEPEST: Final = 200.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tilt:
    """Weights under which the threshold of a tail is a typical sum.

    Attributes
    ----------
    slope : float
        How the logarithm of the odds of being taken grows with the score; not negative.
    shares : ndarray
        `(n,)`, the probability of each score to be taken; they sum to the size of the subsets.
    log_chernoff : float
        Logarithm of a proven upper bound of the tail's probability.
    """

    slope: float
    shares: Vector
    log_chernoff: float

    @property
    def variances(self) -> Vector:
        """Variance of each score's being taken, `(n,)`; never zero."""
        return np.maximum(self.shares * (1 - self.shares), _CLOSE * _CLOSE)


def tilt_of(tail: Tail) -> Tilt:
    """Find the weights that suit a tail.

    Notes
    -----
    The slope solves the two equations of the double saddlepoint by Newton's method. Whatever slope
    comes out, the bound ``P(sum >= t) <= E[exp(slope (sum - t))]`` (Chernoff) holds.
    """
    slope = _slope(tail)
    exponents = slope * tail.scores
    shares: Vector = expit(exponents + _shift(exponents, tail.size))
    log_chernoff = min(0.0, log_mean_exp(exponents, tail.size) - slope * tail.threshold)
    return Tilt(slope=slope, shares=shares, log_chernoff=log_chernoff)


def log_mean_exp(exponents: Vector, size: int) -> float:
    """Logarithm of the mean of ``exp(sum of exponents over S)`` over all subsets S of a size.

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


def saddlepoint_of(tail: Tail, tilt: Tilt | None = None) -> float:
    """Approximate the probability of a tail, to a few per cent in most cases.

    Parameters
    ----------
    tail : Tail
        The subsets asked for.
    tilt : Tilt or None
        Its weights, where they are known already.

    Returns
    -------
    float
        Between the probability of a single subset and Chernoff's bound.

    Notes
    -----
    Skovgaard's formula of Lugannani and Rice's kind for the sum given the number taken [1]_, [2]_.
    It is a guess: it says how fine a grid must be, and never decides.

    References
    ----------
    .. [1] J. Robinson, "Saddlepoint approximations for permutation tests and confidence
       intervals", J. R. Statist. Soc. B 44, 91-101, 1982.
    .. [2] I. M. Skovgaard, "Saddlepoint expansions for conditional distributions", Journal of
       Applied Probability 24, 875-887, 1987.
    """
    tilt = tilt or tilt_of(tail)
    least, most = math.exp(-tail.log_subsets), math.exp(tilt.log_chernoff)
    return min(max(_skovgaard(tail, tilt), least), most)


def _skovgaard(tail: Tail, tilt: Tilt) -> float:
    """Evaluate the formula; by the normal distribution where the formula is near 0 / 0."""
    deviation = deviation_of(tail)
    if tilt.slope * deviation < _NEARLY_FLAT:
        return float(ndtr(-tail.threshold / deviation))
    n, size = len(tail.scores), tail.size
    centred = tail.scores - (tilt.variances @ tail.scores) / tilt.variances.sum()
    determinant = float(tilt.variances.sum() * (tilt.variances @ (centred * centred)))
    flat = size * (n - size) / n
    exponent = _log_odds_sum(tilt.slope * tail.scores, size) - _log_odds_sum(np.zeros(n), size)
    exponent -= tilt.slope * tail.threshold
    signed = math.sqrt(max(-2 * exponent, _CLOSE))
    width = max(tilt.slope * math.sqrt(determinant / flat), _CLOSE)
    density = math.exp(-signed * signed / 2) / math.sqrt(2 * math.pi)
    return float(ndtr(-signed)) + density * (1 / width - 1 / signed)


def deviation_of(tail: Tail) -> float:
    """Find the standard deviation of the sum of a random subset."""
    n, size = len(tail.scores), tail.size
    return math.sqrt(size * (n - size) / n * float(tail.scores @ tail.scores) / (n - 1))


def _slope(tail: Tail) -> float:
    """Slope at which the expected sum is the threshold; zero on the near side of the middle."""
    if tail.threshold <= 0:
        return 0.0
    scores, unit = tail.scores, float(np.abs(tail.scores).max())
    slope = 0.0
    for _ in range(_STEPS):
        shares = expit(slope * scores + _shift(slope * scores, tail.size))
        taken = shares * (1 - shares)
        centred = scores - (taken @ scores) / max(float(taken.sum()), _CLOSE)
        curvature = float(taken @ (centred * centred))
        missing = tail.threshold - float(shares @ scores)
        # No slope reaches a complete separation: any steep one will do.
        if curvature < _CLOSE * unit * unit or slope * unit > _STEEPEST:
            break
        step = missing / curvature
        slope = max(0.0, slope + min(step, 1 / unit + slope))
        if abs(step) * unit < _CLOSE:
            break
    return min(slope, _STEEPEST / unit)


def _shift(exponents: Vector, size: int) -> float:
    """Shift of these log-odds at which the probabilities sum to `size`, about."""
    fair = float(logit(size / len(exponents)))
    low, high = fair - float(exponents.max()), fair - float(exponents.min())
    shift = (low + high) / 2
    for _ in range(_STEPS):
        shares = expit(exponents + shift)
        excess = float(shares.sum()) - size
        low, high = (low, shift) if excess > 0 else (shift, high)
        slope = float((shares * (1 - shares)).sum())
        newton = shift - excess / slope if slope > 0 else math.nan
        moved = newton if low <= newton <= high else (low + high) / 2
        if abs(moved - shift) < _CLOSE:
            break
        shift = moved
    return shift


def _log_odds_sum(exponents: Vector, size: int) -> float:
    """Logarithm of the product of ``1 + odds``, over what the shift adds to each subset."""
    shift = _shift(exponents, size)
    return float(np.logaddexp(0, exponents + shift).sum()) - shift * size


def _log_polynomial(exponents: Vector, size: int) -> float:
    """Logarithm of the elementary symmetric polynomial of the exponentials."""
    chance = _chance(expit(exponents + _shift(exponents, size)), size)
    return _log_odds_sum(exponents, size) + math.log(chance)


def _chance(shares: Vector, size: int) -> float:
    """Probability that exactly `size` of independent events happen."""
    chances = np.zeros(size + 1)
    chances[0] = 1.0
    for share in shares.tolist():
        chances[1:] = chances[1:] * (1 - share) + chances[:-1] * share
        chances[0] *= 1 - share
    return float(chances[size])
