"""How far two lists of numbers are in the same order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

__all__ = ["spearman"]


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Rank correlation of paired numbers [1]_.

    Parameters
    ----------
    first, second : array_like
        `(k,)` each, finite; equal numbers share the average of their ranks.

    Returns
    -------
    float or None
        Between -1 and 1; None where all numbers of a list are equal, or there are fewer than two.

    References
    ----------
    .. [1] C. Spearman, "The proof and measurement of association between two things", American
       Journal of Psychology 15, 72-101, 1904.
    """
    values = [np.asarray(one, dtype=np.float64) for one in (first, second)]
    if values[0].ndim != 1 or values[0].shape != values[1].shape:
        message = f"pairs are needed, not {values[0].shape} and {values[1].shape} numbers"
        raise ValueError(message)
    if not all(np.isfinite(one).all() for one in values):
        message = "numbers without an order cannot be ranked; leave out what is not finite"
        raise ValueError(message)
    x, y = (_centred_ranks(one) for one in values)
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else None


def _centred_ranks(values: Vector) -> Vector:
    """Ranks less their mean: multiples of a half, so that their products are exact."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Vector = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks - (len(values) + 1) / 2
