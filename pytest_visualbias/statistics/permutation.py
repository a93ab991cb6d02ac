"""Permutation test of a difference of two means: every relabelling counted, or a seeded sample."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.side import Side

    Vector = NDArray[np.float64]

__all__ = [
    "Alternative",
    "PMethod",
    "PermutationResult",
    "permutation_test",
    "require_alternative",
]

Alternative = Literal["two-sided", "greater", "less"]
PMethod = Literal["exact", "sampled"]

_COUNTABLE: Final = 200_000
_DRAWS: Final = 100_000
_TIE: Final = 1e-12
_BRACKET_MISS: Final = 1e-3
_CELLS: Final = 2**18


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationResult:
    """A p-value with the bracket that holds the true one.

    Attributes
    ----------
    p_value : float
        Share of relabellings at least as extreme as the one observed, which counts itself.
    p_low, p_high : float
        Equal to `p_value` where it is exact; else a 99.9 % confidence interval for it.
    method : {"exact", "sampled"}
        Whether all relabellings were counted.
    """

    p_value: float
    p_low: float
    p_high: float
    method: PMethod


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
    likely. There are ``C(n_1 + n_2, n_1)`` assignments; up to 200,000 of them (10 against 10 has
    184,756) are all counted. Beyond, 100,000 are drawn with a seed made of the scores, so that the
    answer depends neither on the order of the rows nor on the process, and
    ``p = (b + 1) / (R + 1)`` [1]_ with a 99.9 % Clopper-Pearson bracket [2]_.

    Two statistics are tied when they differ by less than 1e-12 of `side.magnitude`: sums of the
    same scores in another order must not count as different.

    References
    ----------
    .. [1] B. Phipson, G. K. Smyth, "Permutation P-values Should Never Be Zero", Statistical
       Applications in Genetics and Molecular Biology 9(1), 2010.
    .. [2] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26, 404-413, 1934.
    """
    require_alternative(alternative)
    pooled = np.sort(side.pooled)
    centre = math.fsum(pooled) / len(pooled)
    # Scores sum to zero once centred, so T is proportional to the sum over either set alone:
    # the smaller one is enumerated, with its sign.
    centred = pooled - centre
    observed = math.fsum(side.first - centre)
    size = min(side.sizes)
    sign = 1.0 if len(side.first) == size else -1.0
    if alternative == "less":
        sign, observed = -sign, -observed
    reach = _Reach(observed, _TIE * side.magnitude, two_sided=alternative == "two-sided")
    partitions = math.comb(len(pooled), size)
    if partitions <= _COUNTABLE:
        return _exact(reach.count(sign * _subset_sums(centred, size)), partitions)
    return _bracketed(sum(reach.count(sign * sums) for sums in _sampled_sums(centred, size)))


def require_alternative(alternative: Alternative) -> None:
    """Refuse an alternative that does not exist: it would silently mean another one."""
    if alternative not in ("two-sided", "greater", "less"):
        message = f"alternative is 'two-sided', 'greater' or 'less', not {alternative!r}"
        raise ValueError(message)


class _Reach:
    """The rule by which a relabelling is as extreme as the observed labels."""

    __slots__ = ("_threshold", "_two_sided")

    def __init__(self, observed: float, tolerance: float, *, two_sided: bool) -> None:
        self._two_sided = two_sided
        self._threshold = (abs(observed) if two_sided else observed) - tolerance

    def count(self, sums: Vector) -> int:
        """Count the relabellings, `(m,)`, that are as extreme."""
        return int(np.count_nonzero((np.abs(sums) if self._two_sided else sums) >= self._threshold))


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


def _sampled_sums(centred: Vector, size: int) -> Iterator[Vector]:
    """Sum random subsets of `size` of the sorted values, in blocks, 100,000 in all."""
    mirrored = -centred[::-1]
    # Exchanging A and B turns every sign; drawing from one of the two mirror images in either
    # case gives both the same two-sided p.
    turned = tuple(mirrored) > tuple(centred)
    values = mirrored if turned else centred
    rng = _generator(values, size)
    rows = max(1, _CELLS // len(values))
    for start in range(0, _DRAWS, rows):
        keys = rng.random((min(rows, _DRAWS - start), len(values)))
        chosen = np.argpartition(keys, size - 1, axis=1)[:, :size]
        sums: Vector = values[chosen].sum(axis=1)
        yield -sums if turned else sums


def _generator(values: Vector, size: int) -> np.random.Generator:
    """Make a generator seeded by the scores, to nine digits: the last bits are the machine's."""
    largest = float(np.abs(values).max()) or 1.0
    rounded = np.round(values / largest, 9) + 0.0
    content = size.to_bytes(8, "little") + rounded.astype("<f8").tobytes()
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _exact(count: int, partitions: int) -> PermutationResult:
    """Turn a complete count into a result."""
    p = count / partitions
    return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")


def _bracketed(count: int) -> PermutationResult:
    """Turn a count among random draws into an estimate with its bracket."""
    tail = _BRACKET_MISS / 2
    low = 0.0 if count == 0 else float(betaincinv(count, _DRAWS - count + 1, tail))
    high = 1.0 if count == _DRAWS else float(betaincinv(count + 1, _DRAWS - count, 1 - tail))
    p = (count + 1) / (_DRAWS + 1)
    return PermutationResult(p_value=p, p_low=low, p_high=high, method="sampled")
