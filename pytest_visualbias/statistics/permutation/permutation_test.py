"""Test a difference of two means by permutation: count, bracket, approximate or sample."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from pytest_visualbias.statistics.permutation.bounds import bracket
from pytest_visualbias.statistics.permutation.exact import count_tail_subsets, is_countable
from pytest_visualbias.statistics.permutation.saddlepoint import saddlepoint_probability
from pytest_visualbias.statistics.permutation.sides import (
    Alternative,
    PermutationResult,
    PMethod,
    Tail,
    mean,
    tails_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Side

    Vector = NDArray[np.float64]

_ERROR_ALLOWANCE: Final = 1.05
_MAX_SHARE: Final = 0.05
_MAX_SIZE_RATIO: Final = 2


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

    - All are counted up to 17 against 17 scores, and beyond if scores repeat
      (`count_tail_subsets`).
    - p is the upper end of a bracket at most 1 % of p or 1e-4 wide (`bracket`).
    - From about 200 against 200 scores, p is approximate: a double saddlepoint approximation [1]_,
      the sum of both tails if two-sided, times 1.05, and at least one assignment. The sizes must be
      within a ratio of 2, and no centred score may hold more than 5 % of their sum of squares.
    - p is the upper end of the 99.9 % confidence interval from 100,000 random assignments, with a
      seed from the scores. It is never zero [2]_.

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
    if all(is_countable(tail) for tail in tails):
        return _counted(tails)
    approximation = min(1.0, sum(tail.ways * saddlepoint_probability(tail) for tail in tails))
    method: PMethod = "bounded"
    interval = bracket(tails)
    if interval is None and _is_smooth(side):
        method, interval = (
            "approximate",
            (approximation, min(1.0, _ERROR_ALLOWANCE * approximation)),
        )
    if interval is None:
        method, interval = "sampled", clopper_pearson(sampled_count(tails), DRAWS)
    low, high = interval
    return PermutationResult(
        p_value=high, p_low=low, p_high=high, method=method, p_saddlepoint=approximation
    )


def _counted(tails: tuple[Tail, ...]) -> PermutationResult:
    """Return the result of a complete count."""
    subsets = math.comb(len(tails[0].scores), tails[0].size)
    # Beyond 2^53 subsets, counts are rounded.
    p = min(sum(tail.ways * count_tail_subsets(tail) for tail in tails) / subsets, 1.0)
    return PermutationResult(p_value=p, p_low=p, p_high=p, method="exact")


def _is_smooth(side: Side) -> bool:
    """Return whether a saddlepoint approximation is close: similar sizes, no dominant score."""
    squares = (side.pooled - mean(side.pooled)) ** 2
    is_even = max(side.sizes) <= _MAX_SIZE_RATIO * min(side.sizes)
    return is_even and float(squares.max()) <= _MAX_SHARE * float(squares.sum())


DRAWS: Final = 100_000
_MISS_PROBABILITY: Final = 1e-3
_BLOCK_CELLS: Final = 2**18


def sampled_count(tails: tuple[Tail, ...]) -> int:
    """Draw 100,000 relabellings and count those in a tail.

    Parameters
    ----------
    tails : tuple of Tail
        All tails of one test.

    Returns
    -------
    int

    Notes
    -----
    The generator is seeded by the scores, so that the count depends on neither the order of rows
    nor the process.
    """
    tail = tails[0]
    is_two_sided = len(tails) == 2 or tail.ways == 2
    return sum(
        int(np.count_nonzero((np.abs(sums) if is_two_sided else sums) >= tail.threshold))
        for sums in _sampled_sums(tail)
    )


def clopper_pearson(count: int, draws: int) -> tuple[float, float]:
    """Return the 99.9 % confidence interval of a probability from `count` hits in `draws` [1]_.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26, 404-413, 1934.
    """
    tail = _MISS_PROBABILITY / 2
    low = 0.0 if count == 0 else float(betaincinv(count, draws - count + 1, tail))
    high = 1.0 if count == draws else float(betaincinv(count + 1, draws - count, 1 - tail))
    return low, high


def _sampled_sums(tail: Tail) -> Iterator[Vector]:
    """Yield sums of random subsets of the scores in blocks."""
    rng = _generator(tail)
    rows = max(1, _BLOCK_CELLS // len(tail.scores))
    for start in range(0, DRAWS, rows):
        keys = rng.random((min(rows, DRAWS - start), len(tail.scores)))
        chosen = np.argpartition(keys, tail.size - 1, axis=1)[:, : tail.size]
        yield tail.scores[chosen].sum(axis=1)


def _generator(tail: Tail) -> np.random.Generator:
    """Return a generator seeded by the scores to nine digits, as the last bits vary by machine."""
    largest = float(np.abs(tail.scores).max()) or 1.0
    rounded = np.round(tail.scores / largest, 9) + 0.0
    content = tail.size.to_bytes(8, "little") + rounded.astype("<f8").tobytes()
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
