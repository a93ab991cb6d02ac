"""Count relabellings exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from pytest_visualbias.statistics.permutation.sides import PermutationResult, require_alternative

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative, Side, Tail

    Vector = NDArray[np.float64]
    Repeated = Sequence[tuple[float, int]]
    Integers = NDArray[np.int64]

_LISTED: Final = 20_000
_HALF_SUMS: Final = 2**18
_MERGED: Final = 0.2
_LOG_FLOAT: Final = 700.0  # weights are floats, and end at e^709
_SAME: Final = 8 * float(np.finfo(np.float64).eps)


def countable(tail: Tail) -> bool:
    """Tell whether `count` can be asked: in well under a second, and under 200 MB."""
    if _is_listable(tail):
        return True
    halves = _halves(tail.scores)
    return tail.log_subsets < _LOG_FLOAT and all(
        _fits(half, tail.size, _HALF_SUMS // 2) for half in halves
    )


def count(tail: Tail) -> int:
    """Count the subsets in a tail, all of them.

    Parameters
    ----------
    tail : Tail
        One that is `countable`.

    Returns
    -------
    int

    Notes
    -----
    Up to 20,000 subsets are listed. Beyond, the scores are dealt into two halves; the sums of all
    subsets of each half are sorted by how many scores they hold, and for each sum of one half the
    matching sums of the other are found by binary search [1]_. With 20 scores against 20 there are
    1.4e11 subsets, and 2 million half-sums. Scores that repeat are drawn as often as they occur,
    with binomial weights, so that few distinct scores can be counted at any size.

    References
    ----------
    .. [1] E. Horowitz, S. Sahni, "Computing Partitions with Applications to the Knapsack Problem",
       Journal of the ACM 21, 277-292, 1974.
    """
    if _is_listable(tail):
        return int(np.count_nonzero(_subset_sums(tail.scores, tail.size) >= tail.threshold))
    first, second = (_HalfSums(half, tail.size) for half in _halves(tail.scores))
    smallest = max(0, tail.size - second.items)
    largest = min(tail.size, first.items)
    return sum(
        first.pairs(second, taken, tail.size - taken, tail.threshold)
        for taken in range(smallest, largest + 1)
    )


def _is_listable(tail: Tail) -> bool:
    return math.comb(len(tail.scores), tail.size) <= _LISTED


def _subset_sums(values: Vector, size: int) -> Vector:
    """Sum all subsets of `size` of the values, `(C(len(values), size),)`, in no useful order.

    Values are added one at a time to what there is: the subsets of k values that hold the new one
    are those of k - 1 values that do not.
    """
    sums = [np.zeros(math.comb(len(values), k)) for k in range(size + 1)]
    filled = [1] + [0] * size
    for value in values:
        for k in range(size, 0, -1):
            old, added = filled[k], filled[k - 1]
            np.add(sums[k - 1][:added], value, out=sums[k][old : old + added])
            filled[k] += added
    return sums[size]


def _halves(scores: Vector) -> tuple[Repeated, Repeated]:
    """Deal the distinct scores into two halves with about as many subsets each."""
    step = _SAME * float(np.abs(scores).max())
    starts = np.flatnonzero(np.diff(scores, prepend=-np.inf) > step)
    repeats = np.diff(starts, append=len(scores))
    halves: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
    subsets = [1, 1]
    for i in np.argsort(-repeats, kind="stable").tolist():
        lighter = 0 if subsets[0] <= subsets[1] else 1
        halves[lighter].append((float(scores[starts[i]]), int(repeats[i])))
        subsets[lighter] *= int(repeats[i]) + 1
    return halves


def _fits(half: Repeated, size: int, limit: int) -> bool:
    """Tell whether a half has at most `limit` sums of up to `size` scores."""
    numbers = [1] + [0] * size
    for _, repeats in half:
        numbers = [sum(numbers[max(0, k - repeats) : k + 1]) for k in range(size + 1)]
        if sum(numbers) > limit:
            return False
    return True


class _HalfSums:
    """Sorted sums of the subsets of one half, by how many scores they hold."""

    def __init__(self, half: Repeated, size: int) -> None:
        self.items = sum(repeats for _, repeats in half)
        self._weighted = any(repeats > 1 for _, repeats in half)
        self._total = math.fsum(value * repeats for value, repeats in half)
        # Larger subsets are the complements of the smaller ones.
        largest = min(size, self.items // 2)
        self._sums, self._weights = _sums(half, largest), []
        if self._weighted:
            orders = [np.argsort(sums, kind="stable") for sums in self._sums]
            heavy = _weights(half, largest)
            self._weights = [w[order] for w, order in zip(heavy, orders, strict=True)]
            self._sums = [sums[order] for sums, order in zip(self._sums, orders, strict=True)]
        for sums in () if self._weighted else self._sums:
            sums.sort()

    def pairs(self, other: _HalfSums, taken: int, left: int, threshold: float) -> int:
        """Count the pairs of subsets, `taken` scores of ours and `left` of theirs, over it."""
        ours, theirs = self._of(taken), other._of(left)
        if len(ours[0]) > len(theirs[0]):
            ours, theirs = theirs, ours
        (few, few_weights), (many, many_weights) = ours, theirs
        start = int(np.searchsorted(few, threshold - many[-1]))
        # What is too small for even the largest of `few` is below every query.
        idle = int(np.searchsorted(many, threshold - few[-1]))
        # Ascending queries meet the same part of the memory one after the other.
        ranks = idle + _ranks(many[idle:], (threshold - few[start:])[::-1])
        if few_weights is None and many_weights is None:
            return len(ranks) * len(many) - int(ranks.sum())
        above = np.append(np.cumsum(_or_ones(many_weights, many)[::-1])[::-1], 0.0)
        return round(float((_or_ones(few_weights, few)[start:][::-1] * above[ranks]).sum()))

    def _of(self, taken: int) -> tuple[Vector, Vector | None]:
        """Give the sums of `taken` scores, ascending, and how many subsets have each."""
        if taken < len(self._sums):
            return self._sums[taken], self._weights[taken] if self._weighted else None
        mirrored = self.items - taken
        weights = self._weights[mirrored][::-1] if self._weighted else None
        return self._total - self._sums[mirrored][::-1], weights


def _sums(half: Repeated, largest: int) -> list[Vector]:
    """Add up the subsets of up to `largest` scores, a list entry for each size."""
    sums = [np.zeros(1)] + [np.zeros(0)] * largest
    for value, repeats in half:
        for k in range(largest, 0, -1):
            taken = range(1, min(repeats, k) + 1)
            sums[k] = np.concatenate([sums[k], *(sums[k - c] + c * value for c in taken)])
    return sums


def _weights(half: Repeated, largest: int) -> list[Vector]:
    """How many subsets each entry of `_sums` stands for."""
    weights = [np.ones(1)] + [np.zeros(0)] * largest
    for _, repeats in half:
        for k in range(largest, 0, -1):
            taken = range(1, min(repeats, k) + 1)
            heavier = (weights[k - c] * float(math.comb(repeats, c)) for c in taken)
            weights[k] = np.concatenate([weights[k], *heavier])
    return weights


def _ranks(many: Vector, queries: Vector) -> NDArray[np.intp]:
    """Find how many of `many` are below each of the queries, both ascending.

    Where there are about as many of each, merging the two lists, which is what a stable sort does
    to them, takes half the time of a binary search for each query.
    """
    if len(queries) < _MERGED * len(many):
        return np.searchsorted(many, queries)
    # Queries first: on a tie they come before what they ask about, as a search from the left does.
    order = np.argsort(np.concatenate([queries, many]), kind="stable")
    places: NDArray[np.intp] = np.flatnonzero(order < len(queries))
    return places - np.arange(len(queries))


def _or_ones(weights: Vector | None, sums: Vector) -> Vector:
    return np.ones(len(sums)) if weights is None else weights


_VALUES: Final = (-1.0, 0.0, 1.0)

# So few subsets that rounding of logarithms is far below one of them.
_WHOLE: Final = 2**32


def is_countable_by_value(side: Side) -> bool:
    """Tell whether all scores of a side are -1, 0 or 1."""
    return bool(np.isin(side.pooled, _VALUES).all())


def permutation_test_by_value(
    side: Side, *, alternative: Alternative = "two-sided"
) -> PermutationResult:
    """Test whether the labels of two sets are exchangeable, by counting how many have each score.

    Parameters
    ----------
    side : Side
        Scores of the two sets, `(n_1,)` and `(n_2,)`, each -1, 0 or 1: whether an image is
        predicted as a class, or how that changed.
    alternative : {"two-sided", "greater", "less"}
        As in `permutation_test`.

    Returns
    -------
    PermutationResult
        Always exact.

    Notes
    -----
    Null hypothesis: given the scores, every assignment of them to sets of these sizes is equally
    likely. An assignment counts by how many ones and how many minus ones the first set has, which
    follow the (multivariate) hypergeometric distribution; with scores of 0 and 1 alone it is
    Fisher's exact test [1]_. A two-sided p counts the assignments whose difference of rates is at
    least as large, as every permutation test here does; Fisher's two-sided p counts those that are
    no likelier, which is the same where both sets have one size. Sums are integers, so that ties
    are ties.

    References
    ----------
    .. [1] R. A. Fisher, "The logic of inductive inference", Journal of the Royal Statistical
       Society 98, 39-82, 1935.
    """
    require_alternative(alternative)
    first, pooled = side.first, side.pooled
    n, total = len(first), len(pooled)
    ups, downs = (int((pooled == value).sum()) for value in (1.0, -1.0))
    # Proportional to the difference of the means, for every assignment.
    observed = total * int(first.sum()) - n * (ups - downs)
    every = log_binomial(total, n)
    extreme, others = [], []
    for down in range(max(0, n - (total - downs)), min(downs, n) + 1):
        rest = n - down
        up = np.arange(max(0, rest - (total - ups - downs)), min(ups, rest) + 1)
        apart = total * (up - down) - n * (ups - downs)
        logs = log_binomial(downs, down) - every
        logs = logs + log_binomial(ups, up) + log_binomial(total - ups - downs, rest - up)
        ways, counts = np.exp(logs), _is_extreme(apart, observed, alternative)
        extreme.append(math.fsum(ways[counts]))
        others.append(math.fsum(ways[~counts]))
    p = share_of_subsets(math.fsum(extreme), math.fsum(others), math.comb(total, n))
    return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")


def share_of_subsets(extreme: float, others: float, subsets: int) -> float:
    """Return the share of the extreme subsets, whose sum with the others is one but for rounding.

    It is a whole number of subsets: one of 20 is 0.05, not a little more than an alpha of 0.05.
    """
    share = extreme / math.fsum([extreme, others])
    return round(share * subsets) / subsets if subsets <= _WHOLE else share


def _is_extreme(apart: Integers, observed: int, alternative: Alternative) -> NDArray[np.bool_]:
    if alternative == "two-sided":
        return np.abs(apart) >= abs(observed)
    return apart >= observed if alternative == "greater" else apart <= observed


def log_binomial(n: int, size: int | Integers) -> NDArray[np.float64]:
    """Logarithm of the number of subsets of each size out of n."""
    sizes = np.asarray(size)
    logs: NDArray[np.float64] = gammaln(n + 1.0) - gammaln(sizes + 1.0) - gammaln(n - sizes + 1.0)
    return logs
