"""Permutation test of scores that are -1, 0 or 1: counted exactly for sets of any size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from pytest_visualbias.statistics.permutation import PermutationResult
from pytest_visualbias.statistics.tail import require_alternative

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.side import Side
    from pytest_visualbias.statistics.tail import Alternative

    Integers = NDArray[np.int64]

__all__ = ["is_countable_by_value", "permutation_test_by_value", "share_of_subsets"]

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
    every = _log_ways(total, n)
    extreme, others = [], []
    for down in range(max(0, n - (total - downs)), min(downs, n) + 1):
        rest = n - down
        up = np.arange(max(0, rest - (total - ups - downs)), min(ups, rest) + 1)
        apart = total * (up - down) - n * (ups - downs)
        logs = _log_ways(downs, down) - every
        logs = logs + _log_ways(ups, up) + _log_ways(total - ups - downs, rest - up)
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


def _log_ways(n: int, size: int | Integers) -> NDArray[np.float64]:
    """Logarithm of the number of subsets of each size out of n."""
    sizes = np.asarray(size)
    found: NDArray[np.float64] = gammaln(n + 1.0) - gammaln(sizes + 1.0) - gammaln(n - sizes + 1.0)
    return found
