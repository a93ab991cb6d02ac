"""Test the growth of a gap of predictions by permuting labels on pairs of predictions."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.permutation.exact import log_binomial, share_of_subsets
from pytest_visualbias.statistics.permutation.permutation_test import DRAWS, clopper_pearson
from pytest_visualbias.statistics.permutation.sides import PermutationResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative, Side

    Vector = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Matrix = NDArray[np.float64]

# Combinations of counts of each kind that can be enumerated in a second.
_MAX_COMBINATIONS: Final = 2**22
_BLOCK_CELLS: Final = 2**18
_TIE: Final = 1e-12


def paired_permutation_test(
    before: Side, after: Side, *, alternative: Alternative = "two-sided"
) -> PermutationResult:
    """Test the growth of a gap by permuting labels on pairs of predictions.

    Parameters
    ----------
    before, after : Side
        Predictions of the same images by two models, within 0 and 1.
    alternative : {"two-sided", "greater", "less"}
        Gaps that count: of both directions, or of one.

    Returns
    -------
    PermutationResult

    Notes
    -----
    Null hypothesis: given the pairs of predictions, every assignment of images to groups of these
    sizes is equally likely. The statistic is ``|gap_after| - |gap_before|``; with an alternative,
    gaps of the other direction count as 0. Predictions of 0 and 1 make four kinds of pairs: how
    many of each kind the first group has follows the multivariate hypergeometric distribution and
    is counted, up to some millions of combinations. Of other predictions, up to 100,000 assignments
    are counted. Otherwise as many are drawn with a seed made of the predictions, and p is the upper
    end of a 99.9 % confidence interval.
    """
    pairs = np.stack([before.pooled, after.pooled])
    n = len(before.first)
    if np.isin(pairs, (0.0, 1.0)).all():
        kinds = (2 * pairs[0] + pairs[1]).astype(np.int64)
        totals = np.bincount(kinds, minlength=4)
        first = np.bincount(kinds[:n], minlength=4)
        if math.prod(sorted(int(count) + 1 for count in totals)[:3]) <= _MAX_COMBINATIONS:
            p = _counted(first, totals, alternative)
            return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")
    subsets = math.comb(pairs.shape[1], n)
    if subsets <= DRAWS:
        p = _count_as_large(pairs, n, alternative, _all_sums(pairs, n)) / subsets
        return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")
    order = np.lexsort(pairs)
    count = _count_as_large(pairs, n, alternative, _drawn_sums(pairs[:, order], n))
    low, high = clopper_pearson(count, DRAWS)
    return PermutationResult(p_value=high, p_low=low, p_high=high, method="sampled")


def _growths(sums: Matrix | Integers, means: Vector | Integers, alternative: Alternative) -> Vector:
    """Return the growth of the gap times a constant, from sums over the first group, `(2, m)`."""
    gaps = sums - means[:, None]
    if alternative == "two-sided":
        sizes = np.abs(gaps)
    else:
        sizes = np.maximum(gaps if alternative == "greater" else -gaps, 0)
    growth: Vector = sizes[1] - sizes[0]
    return growth


def _counted(first: Integers, totals: Integers, alternative: Alternative) -> float:
    """Return the share of assignments with at least this growth, from counts of kinds of pairs."""
    n, total = int(first.sum()), int(totals.sum())
    # The count of the most frequent kind follows from the other counts.
    dependent, *independent = np.argsort(-totals, kind="stable")
    counts = np.zeros((4, *(totals[kind] + 1 for kind in independent)), dtype=np.int64)
    axes = np.meshgrid(*(np.arange(totals[kind] + 1) for kind in independent), indexing="ij")
    for kind, axis in zip(independent, axes, strict=True):
        counts[kind] = axis
    counts = counts.reshape(4, -1)
    counts[dependent] = n - counts.sum(axis=0)
    counts = counts[:, (counts[dependent] >= 0) & (counts[dependent] <= totals[dependent])]
    # A kind is before and after in binary, so sums of the first group times N are integers.
    ones = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    means = n * (ones @ totals)
    growths = _growths(total * (ones @ counts), means, alternative)
    observed = _growths(total * (ones @ first)[:, None], means, alternative)
    logs = sum(log_binomial(int(totals[kind]), counts[kind]) for kind in range(4))
    probabilities = np.exp(logs - log_binomial(total, np.array(n)))
    is_extreme = growths >= observed
    masses = math.fsum(probabilities[is_extreme]), math.fsum(probabilities[~is_extreme])
    return share_of_subsets(*masses, math.comb(total, n))


def _count_as_large(
    pairs: Matrix, n: int, alternative: Alternative, groups: Iterable[Matrix]
) -> int:
    """Count the assignments with at least this growth, from sums over their first groups."""
    means = pairs.mean(axis=1) * n
    observed = _growths(pairs[:, :n].sum(axis=1)[:, None], means, alternative)[0]
    threshold = observed - _TIE * float(np.abs(pairs).sum())
    return sum(
        int(np.count_nonzero(_growths(sums, means, alternative) >= threshold)) for sums in groups
    )


def _all_sums(pairs: Matrix, n: int) -> Iterator[Matrix]:
    """Yield sums of both predictions over all groups of n, `(2, m)`, in blocks."""
    groups = itertools.combinations(range(pairs.shape[1]), n)
    while block := list(itertools.islice(groups, max(1, _BLOCK_CELLS // n))):
        yield pairs[:, np.array(block)].sum(axis=2)


def _drawn_sums(pairs: Matrix, n: int) -> Iterator[Matrix]:
    """Yield sums of both predictions over random groups, `(2, m)`, in blocks."""
    content = (np.round(pairs, 9) + 0.0).astype("<f8").tobytes() + n.to_bytes(8, "little")
    digest = hashlib.blake2b(content, digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    total = pairs.shape[1]
    rows = max(1, _BLOCK_CELLS // total)
    for start in range(0, DRAWS, rows):
        keys = rng.random((min(rows, DRAWS - start), total))
        chosen = np.argpartition(keys, n - 1, axis=1)[:, :n]
        yield pairs[:, chosen].sum(axis=2)
