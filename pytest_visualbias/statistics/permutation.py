"""Permutation test of a difference of two means: counted, else bracketed, else sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.statistics.bracketing import bracket
from pytest_visualbias.statistics.counting import count, countable
from pytest_visualbias.statistics.sampling import DRAWS, clopper_pearson, sampled_count
from pytest_visualbias.statistics.tail import Alternative, Tail, require_alternative, tails_of
from pytest_visualbias.statistics.tilting import saddlepoint_of

if TYPE_CHECKING:
    from typing import Final

    from pytest_visualbias.statistics.side import Side

__all__ = [
    "Alternative",
    "PMethod",
    "PermutationResult",
    "least_proven",
    "permutation_test",
    "require_alternative",
]

PMethod = Literal["exact", "bounded", "sampled"]

_BY_PROOF: Final[tuple[PMethod, ...]] = ("exact", "bounded", "sampled")


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationResult:
    """A p-value with the bracket that holds the true one.

    Attributes
    ----------
    p_value : float
        Share of relabellings at least as extreme as the one observed, which counts itself; where
        it is bounded, `p_high`.
    p_low, p_high : float
        Equal to `p_value` where it is exact; a proven bracket where it is bounded; a 99.9 %
        confidence interval where it is sampled.
    method : {"exact", "bounded", "sampled"}
        Whether all relabellings were counted, proven bounds were found, or some were drawn.
    p_saddlepoint : float or None
        Saddlepoint approximation, for comparison only; None where p is exact.
    """

    p_value: float
    p_low: float
    p_high: float
    method: PMethod
    p_saddlepoint: float | None = None


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
    likely. There are ``C(n_1 + n_2, n_1)`` assignments. They are all counted up to 21 against 21
    scores, and beyond where scores repeat (`count`); else p is bracketed to 1 % of itself or 1e-4
    (`bracket`). Where even that takes too long, for sets of many hundreds, 100,000 assignments are
    drawn with a seed made of the scores, and ``p = (b + 1) / (R + 1)`` [1]_.

    Two statistics are tied when they differ by less than 1e-12 of `side.magnitude`: sums of the
    same scores in another order must not count as different.

    References
    ----------
    .. [1] B. Phipson, G. K. Smyth, "Permutation P-values Should Never Be Zero", Statistical
       Applications in Genetics and Molecular Biology 9(1), 2010.
    """
    tails = tails_of(side, alternative)
    if not tails:
        return PermutationResult(p_value=1.0, p_low=1.0, p_high=1.0, method="exact")
    if all(countable(tail) for tail in tails):
        return _counted(tails)
    found = bracket(tails)
    guess = min(1.0, sum(tail.ways * saddlepoint_of(tail) for tail in tails))
    if found is None:
        return _sampled(tails, guess)
    low, high = found
    return PermutationResult(
        p_value=high, p_low=low, p_high=high, method="bounded", p_saddlepoint=guess
    )


def least_proven(methods: list[PMethod]) -> PMethod:
    """Name the method of a p that rests on several of them."""
    return max(methods, key=_BY_PROOF.index)


def _counted(tails: tuple[Tail, ...]) -> PermutationResult:
    """Make the result of a complete count."""
    subsets = math.comb(len(tails[0].scores), tails[0].size)
    # Beyond 2^53 subsets, counts are rounded.
    p = min(sum(tail.ways * count(tail) for tail in tails) / subsets, 1.0)
    return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")


def _sampled(tails: tuple[Tail, ...], guess: float) -> PermutationResult:
    """Estimate from random draws."""
    hits = sampled_count(tails)
    low, high = clopper_pearson(hits, DRAWS)
    p = (hits + 1) / (DRAWS + 1)
    return PermutationResult(
        p_value=p, p_low=low, p_high=high, method="sampled", p_saddlepoint=guess
    )
