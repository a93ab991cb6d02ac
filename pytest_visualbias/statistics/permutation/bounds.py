"""Bound a p-value from both sides by a proof."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from pytest_visualbias.statistics.permutation.approximation import (
    LEAST,
    ROUNDING,
    Half,
    Tilt,
    deal,
    deviation_of,
    fill,
    half_of,
    is_in_range,
    kept_mass,
    log_mean_exp,
    saddlepoint_of,
    tail_mass,
    tilt_of,
)

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Tail

    Vector = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bracket = tuple[float, float]

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


_RELATIVE: Final = 0.01
_ABSOLUTE: Final = 1e-4
_COARSEST: Final = 0.1
_NEGLIGIBLE: Final = 1e-13
_SLIVER: Final = 1e-9
_QUICK: Final = 1e8
_ROUNDING: Final = 1e-9
_SIDE_SHARE: Final = 0.03
_CELLS: Final = 4e8
_ATTEMPTS: Final = 6


def bracket(tails: tuple[Tail, ...]) -> Bracket | None:
    """Bracket the probability that a random relabelling lies in one of the tails.

    Parameters
    ----------
    tails : tuple of Tail
        Disjoint.

    Returns
    -------
    tuple of float or None
        Lower and upper bound, no further apart than 1 % of the upper or 1e-4 (of a smaller p about
        a tenth); wider, though still proven, only where one score is thousands of times further out
        than all others together, or where subsets whose sums are almost but not quite tied hold
        more than that. None where that takes too long.

    Notes
    -----
    The scores are rounded to a grid and the distribution of their sum is found by adding them one
    by one [1]_. For a subset S, ``sum c = h sum u + E`` with known bounds of the error E, and a
    known moment generating function: what is over the threshold by more than a margin on the grid
    is over it in truth, but for the proven and tiny probability of an error over the margin. So

    ``P(U >= t + m) - P(E < -m, ...) <= p <= P(U >= t - m) + P(E > m, ...) + missing``

    and each of the last terms is bounded by an exponential moment (Chernoff), tilted so that it
    is small against p itself. A saddlepoint guess of p chooses the grid, and decides nothing.

    References
    ----------
    .. [1] M. Pagano, D. Tritchler, "On obtaining permutation distributions in polynomial time",
       JASA 78, 435-440, 1983.
    """
    if not all(is_in_range(len(tail.scores), tail.size) for tail in tails):
        return None
    questions = [_Question.of(tail) for tail in tails]
    ways = sum(question.tail.ways for question in questions)
    guess = sum(question.guess * question.tail.ways for question in questions)
    wanted, absolute = _RELATIVE * guess, 0.0
    if not all(question.plan(wanted / ways, 1.0).cells <= _QUICK for question in questions):
        wanted, absolute = max(wanted, min(_ABSOLUTE, _COARSEST * guess)), _ABSOLUTE
    interval = _known(questions)
    for attempt in range(_ATTEMPTS):
        if interval[1] - interval[0] <= max(
            _RELATIVE * interval[1], absolute if attempt else _NEGLIGIBLE
        ):
            break
        # Sums of few or heavy-tailed scores stray further than normal ones.
        plans = [question.plan(wanted / ways, 1 + attempt / 4) for question in questions]
        affordable = _QUICK if attempt and is_fine(interval) else _CELLS
        if any(plan.cells > affordable for plan in plans):
            return interval if attempt else None
        low, high = _total(questions, plans)
        interval = max(interval[0], low), min(interval[1], high)
        allowed = max(_RELATIVE * interval[1], absolute)
        wanted *= min(max(0.7 * allowed / (interval[1] - interval[0]), 0.25), 0.7)
    return interval


def is_fine(interval: Bracket) -> bool:
    """Tell whether a bracket is as narrow as is promised."""
    return interval[1] - interval[0] <= max(_RELATIVE * interval[1], _ABSOLUTE)


def _known(questions: list[_Question]) -> Bracket:
    """Bound from below by the relabelling that was observed, from above by Chernoff's bound."""
    low = max(q.tail.ways * math.exp(-q.tail.log_subsets) for q in questions)
    high = sum(q.tail.ways * math.exp(q.tilt.log_chernoff) for q in questions)
    return low * (1 - _ROUNDING), min(high * (1 + _ROUNDING), 1.0)


