"""Count the subsets of scores by their sum on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_visualbias.statistics.permutation.sides import log_subsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Counts = NDArray[np.float32]
    Integers = NDArray[np.int64]

FLOAT_ROUNDING: Final = 2.0**-24

# Counts are floats of four bytes: the smallest normal one is 2^-126, the largest 2^128.
UNIT_COUNT: Final = 2.0**-120
_MIN_EXPECTED: Final = 1e-9
_MAX_COUNT: Final = 2.0**245


@dataclass(frozen=True, kw_only=True, eq=False)
class GridHalf:
    """One half of the scores in the order of addition, and the windows of followed sums.

    Attributes
    ----------
    units : ndarray
        `(m,)`, scores in grid steps, rounded.
    low, high : ndarray
        `(m,)`: after each score, sums from low to high are followed, both included.
    first, last : ndarray
        `(m,)`: the same for the number of scores in the subset.
    """

    units: Integers
    low: Integers
    high: Integers
    first: Integers
    last: Integers

    @property
    def shape(self) -> tuple[int, int]:
        """Number of subset sizes and of sums at the end."""
        return int(self.last[-1]) + 1, int(self.high[-1] - self.low[-1]) + 1

    @cached_property
    def cells(self) -> int:
        """Number of additions."""
        return int(((self.high - self.low + 1) * (self.last - self.first + 1)).sum())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HalfSums:
    """Number of subsets of a half with each sum.

    Attributes
    ----------
    counts : ndarray
        `(subset sizes, sums)`, in units of `UNIT_COUNT`.
    low : int
        The sum of the first column.
    """

    counts: Counts
    low: int


def is_countable_by_grid(n: int, size: int) -> bool:
    """Return whether the subsets of either half of n scores can be counted in float32."""
    half = (n + 1) // 2
    return log_subsets(half, min(size, half // 2)) < math.log(_MAX_COUNT)


def split_scores(n: int) -> tuple[Integers, Integers]:
    """Split the indices of n ascending scores into two similar halves, small scores first.

    Each half gets every other pair of a low and a high score, so that both sums are about 0. With
    the small scores first, the windows stay narrow for longer.
    """
    ranks = np.arange(n // 2)
    pairs = np.stack([ranks, n - 1 - ranks], axis=1)[::-1]
    middle = np.arange(n // 2, n - n // 2)
    return np.concatenate([middle, pairs[::2].ravel()]), pairs[1::2].ravel()


def grid_half(
    scores: Vector, shares: Vector, variances: Vector, size: int, deviations: float
) -> GridHalf:
    """Choose windows of some standard deviations on both sides of the expected sums.

    Parameters
    ----------
    scores : ndarray
        `(m,)`, in grid steps, uncorrelated with the subset size over both halves.
    shares : ndarray
        `(m,)`, probability of each score under the tilt.
    variances : ndarray
        `(m,)`, variance of the membership of each score.
    size : int
        Of the subsets.
    deviations : float
        Half-width of the windows in standard deviations.
    """
    steps = np.arange(1, len(scores) + 1)
    total_variance = np.cumsum(variances)
    expected_count = np.maximum(np.cumsum(shares), _MIN_EXPECTED)
    spread = (
        deviations * np.sqrt(total_variance * (1 - total_variance / total_variance[-1] / 2)) + 1
    )
    first = np.maximum(np.ceil(expected_count - spread), 0)
    last = np.minimum(np.minimum(np.floor(expected_count + spread), steps), size)
    # If improbable scores enter in larger numbers than expected, their sum spreads further.
    surplus = np.maximum(np.minimum(last, expected_count + spread / 2) / expected_count, 1)
    drift = np.abs(np.cumsum(variances * scores)) / total_variance * spread
    # Rounding moves a sum by half a step for each score at most.
    width = deviations * np.sqrt(np.cumsum(variances * scores**2) * surplus) + drift + steps / 2 + 2
    expected = np.cumsum(shares * scores)
    return GridHalf(
        units=np.rint(scores).astype(np.int64),
        low=np.minimum.accumulate(np.minimum(np.floor(expected - width), 0)).astype(np.int64),
        high=np.maximum.accumulate(np.maximum(np.ceil(expected + width), 0)).astype(np.int64),
        first=np.minimum.accumulate(first[::-1])[::-1].astype(np.int64),
        last=np.maximum.accumulate(last).astype(np.int64),
    )


def count_sums(half: GridHalf) -> HalfSums:
    """Count the subsets with each sum within the windows."""
    counts, base = np.zeros(half.shape, dtype=np.float32), int(half.low[-1])
    counts[0, -base] = UNIT_COUNT
    low, high = half.low - base, half.high - base + 1
    start, end = -base, -base + 1
    for unit, lowest, highest, first, last in zip(
        *(values.tolist() for values in (half.units, low, high, half.first, half.last)), strict=True
    ):
        left = max(start + unit, lowest)
        right = max(min(end + unit, highest), left)
        # Larger subsets first, so that a score is added only to subsets without it.
        for taken in range(last, max(first, 1) - 1, -1):
            counts[taken, left:right] += counts[taken - 1, left - unit : right - unit]
        start, end = lowest, highest
    return HalfSums(counts=counts, low=base)


def count_tail(
    half_sums: HalfSums, other: HalfSums, size: int, thresholds: tuple[int, int]
) -> tuple[float, float]:
    """Count the subsets with sums at each threshold or above, in units of ``UNIT_COUNT**2``."""
    totals = [0.0, 0.0]
    for counts, other_counts in zip(*_matching_rows(half_sums, other, size), strict=True):
        # Cumulative counts of the largest sums: larger sums have more partners.
        largest = np.cumsum(other_counts[::-1], dtype=np.float64)
        for i, threshold in enumerate(thresholds):
            offset = len(largest) - 1 + half_sums.low + other.low - threshold
            start = min(max(0, -offset), len(counts))
            end = min(max(start, len(largest) - offset), len(counts))
            partial = np.einsum("i,i", counts[start:end], largest[start + offset : end + offset])
            totals[i] += float(partial + counts[end:].sum(dtype=np.float64) * largest[-1])
    return totals[0], totals[1]


def log_followed_moment(half_sums: HalfSums, other: HalfSums, size: int, slope: float) -> float:
    """Return the log of the sum of ``exp(slope * sum)`` over all followed subsets."""
    sums, shift = [], -2 * math.log(UNIT_COUNT)
    for half, counts in zip(
        (half_sums, other), _matching_rows(half_sums, other, size), strict=True
    ):
        exponents = slope * (np.arange(counts.shape[1]) + half.low)
        sums.append(np.einsum("ij,j", counts, np.exp(exponents - exponents[-1])))
        shift += float(exponents[-1])
    total = float(sums[0] @ sums[1])
    return math.log(total) + shift if total > 0 else -math.inf


def _matching_rows(half_sums: HalfSums, other: HalfSums, size: int) -> tuple[Counts, Counts]:
    """Return the rows of both halves that combine to subsets of a size, in matching order."""
    first = max(0, size - len(other.counts) + 1)
    last = min(size, len(half_sums.counts) - 1)
    rows = half_sums.counts[first : last + 1]
    other_rows = other.counts[size - last : size - first + 1][::-1]
    return rows, other_rows
