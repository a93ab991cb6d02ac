"""Random relabellings, seeded by the scores: the last resort where nothing can be proven."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Tail

    Vector = NDArray[np.float64]

DRAWS: Final = 100_000
_MISS: Final = 1e-3
_CELLS: Final = 2**18


def sampled_count(tails: tuple[Tail, ...]) -> int:
    """Draw 100,000 relabellings and count those that lie in one of the tails.

    Parameters
    ----------
    tails : tuple of Tail
        All tails of one test, each weighing as often as it counts.

    Returns
    -------
    int

    Notes
    -----
    The generator is seeded by the scores, so that the answer depends neither on the order of the
    rows nor on the process.
    """
    tail = tails[0]
    two_sided = len(tails) == 2 or tail.ways == 2
    return sum(
        int(np.count_nonzero((np.abs(sums) if two_sided else sums) >= tail.threshold))
        for sums in _sums(tail)
    )


def clopper_pearson(count: int, draws: int) -> tuple[float, float]:
    """99.9 % confidence interval of a probability from `count` hits in `draws` [1]_.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26, 404-413, 1934.
    """
    tail = _MISS / 2
    low = 0.0 if count == 0 else float(betaincinv(count, draws - count + 1, tail))
    high = 1.0 if count == draws else float(betaincinv(count + 1, draws - count, 1 - tail))
    return low, high


def _sums(tail: Tail) -> Iterator[Vector]:
    """Sum random subsets of the scores, in blocks."""
    rng = _generator(tail)
    rows = max(1, _CELLS // len(tail.scores))
    for start in range(0, DRAWS, rows):
        keys = rng.random((min(rows, DRAWS - start), len(tail.scores)))
        chosen = np.argpartition(keys, tail.size - 1, axis=1)[:, : tail.size]
        yield tail.scores[chosen].sum(axis=1)


def _generator(tail: Tail) -> np.random.Generator:
    """Make a generator seeded by the scores, to nine digits: the last bits are the machine's."""
    largest = float(np.abs(tail.scores).max()) or 1.0
    rounded = np.round(tail.scores / largest, 9) + 0.0
    content = tail.size.to_bytes(8, "little") + rounded.astype("<f8").tobytes()
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
