"""The question that every permutation test asks: how many subsets of scores sum to so much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.side import Side

    Vector = NDArray[np.float64]

__all__ = ["Alternative", "Tail", "log_subsets", "require_alternative", "tails_of"]

Alternative = Literal["two-sided", "greater", "less"]

_TIE: Final = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tail:
    """Subsets of `size` scores whose sum is at least `threshold`.

    Attributes
    ----------
    scores : ndarray
        `(n,)`, ascending, of mean zero, turned so that large sums are the extreme ones.
    size : int
        Of the subsets; at most half of n.
    threshold : float
        The observed sum, less what rounding may take from it.
    ways : int
        How often the tail counts: twice where its mirror image holds as many subsets.
    tolerance : float
        What was taken: sums that differ by less are tied.
    """

    scores: Vector
    size: int
    threshold: float
    ways: int = 1
    tolerance: float = 0.0

    @property
    def log_subsets(self) -> float:
        """Logarithm of the number of subsets of this size."""
        return log_subsets(len(self.scores), self.size)


def log_subsets(n: int, size: int) -> float:
    """Logarithm of the number of subsets of `size` out of n."""
    return math.lgamma(n + 1) - math.lgamma(size + 1) - math.lgamma(n - size + 1)


def tails_of(side: Side, alternative: Alternative) -> tuple[Tail, ...]:
    """Find the tails that hold the relabellings as extreme as the observed one.

    Parameters
    ----------
    side : Side
        Scores of the two sets, `(n_1,)` and `(n_2,)`.
    alternative : {"two-sided", "greater", "less"}
        Which relabellings are as extreme: those with ``|T| >= |T_obs|``, ``T >= T_obs`` or
        ``T <= T_obs``, where ``T`` is the difference of the two means.

    Returns
    -------
    tuple of Tail
        Disjoint; empty where every relabelling is as extreme as the observed one.

    Notes
    -----
    Scores sum to zero once centred, so ``T`` is proportional to the sum over either set alone: the
    smaller one is followed, with its sign. For equal sizes the complement of a subset has the
    opposite sum, so both tails of a two-sided test hold the same number and one is enough.
    """
    require_alternative(alternative)
    pooled = np.sort(side.pooled)
    centre = math.fsum(pooled) / len(pooled)
    centred = pooled - centre
    # Either sum would do, but half the difference is the same to the last bit for exchanged sets.
    observed = (math.fsum(side.first - centre) - math.fsum(side.second - centre)) / 2
    size = min(side.sizes)
    is_first = len(side.first) == size
    tolerance = _TIE * side.magnitude
    if alternative == "two-sided":
        return _both(centred, size, abs(observed), tolerance, equal=side.sizes == (size, size))
    threshold = (observed if alternative == "greater" else -observed) - tolerance
    upwards = (alternative == "greater") == is_first
    scores = centred if upwards else _mirrored(centred)
    return (Tail(scores=scores, size=size, threshold=threshold, tolerance=tolerance),)


def require_alternative(alternative: Alternative) -> None:
    """Refuse an alternative that does not exist: it would silently mean another one."""
    if alternative not in ("two-sided", "greater", "less"):
        message = f"alternative is 'two-sided', 'greater' or 'less', not {alternative!r}"
        raise ValueError(message)


def _both(
    centred: Vector, size: int, observed: float, tolerance: float, *, equal: bool
) -> tuple[Tail, ...]:
    """Both tails of a two-sided test."""
    threshold = observed - tolerance
    if threshold <= 0:
        return ()
    # Exchanging A and B turns every sign; taking the mirror images in an order of their own gives
    # both questions the same answer to the last bit.
    one, other = sorted((centred, _mirrored(centred)), key=tuple)
    halves, ways = ((one,), 2) if equal else ((one, other), 1)
    return tuple(
        Tail(scores=half, size=size, threshold=threshold, ways=ways, tolerance=tolerance)
        for half in halves
    )


def _mirrored(scores: Vector) -> Vector:
    """Scores of opposite sign, ascending again."""
    return -scores[::-1]
