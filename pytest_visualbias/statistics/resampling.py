"""Resampling of images as weights: bootstrap draws, leaving one out, and the BCa interval."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pytest_visualbias.statistics.intervals import require_level

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Weights = tuple[Matrix, ...]
Statistic = Callable[[Weights], Vector]

__all__ = ["Statistic", "Weights", "bca_interval", "content_seed", "leave_one_out"]

_DRAWS: Final = 2_000
_BLOCK: Final = 500
_SAME: Final = 1e-9


def bca_interval(
    statistic: Statistic, sizes: Sequence[int], confidence: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval.

    Parameters
    ----------
    statistic : callable
        Takes weights of the images of each set, `(m, n)` each, and gives `(m,)` values.
    sizes : sequence of int
        Of the sets, each of which is drawn from by itself, with replacement.
    confidence : float
        Between 0 and 1.
    rng : numpy.random.Generator
        For the 2,000 draws.

    Returns
    -------
    tuple of float

    Notes
    -----
    The quantiles of the draws are moved by the bias, the share of draws below the estimate, and the
    acceleration, the skewness of the jackknife values of all sets [1]_.

    References
    ----------
    .. [1] B. Efron, "Better bootstrap confidence intervals", JASA 82, 171-185, 1987; for several
       samples A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 5.3, 1997.
    """
    require_level(confidence)
    observed = float(statistic(tuple(np.ones((1, n)) for n in sizes))[0])
    draws = np.concatenate(
        [statistic(_drawn(sizes, rng)) for _ in range(math.ceil(_DRAWS / _BLOCK))]
    )
    # Draws that repeat the sample equal it up to rounding: half of them count.
    near = _SAME * float(np.abs(draws).max())
    below = (np.mean(draws < observed - near) + np.mean(draws <= observed + near)) / 2
    bias = float(ndtri(np.clip(below, 1 / (_DRAWS + 1), _DRAWS / (_DRAWS + 1))))
    acceleration = _acceleration(leave_one_out(statistic, sizes))
    moved = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    room = np.maximum(1 - acceleration * moved, np.finfo(np.float64).tiny)
    low, high = np.quantile(draws, ndtr(bias + moved / room))
    return float(low), float(high)


def leave_one_out(statistic: Statistic, sizes: Sequence[int]) -> tuple[Vector, ...]:
    """Evaluate a statistic without each single image, `(n,)` values for each set of n images.

    A set of one image has no value: it cannot be left out.
    """
    left = []
    for which, size in enumerate(sizes):
        rows = size if size > 1 else 0
        weights = [np.ones((rows, n)) for n in sizes]
        weights[which] = 1 - np.eye(size)[:rows]
        left.append(statistic(tuple(weights)) if rows else np.zeros(0))
    return tuple(left)


def content_seed(*contents: Matrix) -> np.random.Generator:
    """Make a generator seeded by numbers, to nine digits: the last bits are the machine's."""
    digest = hashlib.blake2b(digest_size=16)
    for content in contents:
        digest.update(repr(content.shape).encode())
        digest.update((np.round(content, 9) + 0.0).astype("<f8").tobytes())
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))


def _drawn(sizes: Sequence[int], rng: np.random.Generator) -> Weights:
    """Draw how often each image occurs in each of a block of resamples."""
    return tuple(_occurrences(n, rng) for n in sizes)


def _occurrences(n: int, rng: np.random.Generator) -> Matrix:
    """Count each of n images in each of a block of resamples, `(_BLOCK, n)`."""
    chosen = (rng.random((_BLOCK, n)) * n).astype(np.intp) + n * np.arange(_BLOCK)[:, None]
    counts = np.bincount(chosen.ravel(), minlength=_BLOCK * n).reshape(_BLOCK, n)
    return counts.astype(np.float64)


def _acceleration(left: tuple[Vector, ...]) -> float:
    """Skewness of the jackknife values over six, each set weighing by its size."""
    cubes = squares = 0.0
    for values in left:
        if len(values):
            influence = (len(values) - 1) * (values.mean() - values) / len(values)
            cubes += float((influence**3).sum())
            squares += float((influence**2).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0