def _total(questions: list[_Question], plans: list[_Plan]) -> Bracket:
    parts = [
        (question.tail.ways, question.answer(plan))
        for question, plan in zip(questions, plans, strict=True)
    ]
    low, high = (math.fsum(ways * part[end] for ways, part in parts) for end in (0, 1))
    return low, min(high, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Plan:
    """A grid and the windows in which it is followed.

    Attributes
    ----------
    step : float
        Of the grid.
    margin : float
        Of the rounding error, in standard deviations.
    order : ndarray
        `(n,)`, places of the scores in the order in which they are added.
    halves : tuple of Half
        Of the scores in this order; none where the question is answered without a grid.
    """

    step: float
    margin: float
    order: Integers
    halves: tuple[Half, ...] = ()

    @property
    def cells(self) -> int:
        """How many additions it takes."""
        return sum(half.cells for half in self.halves)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Question:
    """A tail with what is known of it before any grid.

    Attributes
    ----------
    tail : Tail
        The subsets asked for, by scores whose sum does not follow the number taken.
    tilt : Tilt
        Weights that suit it.
    guess : float
        Saddlepoint approximation of its probability.
    unit : float
        That all scores are multiples of; zero where there is none.
    deviation : float
        Standard deviation of the sum.
    """

    tail: Tail
    tilt: Tilt
    guess: float
    unit: float
    deviation: float

    @classmethod
    def of(cls, tail: Tail) -> _Question:
        """Guess the answer."""
        tail, unit = on_lattice(tail) or (tail, 0.0)
        tilt = tilt_of(tail)
        guess = saddlepoint_of(tail, tilt)
        centre = float(tilt.variances @ tail.scores / tilt.variances.sum())
        centre = unit * round(centre / unit) if unit else centre
        moved = replace(
            tail, scores=tail.scores - centre, threshold=tail.threshold - tail.size * centre
        )
        return cls(tail=moved, tilt=tilt, guess=guess, unit=unit, deviation=deviation_of(tail))

    def plan(self, wanted: float, widened: float) -> _Plan:
        """Choose a grid for a bracket about as wide as `wanted`, its windows `widened`."""
        parts = deal(len(self.tail.scores))
        order, middle = np.concatenate(parts), len(parts[0])
        if math.exp(self.tilt.log_chernoff) <= min(_NEGLIGIBLE, wanted):
            return _Plan(step=0.0, margin=0.0, order=order)
        excess = self.tilt.log_chernoff - math.log(self.guess)
        small = _SIDE_SHARE * min(wanted / self.guess, 1.0)
        margin = math.sqrt(2 * (excess - math.log(small)))
        # An error is uniform over a step, and both margins lie around the threshold.
        variances = self.tilt.variances
        in_steps = 2 * margin * math.sqrt(float(variances.sum()) / 12) + 1
        step = _on_ladder(0.9 * wanted / self._density() / in_steps)
        # Ties are told apart by no grid but the scores' own, on which nothing is rounded.
        step = max(step, self.unit)
        # A path may leave its windows, on either side, after any score.
        ways_out = 8 * math.sqrt(len(order))
        reach = -widened * float(ndtri(small * math.exp(-excess) / ways_out))
        scores, shares, variances = (
            values[order] for values in (self.tail.scores / step, self.tilt.shares, variances)
        )
        halves = tuple(
            half_of(scores[part], shares[part], variances[part], self.tail.size, reach)
            for part in (slice(middle), slice(middle, None))
        )
        return _Plan(step=step, margin=margin, order=order, halves=halves)

    def answer(self, plan: _Plan) -> Bracket:
        """Bracket the probability of the tail."""
        chernoff = math.exp(self.tilt.log_chernoff)
        if not plan.halves:
            return 0.0, chernoff * (1 + _ROUNDING)
        low, high = _Gridded(self, plan).bounds()
        return max(low * (1 - _ROUNDING), 0.0), min(high, chernoff) * (1 + _ROUNDING)

    def _density(self) -> float:
        """Density of the sum at the threshold, about."""
        z = float(ndtri(self.guess))
        normal = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / self.deviation
        return max(normal, self.tilt.slope * self.guess)


class _Gridded:
    """The terms of the two bounds, for one grid."""

    def __init__(self, question: _Question, plan: _Plan) -> None:
        self._size, self._slope = question.tail.size, question.tilt.slope
        self._threshold, self._step = question.tail.threshold, plan.step
        self._scores = question.tail.scores[plan.order]
        self._units = np.concatenate([half.units for half in plan.halves])
        self._errors = self._scores - plan.step * self._units
        taken = question.tilt.variances[plan.order]
        centred = self._errors - (taken @ self._errors) / taken.sum()
        self._expected = float(question.tilt.shares[plan.order] @ self._errors)
        self._deviation = math.sqrt(float(taken @ (centred * centred)))
        self._margin = plan.margin
        self._log_subsets = question.tail.log_subsets
        self._halves = [fill(half) for half in plan.halves]

    def bounds(self) -> Bracket:
        """Lower and upper bound of the probability that the sum is at least the threshold."""
        above, too_far_above = self._margin_of(self._errors, self._expected)
        below, too_far_below = self._margin_of(-self._errors, -self._expected)
        # A sliver more, for the division's own rounding.
        generous = math.ceil((self._threshold - above) / self._step - _SLIVER)
        strict = math.ceil((self._threshold + below) / self._step + _SLIVER)
        first, second = self._halves
        all_subsets = math.exp(self._log_subsets + 2 * math.log(LEAST))
        high, low = (
            mass / all_subsets for mass in tail_mass(first, second, self._size, (generous, strict))
        )
        rounding = (len(self._units) + 4) * ROUNDING
        gridded = self._slope * self._step * self._units
        log_moment = log_mean_exp(gridded, self._size)
        log_all = log_moment + self._log_subsets
        kept = math.exp(kept_mass(first, second, self._size, self._slope * self._step) - log_all)
        missing = max(0.0, 1.0 - kept) + rounding
        chernoff = log_moment - self._slope * self._step * generous
        high = high * (1 + rounding) + missing * math.exp(min(0.0, chernoff))
        low *= 1 - rounding
        high += self._beyond(too_far_above, self._slope * self._scores, self._threshold, above)
        low -= self._beyond(too_far_below, gridded, strict * self._step, below)
        return low, high

    def _margin_of(self, errors: Vector, expected: float) -> tuple[float, Vector | None]:
        """Margin for these errors, and the errors in units of it if they can be larger."""
        worst = float(np.sort(errors)[-self._size :].sum())
        wished = expected + self._margin * self._deviation
        # Where all errors are equal, as for scores on a lattice, the worst is what happens.
        if worst <= wished or self._deviation <= _ROUNDING * self._step:
            return worst, None
        return wished, errors * (self._margin / self._deviation)

    def _beyond(
        self, errors: Vector | None, exponents: Vector, threshold: float, margin: float
    ) -> float:
        """Bound the probability that the sum reaches the threshold and the error its margin."""
        if errors is None:
            return 0.0
        rate = self._margin / self._deviation
        log_moment = log_mean_exp(exponents + errors, self._size)
        return math.exp(min(0.0, log_moment - self._slope * threshold - rate * margin))


def _on_ladder(step: float) -> float:
    """Round down to a power of the fourth root of two, so that last bits do not matter."""
    return float(2.0 ** (math.floor(4 * math.log2(step)) / 4))
