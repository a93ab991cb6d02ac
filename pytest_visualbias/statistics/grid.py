"""The distribution of sums of scores that were rounded to a grid, within windows that matter.

Numbers of subsets are added up score by score, in two halves of the scores, by how many scores are
taken and what they sum to. Only positive numbers are added, so the relative error stays near that
of a single float, however small a number is. What falls outside the windows is missing, and the
mass of what was kept says how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["Half", "HalfSums", "Windows", "deal", "kept_mass", "tail_mass", "windows_of"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Half:
    """One half of the scores, in the order in which they are added.

    Attributes
    ----------
    scores : ndarray
        `(m,)`, in grid steps, not rounded.
    shares : ndarray
        `(m,)`, how likely each is to be taken where it matters.
    """

    scores: Vector
    shares: Vector

    @property
    def units(self) -> Integers:
        """Scores rounded to the grid, `(m,)`."""
        return np.rint(self.scores).astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """Sums that are followed, after each score and for each number of scores taken.

    Attributes
    ----------
    low, high : ndarray
        `(m + 1, size + 1)`: from low, up to but without high. They never narrow from one score to
        the next.
    first, last : ndarray
        `(m + 1,)`: the numbers of scores taken that are followed, both included.
    """

    low: Integers
    high: Integers
    first: Integers
    last: Integers

    @property
    def bytes(self) -> float:
        """How much memory the numbers of subsets take after the last score."""
        rows = slice(self.first[-1], self.last[-1] + 1)
        return 8.0 * float((self.high[-1, rows] - self.low[-1, rows]).sum())

    @property
    def cells(self) -> int:
        """How many additions it takes to fill them."""
        taken = np.arange(self.low.shape[1])
        followed = (taken >= self.first[:, None]) & (taken <= self.last[:, None])
        return int((self.high - self.low)[followed].sum())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HalfSums:
    """How many subsets of a half have each sum.

    Attributes
    ----------
    rows : tuple of ndarray
        `(sums,)` each, one for each number of scores taken.
    lows : tuple of int
        The sum, in grid steps, with which each row begins.
    first : int
        The number of scores taken in the first row.
    """

    rows: tuple[Vector, ...]
    lows: tuple[int, ...]
    first: int


def deal(scores: Vector, shares: Vector) -> tuple[Half, Half]:
    """Deal ascending scores `(n,)` into two like halves, small ones first in each.

    Each half gets every other pair of a low and a high score, so that both sum to about nothing;
    with the small scores first, sums stay close together for long.
    """
    n = len(scores)
    inwards = np.arange(n // 2)
    pairs = np.stack([inwards, n - 1 - inwards], axis=1)[::-1]
    middle = np.arange(n // 2, n - n // 2)
    orders = np.concatenate([middle, pairs[::2].ravel()]), pairs[1::2].ravel()
    one, other = (Half(scores=scores[order], shares=shares[order]) for order in orders)
    return one, other


def windows_of(half: Half, size: int, spread: float, reach: float) -> Windows:
    """Choose windows of `reach` standard deviations on both sides of what is expected.

    Parameters
    ----------
    half : Half
        Of m scores.
    size : int
        Of the subsets.
    spread : float
        Variance of the number taken from both halves, were it free.
    reach : float
        In standard deviations.
    """
    taken = np.cumsum(half.shares)
    each = half.shares * (1 - half.shares)
    variance = np.cumsum(each)
    slope = np.cumsum(each * half.scores) / variance
    square = np.cumsum(each * half.scores**2) - slope**2 * variance
    steps = np.arange(1, len(taken) + 1)
    numbers = np.arange(size + 1)
    # More scores than expected are taken from rarely taken ones: their sum spreads further.
    crowd = numbers * (steps[:, None] - numbers) / (taken * (steps - taken))[:, None]
    deviation = np.sqrt(np.maximum(square, 0)[:, None] * np.maximum(crowd, 1))
    # Rounding moves a sum by half a step for each score at most.
    width = reach * deviation + steps[:, None] / 2 + 2
    expected = np.cumsum(half.shares * half.scores) - slope * taken
    centre = expected[:, None] + slope[:, None] * numbers
    sway = reach * np.sqrt(variance * np.maximum(1 - variance / spread, 0)) + 1
    first = np.maximum(np.ceil(taken - sway), 0)
    last = np.minimum(np.minimum(np.floor(taken + sway), steps), size)
    return _growing(centre - width, centre + width, first, last)


def _growing(low: Matrix, high: Matrix, first: Vector, last: Vector) -> Windows:
    """Windows that never narrow, from those wished for; before any score the sum is zero."""
    rows = np.concatenate([[0], np.minimum.accumulate(first[::-1])[::-1]]).astype(np.int64)
    ends = np.concatenate([[0], np.maximum.accumulate(last)]).astype(np.int64)
    numbers = np.arange(low.shape[1])
    followed = (numbers >= rows[1:, None]) & (numbers <= ends[1:, None])
    start = np.where(numbers == 0, 0, np.iinfo(np.int32).max)[None, :]
    lows = np.concatenate([start, np.where(followed, np.floor(low), np.iinfo(np.int32).max)])
    highs = np.concatenate([1 - start, np.where(followed, np.ceil(high) + 1, -np.inf)])
    return Windows(
        low=np.minimum.accumulate(lows, axis=0).astype(np.int64),
        high=np.maximum.accumulate(highs, axis=0).clip(-(2**31)).astype(np.int64),
        first=rows,
        last=ends,
    )


def fill(half: Half, windows: Windows, log_start: float) -> HalfSums:
    """Add up the numbers of subsets within the windows.

    Parameters
    ----------
    half : Half
        Of m scores.
    windows : Windows
        For it.
    log_start : float
        Logarithm of what the empty subset counts, to keep large numbers within range.
    """
    first, last = windows.first.tolist(), windows.last.tolist()
    low, high = windows.low.tolist(), windows.high.tolist()
    bases = low[-1]
    rows = {0: np.zeros(high[-1][0] - bases[0])}
    rows[0][-bases[0]] = math.exp(log_start)
    for i, unit in enumerate(half.units.tolist(), start=1):
        # The larger numbers first: a score is added to subsets that do not hold it yet.
        for taken in range(last[i], max(first[i], 1) - 1, -1):
            fewer = taken - 1
            start = max(low[i][taken], low[i - 1][fewer] + unit)
            end = min(high[i][taken], high[i - 1][fewer] + unit)
            if taken not in rows:
                rows[taken] = np.zeros(high[-1][taken] - bases[taken])
            if start < end and first[i - 1] <= fewer <= last[i - 1]:
                source = rows[fewer][start - unit - bases[fewer] : end - unit - bases[fewer]]
                rows[taken][start - bases[taken] : end - bases[taken]] += source
        for left in range(first[i - 1], first[i]):
            del rows[left]
    kept = range(first[-1], last[-1] + 1)
    return HalfSums(
        rows=tuple(rows[taken] for taken in kept),
        lows=tuple(bases[taken] for taken in kept),
        first=first[-1],
    )


def tail_mass(one: HalfSums, other: HalfSums, size: int, thresholds: tuple[int, int]) -> Vector:
    """Sum the products of counts whose sums reach each of the thresholds, `(2,)`."""
    totals = np.zeros(2)
    for ours, theirs in _partners(one, other, size):
        counts, partner = one.rows[ours], other.rows[theirs]
        above = np.append(np.cumsum(partner[::-1])[::-1], 0.0)
        needed = -(np.arange(len(counts)) + one.lows[ours] + other.lows[theirs])
        for i, threshold in enumerate(thresholds):
            place = np.clip(needed + threshold, 0, len(partner))
            totals[i] += float((counts * above[place]).sum())
    return totals


def kept_mass(one: HalfSums, other: HalfSums, size: int, slope: float) -> float:
    """Logarithm of the sum of ``count * exp(slope * sum)`` over all subsets that were followed."""
    masses = [
        [_log_mass(counts, low, slope) for counts, low in zip(half.rows, half.lows, strict=True)]
        for half in (one, other)
    ]
    pairs = [masses[0][ours] + masses[1][theirs] for ours, theirs in _partners(one, other, size)]
    return float(np.logaddexp.reduce(pairs)) if pairs else -math.inf


def _log_mass(counts: Vector, low: int, slope: float) -> float:
    """Logarithm of the sum of ``count * exp(slope * sum)`` over one row."""
    largest = slope * (low + len(counts) - 1)
    total = float((counts * np.exp(slope * (np.arange(len(counts)) + low) - largest)).sum())
    return math.log(total) + largest if total > 0 else -math.inf


def _partners(one: HalfSums, other: HalfSums, size: int) -> list[tuple[int, int]]:
    """Pairs of rows that make up subsets of this size."""
    pairs = [(row, size - one.first - row - other.first) for row in range(len(one.rows))]
    return [(ours, theirs) for ours, theirs in pairs if 0 <= theirs < len(other.rows)]
