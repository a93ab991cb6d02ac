"""The distribution of sums of scores that were rounded to a grid, within windows that matter.

Subsets are counted score by score, in two halves of the scores, by how many scores they hold and
what these sum to. Only positive numbers are added, so every count keeps the relative accuracy of
its additions, `ROUNDING` each. A subset whose sums leave the windows is lost, and the mass of what
was kept says how much that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_visualbias.statistics.tail import log_subsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Counts = NDArray[np.float32]
    Integers = NDArray[np.int64]

__all__ = [
    "LEAST",
    "ROUNDING",
    "Half",
    "HalfSums",
    "deal",
    "fill",
    "half_of",
    "is_in_range",
    "kept_mass",
    "tail_mass",
]
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
    one: HalfSums, other: HalfSums, size: int, thresholds: tuple[int, int]
) -> tuple[float, float]:
    """Count the subsets whose sums reach each of the thresholds, in units of ``LEAST**2``."""
    totals = [0.0, 0.0]
    for counts, partners in zip(*_partners(one, other, size), strict=True):
        # How many of theirs are among the largest 1, 2, ...: as ours grow, more of them will do.
        largest = np.cumsum(partners[::-1], dtype=np.float64)
        for i, threshold in enumerate(thresholds):
            ahead = len(largest) - 1 + one.low + other.low - threshold
            start = min(max(0, -ahead), len(counts))
            end = min(max(start, len(largest) - ahead), len(counts))
            some = np.einsum("i,i", counts[start:end], largest[start + ahead : end + ahead])
            totals[i] += float(some + counts[end:].sum(dtype=np.float64) * largest[-1])
    return totals[0], totals[1]


def kept_mass(one: HalfSums, other: HalfSums, size: int, slope: float) -> float:
    """Logarithm of the sum of ``exp(slope * sum)`` over all subsets that were followed."""
    masses, shift = [], -2 * math.log(LEAST)
    for half, counts in zip((one, other), _partners(one, other, size), strict=True):
        exponents = slope * (np.arange(counts.shape[1]) + half.low)
        masses.append(np.einsum("ij,j", counts, np.exp(exponents - exponents[-1])))
        shift += float(exponents[-1])
    total = float(masses[0] @ masses[1])
    return math.log(total) + shift if total > 0 else -math.inf


def _partners(one: HalfSums, other: HalfSums, size: int) -> tuple[Counts, Counts]:
    """Rows of both halves that make up subsets of this size, as equally long matrices."""
    first = max(0, size - len(other.counts) + 1)
    last = min(size, len(one.counts) - 1)
    ours = one.counts[first : last + 1]
    theirs = other.counts[size - last : size - first + 1][::-1]
    return ours, theirs
