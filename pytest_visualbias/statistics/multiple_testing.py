"""Correct p-values for multiple tests, and compute rank correlations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

Correction = Literal["holm", "bh", "none"]


def adjust(p_values: Sequence[float], correction: Correction) -> tuple[float, ...]:
    """Correct the p-values of one family, so that each can be compared with alpha.

    Parameters
    ----------
    p_values : sequence of float
        `(m,)`, each in [0, 1]; of all tests that the family declares, selected or not.
    correction : {"holm", "bh", "none"}
        Holm's step-down method [1]_ keeps the chance of any false alarm at alpha, whatever the
        dependence. Benjamini and Hochberg's step-up method [2]_ keeps the expected share of false
        alarms among all alarms at alpha, for independent or positively dependent tests.

    Returns
    -------
    tuple of float
        In the order given; none below its raw p, none above 1. Monotone: raising a raw p lowers no
        corrected p.

    References
    ----------
    .. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
       of Statistics 6, 65-70, 1979.
    .. [2] Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate: a practical and
       powerful approach to multiple testing", J. R. Statist. Soc. B 57, 289-300, 1995.

    Examples
    --------
    >>> adjust([0.01, 0.04, 0.03], "holm")
    (0.03, 0.06, 0.06)
    """
    raw = np.array(p_values, dtype=np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        message = f"p-values lie between 0 and 1, not so in {list(p_values)}"
        raise ValueError(message)
    if correction == "none":
        return tuple(raw.tolist())
    order = np.argsort(raw, kind="stable")
    corrected = np.empty_like(raw)
    corrected[order] = _correct_ascending(raw[order], correction)
    # Rounding can make p * m / m slightly smaller than p.
    return tuple(np.clip(corrected, raw, 1.0).tolist())


def _correct_ascending(ascending: Vector, correction: Correction) -> Vector:
    """Correct p-values in ascending order."""
    count = len(ascending)
    ranks = np.arange(1, count + 1)
    if correction == "holm":
        return np.maximum.accumulate(ascending * (count + 1 - ranks))
    if correction == "bh":
        return np.minimum.accumulate((ascending * count / ranks)[::-1])[::-1]
    message = f"correction is 'holm', 'bh' or 'none', not {correction!r}"
    raise ValueError(message)


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Compute the rank correlation of paired numbers [1]_.

    Parameters
    ----------
    first, second : array_like
        `(k,)` each, finite; equal numbers share the average of their ranks.

    Returns
    -------
    float or None
        Between -1 and 1; None if all numbers of a list are equal, or a list has fewer than two.

    References
    ----------
    .. [1] C. Spearman, "The proof and measurement of association between two things", American
       Journal of Psychology 15, 72-101, 1904.
    """
    values = [np.asarray(numbers, dtype=np.float64) for numbers in (first, second)]
    if values[0].ndim != 1 or values[0].shape != values[1].shape:
        message = f"pairs are needed, not {values[0].shape} and {values[1].shape} numbers"
        raise ValueError(message)
    if not all(np.isfinite(value).all() for value in values):
        message = "numbers without an order cannot be ranked; leave out what is not finite"
        raise ValueError(message)
    x, y = (_centred_ranks(numbers) for numbers in values)
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else None


def _centred_ranks(values: Vector) -> Vector:
    """Return ranks minus their mean: multiples of a half, so that their products are exact."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Vector = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks - (len(values) + 1) / 2
