"""Approximate the distribution of a permuted difference: saddlepoint and grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import expit, logit, ndtr

from pytest_visualbias.statistics.permutation.sides import log_subsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Tail

    Vector = NDArray[np.float64]
    Counts = NDArray[np.float32]
    Integers = NDArray[np.int64]

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
    smallest, largest = math.exp(-tail.log_subsets), math.exp(tilt.log_chernoff)
    return min(max(_skovgaard(tail, tilt), smallest), largest)


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


ROUNDING: Final = 2.0**-24

# Counts are floats of four bytes: the smallest normal one is 2^-126, the largest 2^128.
LEAST: Final = 2.0**-120
_RARELY: Final = 1e-9
_MOST: Final = 2.0**245


@dataclass(frozen=True, kw_only=True, eq=False)
class Half:
    """One half of the scores, in the order in which they are added, and the windows.

    Attributes
    ----------
    units : ndarray
        `(m,)`, scores in grid steps, rounded.
    low, high : ndarray
        `(m,)`: sums from low to high, both included, are followed after each score.
    first, last : ndarray
        `(m,)`: so are the numbers of scores taken from first to last.
    """

    units: Integers
    low: Integers
    high: Integers
    first: Integers
    last: Integers

    @property
    def shape(self) -> tuple[int, int]:
        """How many numbers of scores taken, and how many sums, there are at the end."""
        return int(self.last[-1]) + 1, int(self.high[-1] - self.low[-1]) + 1

    @cached_property
    def cells(self) -> int:
        """How many additions it takes."""
        return int(((self.high - self.low + 1) * (self.last - self.first + 1)).sum())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HalfSums:
    """How many subsets of a half have each sum.

    Attributes
    ----------
    counts : ndarray
        `(numbers taken, sums)`, in units of `LEAST`.
    low : int
        The sum of the first column.
    """

    counts: Counts
    low: int


def is_in_range(n: int, size: int) -> bool:
    """Tell whether the subsets of either half of n scores can be counted in floats."""
    half = (n + 1) // 2
    return log_subsets(half, min(size, half // 2)) < math.log(_MOST)


def deal(n: int) -> tuple[Integers, Integers]:
    """Deal the places of n ascending scores into two like halves, small scores first in each.

    Each half gets every other pair of a low and a high score, so that both sum to about nothing;
    with the small scores first, sums stay close together for long.
    """
    inwards = np.arange(n // 2)
    pairs = np.stack([inwards, n - 1 - inwards], axis=1)[::-1]
    middle = np.arange(n // 2, n - n // 2)
    return np.concatenate([middle, pairs[::2].ravel()]), pairs[1::2].ravel()


def half_of(scores: Vector, shares: Vector, each: Vector, size: int, reach: float) -> Half:
    """Choose windows of `reach` standard deviations on both sides of what is expected.

    Parameters
    ----------
    scores : ndarray
        `(m,)`, in grid steps; their sum does not follow the number taken, in both halves together.
    shares : ndarray
        `(m,)`, how likely each is to be taken where it matters.
    each : ndarray
        `(m,)`, the variance of that.
    size : int
        Of the subsets.
    reach : float
        In standard deviations.
    """
    steps = np.arange(1, len(scores) + 1)
    variance = np.cumsum(each)
    taken = np.maximum(np.cumsum(shares), _RARELY)
    sway = reach * np.sqrt(variance * (1 - variance / variance[-1] / 2)) + 1
    first = np.maximum(np.ceil(taken - sway), 0)
    last = np.minimum(np.minimum(np.floor(taken + sway), steps), size)
    # More scores than expected are taken from rarely taken ones: their sum spreads further.
    crowd = np.maximum(np.minimum(last, taken + sway / 2) / taken, 1)
    drift = np.abs(np.cumsum(each * scores)) / variance * sway
    # Rounding moves a sum by half a step for each score at most.
    width = reach * np.sqrt(np.cumsum(each * scores**2) * crowd) + drift + steps / 2 + 2
    expected = np.cumsum(shares * scores)
    return Half(
        units=np.rint(scores).astype(np.int64),
        low=np.minimum.accumulate(np.minimum(np.floor(expected - width), 0)).astype(np.int64),
        high=np.maximum.accumulate(np.maximum(np.ceil(expected + width), 0)).astype(np.int64),
        first=np.minimum.accumulate(first[::-1])[::-1].astype(np.int64),
        last=np.maximum.accumulate(last).astype(np.int64),
    )


def fill(half: Half) -> HalfSums:
    """Count the subsets within the windows."""
    counts, base = np.zeros(half.shape, dtype=np.float32), int(half.low[-1])
    counts[0, -base] = LEAST
    low, high = half.low - base, half.high - base + 1
    start, end = -base, -base + 1
    for unit, a, b, first, last in zip(
        *(x.tolist() for x in (half.units, low, high, half.first, half.last)), strict=True
    ):
        left = max(start + unit, a)
        right = max(min(end + unit, b), left)
        # The larger numbers first: a score is added to subsets that do not hold it yet.
        for taken in range(last, max(first, 1) - 1, -1):
            counts[taken, left:right] += counts[taken - 1, left - unit : right - unit]
        start, end = a, b
    return HalfSums(counts=counts, low=base)


def tail_mass(
    half_sums: HalfSums, other: HalfSums, size: int, thresholds: tuple[int, int]
) -> tuple[float, float]:
    """Count the subsets whose sums reach each of the thresholds, in units of ``LEAST**2``."""
    totals = [0.0, 0.0]
    for counts, partners in zip(*_partners(half_sums, other, size), strict=True):
        # How many of theirs are among the largest 1, 2, ...: as ours grow, more of them will do.
        largest = np.cumsum(partners[::-1], dtype=np.float64)
        for i, threshold in enumerate(thresholds):
            ahead = len(largest) - 1 + half_sums.low + other.low - threshold
            start = min(max(0, -ahead), len(counts))
            end = min(max(start, len(largest) - ahead), len(counts))
            some = np.einsum("i,i", counts[start:end], largest[start + ahead : end + ahead])
            totals[i] += float(some + counts[end:].sum(dtype=np.float64) * largest[-1])
    return totals[0], totals[1]


def kept_mass(half_sums: HalfSums, other: HalfSums, size: int, slope: float) -> float:
    """Logarithm of the sum of ``exp(slope * sum)`` over all subsets that were followed."""
    masses, shift = [], -2 * math.log(LEAST)
    for half, counts in zip((half_sums, other), _partners(half_sums, other, size), strict=True):
        exponents = slope * (np.arange(counts.shape[1]) + half.low)
        masses.append(np.einsum("ij,j", counts, np.exp(exponents - exponents[-1])))
        shift += float(exponents[-1])
    total = float(masses[0] @ masses[1])
    return math.log(total) + shift if total > 0 else -math.inf


def _partners(half_sums: HalfSums, other: HalfSums, size: int) -> tuple[Counts, Counts]:
    """Rows of both halves that make up subsets of this size, as equally long matrices."""
    first = max(0, size - len(other.counts) + 1)
    last = min(size, len(half_sums.counts) - 1)
    ours = half_sums.counts[first : last + 1]
    theirs = other.counts[size - last : size - first + 1][::-1]
    return ours, theirs
