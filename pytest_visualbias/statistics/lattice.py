"""Scores that are all multiples of one unit, whose sums tie often and exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.tail import Tail

    Vector = NDArray[np.float64]

__all__ = ["on_lattice"]

_FINEST: Final = 2.0**-22


def on_lattice(tail: Tail) -> tuple[Tail, float] | None:
    """Ask the question of a tail in multiples of the unit that its scores have in common.

    Parameters
    ----------
    tail : Tail
        The subsets asked for.

    Returns
    -------
    tuple or None
        The same subsets by scores moved to the multiples of a unit nearest to mean zero, and that
        unit; the threshold lies half a unit below the smallest sum that is in. None where the
        scores have no common unit, or one of less than 2^-22 of their range.

    Notes
    -----
    The multiples stand for the scores only where all of them together are off by less than an
    eighth of the tolerance for ties, and the unit is more than four tolerances: then a sum of
    multiples is over the threshold exactly if the sum of scores is.
    """
    offsets = tail.scores - tail.scores[0]
    unit = _common_unit(offsets, tail.tolerance / 8)
    if unit is None or unit <= 4 * tail.tolerance:
        return None
    steps = np.rint(offsets / unit)
    unit = float(offsets[-1] / steps[-1])
    if float(np.abs(offsets - unit * steps).sum()) > tail.tolerance / 8:
        return None
    start = round(float(tail.scores[0]) / unit)
    moved = unit * start - float(tail.scores[0])
    needed = math.ceil((tail.threshold + tail.size * moved) / unit)
    shifted = replace(tail, scores=unit * (steps + start), threshold=unit * (needed - 0.5))
    return shifted, unit


def _common_unit(offsets: Vector, rounding: float) -> float | None:
    """Find the largest number of which all are multiples, by Euclid's algorithm up to rounding."""
    gaps = np.diff(offsets)
    gaps = gaps[gaps > rounding]
    finest = max(_FINEST * float(offsets[-1]), rounding)
    while gaps.size:
        unit = float(gaps.min())
        if unit <= finest:
            return None
        rests = np.abs(offsets - unit * np.rint(offsets / unit))
        gaps = rests[rests > rounding]
        if not gaps.size:
            return unit
    return None
