"""Permutation test of a difference of two means: counted, bracketed, approximated or sampled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_visualbias.statistics.permutation.approximation import saddlepoint_of
from pytest_visualbias.statistics.permutation.bounds import bracket
from pytest_visualbias.statistics.permutation.exact import count, countable
from pytest_visualbias.statistics.permutation.sampling import DRAWS, clopper_pearson, sampled_count
from pytest_visualbias.statistics.permutation.sides import (
    Alternative,
    PermutationResult,
    PMethod,
    Tail,
    mean,
    tails_of,
)

if TYPE_CHECKING:
    from typing import Final

    from pytest_visualbias.statistics.permutation.sides import Side

_ALLOWANCE: Final = 1.05
_DOMINANT: Final = 0.05
_UNEQUAL: Final = 2


def permutation_test(side: Side, *, alternative: Alternative = "two-sided") -> PermutationResult:
    """Test whether the labels of two sets are exchangeable.

    Parameters
    ----------
    side : Side
        Scores of the two sets, `(n_1,)` and `(n_2,)`.
    alternative : {"two-sided", "greater", "less"}
        Which relabellings are as extreme as the observed one: those with ``|T| >= |T_obs|``,
        ``T >= T_obs`` or ``T <= T_obs``, where ``T`` is the difference of the two means.

    Returns
    -------
    PermutationResult

    Notes
    -----
    Null hypothesis: given the scores, every assignment of them to sets of these sizes is equally
    likely. There are ``C(n_1 + n_2, n_1)`` assignments. The first of these that applies is used:

    - All are counted up to 17 against 17 scores, and beyond if scores repeat (`count`).
    - p is the upper end of a bracket at most 1 % of p or 1e-4 wide (`bracket`).
    - From about 200 against 200 scores, p is approximate: a double saddlepoint approximation [1]_,
      the sum of both tails if two-sided, times 1.05, and at least one assignment. The sizes must be
      within a ratio of 2, and no centred score may hold more than 5 % of their sum of squares.
    - p is the upper end of the 99.9 % confidence interval from 100,000 random assignments, with a
      seed made of the scores. It is never zero [2]_.

    Two statistics are tied when they differ by less than 1e-12 of `side.magnitude`: sums of the
    same scores in another order must not count as different.

    References
    ----------
    .. [1] J. Robinson, "Saddlepoint approximations for permutation tests and confidence
       intervals", J. R. Statist. Soc. B 44, 91-101, 1982.
    .. [2] B. Phipson, G. K. Smyth, "Permutation P-values Should Never Be Zero", Statistical
       Applications in Genetics and Molecular Biology 9(1), 2010.
    """
    tails = tails_of(side, alternative)
    if not tails:
        return PermutationResult(p_value=1.0, p_low=1.0, p_high=1.0, method="exact")
    if all(countable(tail) for tail in tails):
        return _counted(tails)
    guess = min(1.0, sum(tail.ways * saddlepoint_of(tail) for tail in tails))
    method: PMethod = "bounded"
    interval = bracket(tails)
    if interval is None and _is_smooth(side):
        method, interval = "approximate", (guess, min(1.0, _ALLOWANCE * guess))
    if interval is None:
        method, interval = "sampled", clopper_pearson(sampled_count(tails), DRAWS)
    low, high = interval
    return PermutationResult(
        p_value=high, p_low=low, p_high=high, method=method, p_saddlepoint=guess
    )


def _counted(tails: tuple[Tail, ...]) -> PermutationResult:
    """Make the result of a complete count."""
    subsets = math.comb(len(tails[0].scores), tails[0].size)
    # Beyond 2^53 subsets, counts are rounded.
    p = min(sum(tail.ways * count(tail) for tail in tails) / subsets, 1.0)
    return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")


def _is_smooth(side: Side) -> bool:
    """Tell whether a saddlepoint approximation is close: like sizes, and no score dominates."""
    squares = (side.pooled - mean(side.pooled)) ** 2
    is_even = max(side.sizes) <= _UNEQUAL * min(side.sizes)
    return is_even and float(squares.max()) <= _DOMINANT * float(squares.sum())
