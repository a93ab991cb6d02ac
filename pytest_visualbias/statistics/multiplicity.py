"""Correction of p-values for the number of tests in a family."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

__all__ = ["Correction", "adjust", "adjust_brackets", "undecided"]

Correction = Literal["holm", "bh", "none"]


def adjust(p_values: Sequence[float], correction: Correction) -> tuple[float, ...]:
    """Adjust the p-values of one family, so that each may be compared with alpha itself.

    Parameters
    ----------
    p_values : sequence of float
        `(m,)`, each in [0, 1]; all that the family declares, whether or not they were run.
    correction : {"holm", "bh", "none"}
        Holm's step-down method [1]_ keeps the chance of any false alarm at alpha, whatever the
        dependence. Benjamini and Hochberg's step-up method [2]_ keeps the expected share of false
        alarms among all alarms at alpha, for independent or positively dependent tests.

    Returns
    -------
    tuple of float
        In the order given; none below its raw p, none above one. Monotone: raising any raw p
        lowers no adjusted one.

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
    adjusted = np.empty_like(raw)
    adjusted[order] = _stepped(raw[order], correction)
    # Rounding of p * m / m can fall a bit short of p.
    return tuple(np.clip(adjusted, raw, 1.0).tolist())


def adjust_brackets(
    lows: Sequence[float], highs: Sequence[float], correction: Correction
) -> tuple[tuple[float, float], ...]:
    """Carry the brackets of a family's p-values through its correction.

    Parameters
    ----------
    lows, highs : sequence of float
        `(m,)` each: bounds of every p that the family declares.
    correction : {"holm", "bh", "none"}
        As in `adjust`.

    Returns
    -------
    tuple of (float, float)
        Bounds of every adjusted p: corrections are monotone in each p, so that all lower bounds
        together give the lowest adjusted ones, and all upper bounds the highest.
    """
    _require_ordered(lows, highs)
    ends = (adjust(values, correction) for values in (lows, highs))
    return tuple(zip(*ends, strict=True))


def undecided(
    lows: Sequence[float], highs: Sequence[float], correction: Correction, alpha: float
) -> tuple[float | None, ...]:
    """Find the brackets on which verdicts hang, and the levels at which to decide them.

    Parameters
    ----------
    lows, highs : sequence of float
        `(m,)` each: bounds of every p that the family declares.
    correction : {"holm", "bh", "none"}
        As in `adjust`.
    alpha : float
        Level that adjusted p-values are compared with.

    Returns
    -------
    tuple of (float or None)
        For each p a level inside its bracket, to be handed on as `decide_at`; None where its
        bracket needs no refinement. All None once every verdict is decided. Refined brackets are
        to be asked about again: deciding one p can leave another one open, or close it.

    Notes
    -----
    A family is open while some ``adjusted(low) <= alpha < adjusted(high)``. Then the levels of the
    steps (``alpha / 1 ... alpha / m`` for Holm, ``alpha / m ... alpha`` for Benjamini and Hochberg)
    are what raw p-values have to be told apart from; once no bracket holds any of them, every
    comparison that the correction makes has one answer.
    """
    if not 0 < alpha < 1:
        message = f"alpha lies between 0 and 1; {alpha} does not"
        raise ValueError(message)
    brackets = adjust_brackets(lows, highs, correction)
    if not any(low <= alpha < high for low, high in brackets):
        return (None,) * len(brackets)
    levels = _levels(len(brackets), correction, alpha)
    return tuple(
        next((level for level in levels if low <= level < high), None)
        for low, high in zip(lows, highs, strict=True)
    )


def _levels(count: int, correction: Correction, alpha: float) -> tuple[float, ...]:
    """Raw p-values at which the steps of a correction change their answer."""
    if correction == "none":
        return (alpha,)
    if correction == "holm":
        shares = [(1, left) for left in range(1, count + 1)]
    else:
        shares = [(rank, count) for rank in range(1, count + 1)]
    return tuple(_largest(alpha, *share) for share in shares)


def _largest(alpha: float, rank: int, count: int) -> float:
    """Largest p for which ``p * count / rank`` is not above alpha, rounding and all."""
    level = alpha * rank / count
    while level * count / rank > alpha:
        level = math.nextafter(level, 0)
    while math.nextafter(level, 1) * count / rank <= alpha:
        level = math.nextafter(level, 1)
    return level


def _require_ordered(lows: Sequence[float], highs: Sequence[float]) -> None:
    """Refuse brackets that end before they begin."""
    for low, high in zip(lows, highs, strict=True):
        if low > high:
            message = f"a bracket ends at {high}, before its beginning {low}"
            raise ValueError(message)


def _stepped(ascending: Vector, correction: Correction) -> Vector:
    """Adjust p-values that are in ascending order."""
    count = len(ascending)
    ranks = np.arange(1, count + 1)
    if correction == "holm":
        return np.maximum.accumulate(ascending * (count + 1 - ranks))
    if correction == "bh":
        return np.minimum.accumulate((ascending * count / ranks)[::-1])[::-1]
    message = f"correction is 'holm', 'bh' or 'none', not {correction!r}"
    raise ValueError(message)
