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

_MAX_LISTED: Final = 20_000
_MAX_HALF_SUMS: Final = 2**18
_MERGE_SHARE: Final = 0.2
_LOG_FLOAT: Final = 700.0  # weights are floats, and end at e^709
_EQUAL: Final = 8 * float(np.finfo(np.float64).eps)


def is_countable(tail: Tail) -> bool:
    """Return whether `count_tail_subsets` takes well under a second and 200 MB."""
    if _is_listable(tail):
        return True
    halves = _halves(tail.scores)
    return tail.log_subsets < _LOG_FLOAT and all(
        _is_within_limit(half, tail.size, _MAX_HALF_SUMS // 2) for half in halves
    )


def count_tail_subsets(tail: Tail) -> int:
    """Count all subsets in a tail.

    Parameters
    ----------
    tail : Tail
        One for which `is_countable` holds.

    Returns
    -------
    int

    Notes
    -----
    Up to 20,000 subsets are listed. Otherwise the scores are split into two halves; the sums of all
    subsets of each half are sorted for each subset size, and for each sum of one half the matching
    sums of the other are found by binary search [1]_. With 20 scores against 20 there are
    1.4e11 subsets, and 2 million half-sums. Repeated scores have binomial weights,
    so that few distinct scores can be counted at any size.

    References
    ----------
    .. [1] E. Horowitz, S. Sahni, "Computing Partitions with Applications to the Knapsack Problem",
       Journal of the ACM 21, 277-292, 1974.
    """
    if _is_listable(tail):
        return int(np.count_nonzero(_subset_sums(tail.scores, tail.size) >= tail.threshold))
    first, second = (_SortedSums(half, tail.size) for half in _halves(tail.scores))
    smallest = max(0, tail.size - second.score_count)
    largest = min(tail.size, first.score_count)
    return sum(
        first.count_pairs(second, taken, tail.size - taken, tail.threshold)
        for taken in range(smallest, largest + 1)
    )


def _is_listable(tail: Tail) -> bool:
    return math.comb(len(tail.scores), tail.size) <= _MAX_LISTED


def _subset_sums(values: Vector, size: int) -> Vector:
    """Sum all subsets of `size` values, `(C(len(values), size),)`, in no particular order.

    Values are added one at a time: the subsets of k values with the new value are the subsets of
    k - 1 earlier values.
    """
    sums = [np.zeros(math.comb(len(values), k)) for k in range(size + 1)]
    filled = [1] + [0] * size
    for value in values:
        for k in range(size, 0, -1):
            filled_before, added = filled[k], filled[k - 1]
            np.add(sums[k - 1][:added], value, out=sums[k][filled_before : filled_before + added])
            filled[k] += added
    return sums[size]


def _halves(scores: Vector) -> tuple[Repeated, Repeated]:
    """Split the distinct scores into two halves with about as many subsets each."""
    step = _EQUAL * float(np.abs(scores).max())
    starts = np.flatnonzero(np.diff(scores, prepend=-np.inf) > step)
    repeats = np.diff(starts, append=len(scores))
    halves: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
    subsets = [1, 1]
    for i in np.argsort(-repeats, kind="stable").tolist():
        smaller = 0 if subsets[0] <= subsets[1] else 1
        halves[smaller].append((float(scores[starts[i]]), int(repeats[i])))
        subsets[smaller] *= int(repeats[i]) + 1
    return halves


def _is_within_limit(half: Repeated, size: int, limit: int) -> bool:
    """Return whether a half has at most `limit` sums of up to `size` scores."""
    counts = [1] + [0] * size
    for _, repeats in half:
        counts = [sum(counts[max(0, k - repeats) : k + 1]) for k in range(size + 1)]
        if sum(counts) > limit:
            return False
    return True


class _SortedSums:
    """Sorted sums of the subsets of one half, by subset size."""

    def __init__(self, half: Repeated, size: int) -> None:
        self.score_count = sum(repeats for _, repeats in half)
        self._weighted = any(repeats > 1 for _, repeats in half)
        self._total = math.fsum(value * repeats for value, repeats in half)
        # Larger subsets are the complements of the smaller ones.
        largest = min(size, self.score_count // 2)
        self._sums, self._weights = _sums(half, largest), []
        if self._weighted:
            orders = [np.argsort(sums, kind="stable") for sums in self._sums]
            weights = _weights(half, largest)
            self._weights = [w[order] for w, order in zip(weights, orders, strict=True)]
            self._sums = [sums[order] for sums, order in zip(self._sums, orders, strict=True)]
        for sums in () if self._weighted else self._sums:
            sums.sort()

    def count_pairs(self, other: _SortedSums, taken: int, left: int, threshold: float) -> int:
        """Count pairs of subsets of `taken` and `left` scores whose sum reaches the threshold."""
        sums, other_sums = self._sums_and_weights(taken), other._sums_and_weights(left)
        if len(sums[0]) > len(other_sums[0]):
            sums, other_sums = other_sums, sums
        (short, short_weights), (long, long_weights) = sums, other_sums
        start = int(np.searchsorted(short, threshold - long[-1]))
        # Sums too small for the largest sum of `short` are below every query.
        skipped = int(np.searchsorted(long, threshold - short[-1]))
        # Ascending queries read the same part of memory in turn.
        ranks = skipped + _count_below(long[skipped:], (threshold - short[start:])[::-1])
        if short_weights is None and long_weights is None:
            return len(ranks) * len(long) - int(ranks.sum())
        above = np.append(np.cumsum(_or_ones(long_weights, long)[::-1])[::-1], 0.0)
        return round(float((_or_ones(short_weights, short)[start:][::-1] * above[ranks]).sum()))

    def _sums_and_weights(self, taken: int) -> tuple[Vector, Vector | None]:
        """Return the ascending sums of `taken` scores and the number of subsets with each."""
        if taken < len(self._sums):
            return self._sums[taken], self._weights[taken] if self._weighted else None
        mirrored = self.score_count - taken
        weights = self._weights[mirrored][::-1] if self._weighted else None
        return self._total - self._sums[mirrored][::-1], weights


def _sums(half: Repeated, largest: int) -> list[Vector]:
    """Return the sums of all subsets of up to `largest` scores, by subset size."""
    sums = [np.zeros(1)] + [np.zeros(0)] * largest
    for value, repeats in half:
        for k in range(largest, 0, -1):
            taken = range(1, min(repeats, k) + 1)
            sums[k] = np.concatenate([sums[k], *(sums[k - c] + c * value for c in taken)])
    return sums


def _weights(half: Repeated, largest: int) -> list[Vector]:
    """Return the number of subsets of each entry of `_sums`."""
    weights = [np.ones(1)] + [np.zeros(0)] * largest
    for _, repeats in half:
        for k in range(largest, 0, -1):
            taken = range(1, min(repeats, k) + 1)
            new_weights = (weights[k - c] * float(math.comb(repeats, c)) for c in taken)
            weights[k] = np.concatenate([weights[k], *new_weights])
    return weights


def _count_below(values: Vector, queries: Vector) -> NDArray[np.intp]:
    """Return the number of values below each query; both ascend.

    If there are about as many of each, merging both with a stable sort takes half the time of
    binary searches.
    """
    if len(queries) < _MERGE_SHARE * len(values):
        return np.searchsorted(values, queries)
    # Queries first: on a tie a query precedes its value, as in a search from the left.
    order = np.argsort(np.concatenate([queries, values]), kind="stable")
    places: NDArray[np.intp] = np.flatnonzero(order < len(queries))
    return places - np.arange(len(queries))


def _or_ones(weights: Vector | None, sums: Vector) -> Vector:
    return np.ones(len(sums)) if weights is None else weights


_TERNARY: Final = (-1.0, 0.0, 1.0)

# With more subsets, rounding of logarithms is no longer far below one subset.
_MAX_ROUNDED: Final = 2**32


def is_countable_by_value(side: Side) -> bool:
    """Return whether all scores of a side are -1, 0 or 1."""
    return bool(np.isin(side.pooled, _TERNARY).all())


def permutation_test_by_value(
    side: Side, *, alternative: Alternative = "two-sided"
) -> PermutationResult:
    """Test whether the labels of two sets with scores -1, 0 and 1 are exchangeable.

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
    likely. The numbers of ones and minus ones in the first set follow the multivariate
    hypergeometric distribution; with scores 0 and 1 alone the test is Fisher's exact test [1]_. A
    two-sided p counts the assignments whose difference of rates is at least as large. Fisher's
    two-sided p counts assignments that are no likelier, which is the same if both sets are of one
    size. Sums are integers, so that ties are exact.

    References
    ----------
    .. [1] R. A. Fisher, "The logic of inductive inference", Journal of the Royal Statistical
       Society 98, 39-82, 1935.
    """
    require_alternative(alternative)
    first, pooled = side.first, side.pooled
    n, total = len(first), len(pooled)
    plus_ones, minus_ones = (int((pooled == value).sum()) for value in (1.0, -1.0))
    # Proportional to the difference of the means, for every assignment.
    observed = total * int(first.sum()) - n * (plus_ones - minus_ones)
    log_total = log_binomial(total, n)
    extreme, others = [], []
    for minus_taken in range(max(0, n - (total - minus_ones)), min(minus_ones, n) + 1):
        others_taken = n - minus_taken
        plus_taken = np.arange(
            max(0, others_taken - (total - plus_ones - minus_ones)),
            min(plus_ones, others_taken) + 1,
        )
        differences = total * (plus_taken - minus_taken) - n * (plus_ones - minus_ones)
        logs = log_binomial(minus_ones, minus_taken) - log_total
        logs = (
            logs
            + log_binomial(plus_ones, plus_taken)
            + log_binomial(total - plus_ones - minus_ones, others_taken - plus_taken)
        )
        probabilities, counts = np.exp(logs), _is_extreme(differences, observed, alternative)
        extreme.append(math.fsum(probabilities[counts]))
        others.append(math.fsum(probabilities[~counts]))
    p = share_of_subsets(math.fsum(extreme), math.fsum(others), math.comb(total, n))
    return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")


def share_of_subsets(extreme: float, others: float, subsets: int) -> float:
    """Return the share of the extreme subsets, rounded to a whole number of subsets.

    Without rounding, one subset of 20 could have a p slightly above an alpha of 0.05.
    """
    share = extreme / math.fsum([extreme, others])
    return round(share * subsets) / subsets if subsets <= _MAX_ROUNDED else share


def _is_extreme(
    differences: Integers, observed: int, alternative: Alternative
) -> NDArray[np.bool_]:
    if alternative == "two-sided":
        return np.abs(differences) >= abs(observed)
    return differences >= observed if alternative == "greater" else differences <= observed


def log_binomial(n: int, size: int | Integers) -> NDArray[np.float64]:
    """Return the logarithm of the number of subsets of each size out of n."""
    sizes = np.asarray(size)
    logs: NDArray[np.float64] = gammaln(n + 1.0) - gammaln(sizes + 1.0) - gammaln(n - sizes + 1.0)
    return logs
