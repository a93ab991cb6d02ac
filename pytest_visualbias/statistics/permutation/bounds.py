"""Compute proven lower and upper bounds of a permutation p-value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from pytest_visualbias.statistics.permutation.grid import (
    FLOAT_ROUNDING,
    UNIT_COUNT,
    GridHalf,
    count_sums,
    count_tail,
    grid_half,
    is_countable_by_grid,
    log_followed_moment,
    split_scores,
)
from pytest_visualbias.statistics.permutation.saddlepoint import (
    Tilt,
    log_mean_exp,
    saddlepoint_probability,
    sum_deviation,
    tilt_for_tail,
)

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.permutation.sides import Tail

    Vector = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bracket = tuple[float, float]

_SMALLEST_UNIT: Final = 2.0**-22


def on_lattice(tail: Tail) -> tuple[Tail, float] | None:
    """Express a tail in multiples of the common unit of its scores.

    Parameters
    ----------
    tail : Tail
        Subsets of scores.

    Returns
    -------
    tuple or None
        The tail with scores shifted to multiples of a unit, with a mean near zero, and the unit;
        the threshold lies half a unit below the smallest sum in the tail. None if the scores have
        no common unit, or one of less than 2^-22 of their range.

    Notes
    -----
    Multiples replace the scores only if all differences together are less than an eighth of the
    tolerance for ties and the unit is more than four tolerances. Then a sum of multiples is over
    the threshold exactly if the sum of scores is.
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
    shift = unit * start - float(tail.scores[0])
    needed = math.ceil((tail.threshold + tail.size * shift) / unit)
    shifted = replace(tail, scores=unit * (steps + start), threshold=unit * (needed - 0.5))
    return shifted, unit


def _common_unit(offsets: Vector, rounding: float) -> float | None:
    """Return the largest number that divides all offsets up to rounding (Euclid's algorithm)."""
    gaps = np.diff(offsets)
    gaps = gaps[gaps > rounding]
    finest = max(_SMALLEST_UNIT * float(offsets[-1]), rounding)
    while gaps.size:
        unit = float(gaps.min())
        if unit <= finest:
            return None
        remainders = np.abs(offsets - unit * np.rint(offsets / unit))
        gaps = remainders[remainders > rounding]
        if not gaps.size:
            return unit
    return None


_RELATIVE: Final = 0.01
_ABSOLUTE: Final = 1e-4
_MAX_RELATIVE: Final = 0.1
_NEGLIGIBLE: Final = 1e-13
_THRESHOLD_ROUNDING: Final = 1e-9
_CHEAP_CELLS: Final = 1e8
_ROUNDING: Final = 1e-9
_ERROR_SHARE: Final = 0.03
_MAX_CELLS: Final = 4e8
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
        Lower and upper bound, at most 1 % of the upper bound or 1e-4 apart (about a tenth of a
        smaller p). They are wider, though still proven, only if one score is thousands of times
        further out than all others together, or if subsets with nearly tied sums hold more than
        that. None if the computation takes too long.

    Notes
    -----
    The scores are rounded to a grid, and the distribution of their sum is computed by adding them
    one by one [1]_. For a subset S, ``sum c = h sum u + E`` with known bounds and a known moment
    generating function of the error E. A sum over the threshold by more than a margin on the grid
    is over it in truth, except with the proven, tiny probability of an error over the margin. So

    ``P(U >= t + m) - P(E < -m, ...) <= p <= P(U >= t - m) + P(E > m, ...) + missing``

    and each of the last terms is bounded by an exponential moment (Chernoff), tilted so that it is
    small compared with p. A saddlepoint approximation of p chooses the grid and decides nothing.

    References
    ----------
    .. [1] M. Pagano, D. Tritchler, "On obtaining permutation distributions in polynomial time",
       JASA 78, 435-440, 1983.
    """
    if not all(is_countable_by_grid(len(tail.scores), tail.size) for tail in tails):
        return None
    problems = [_TailProblem.of(tail) for tail in tails]
    ways = sum(problem.tail.ways for problem in problems)
    guess = sum(problem.guess * problem.tail.ways for problem in problems)
    width, absolute = _RELATIVE * guess, 0.0
    if not all(problem.plan(width / ways, 1.0).cells <= _CHEAP_CELLS for problem in problems):
        width, absolute = max(width, min(_ABSOLUTE, _MAX_RELATIVE * guess)), _ABSOLUTE
    interval = _initial_bracket(problems)
    for attempt in range(_ATTEMPTS):
        if interval[1] - interval[0] <= max(
            _RELATIVE * interval[1], absolute if attempt else _NEGLIGIBLE
        ):
            break
        # Sums of few or heavy-tailed scores spread further than normal ones.
        plans = [problem.plan(width / ways, 1 + attempt / 4) for problem in problems]
        allowed_cells = _CHEAP_CELLS if attempt and is_narrow(interval) else _MAX_CELLS
        if any(plan.cells > allowed_cells for plan in plans):
            return interval if attempt else None
        low, high = _sum_brackets(problems, plans)
        interval = max(interval[0], low), min(interval[1], high)
        allowed = max(_RELATIVE * interval[1], absolute)
        width *= min(max(0.7 * allowed / (interval[1] - interval[0]), 0.25), 0.7)
    return interval


def is_narrow(interval: Bracket) -> bool:
    """Return whether a bracket is as narrow as documented."""
    return interval[1] - interval[0] <= max(_RELATIVE * interval[1], _ABSOLUTE)


def _initial_bracket(problems: list[_TailProblem]) -> Bracket:
    """Return the observed relabelling as lower bound and Chernoff's bound as upper bound."""
    low = max(problem.tail.ways * math.exp(-problem.tail.log_subsets) for problem in problems)
    high = sum(problem.tail.ways * math.exp(problem.tilt.log_chernoff) for problem in problems)
    return low * (1 - _ROUNDING), min(high * (1 + _ROUNDING), 1.0)


def _sum_brackets(problems: list[_TailProblem], plans: list[_GridPlan]) -> Bracket:
    parts = [
        (problem.tail.ways, problem.bounds(plan))
        for problem, plan in zip(problems, plans, strict=True)
    ]
    low, high = (math.fsum(ways * part[end] for ways, part in parts) for end in (0, 1))
    return low, min(high, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _GridPlan:
    """A grid and the windows of followed sums.

    Attributes
    ----------
    step : float
        Of the grid.
    margin : float
        Margin of the rounding error, in standard deviations.
    order : ndarray
        `(n,)`, indices of the scores in the order of addition.
    halves : tuple of Half
        Of the scores in this order; empty if the tail needs no grid.
    """

    step: float
    margin: float
    order: Integers
    halves: tuple[GridHalf, ...] = ()

    @property
    def cells(self) -> int:
        """Number of additions."""
        return sum(half.cells for half in self.halves)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _TailProblem:
    """A tail with its tilt and its approximate probability.

    Attributes
    ----------
    tail : Tail
        Subsets by scores whose sum is uncorrelated with the subset size.
    tilt : Tilt
        Exponential tilt of the tail.
    guess : float
        Saddlepoint approximation of its probability.
    unit : float
        Common unit of the scores; 0 if there is none.
    deviation : float
        Standard deviation of the sum.
    """

    tail: Tail
    tilt: Tilt
    guess: float
    unit: float
    deviation: float

    @classmethod
    def of(cls, tail: Tail) -> _TailProblem:
        """Return the problem of a tail, with its saddlepoint approximation."""
        tail, unit = on_lattice(tail) or (tail, 0.0)
        tilt = tilt_for_tail(tail)
        guess = saddlepoint_probability(tail, tilt)
        centre = float(tilt.variances @ tail.scores / tilt.variances.sum())
        centre = unit * round(centre / unit) if unit else centre
        shifted = replace(
            tail, scores=tail.scores - centre, threshold=tail.threshold - tail.size * centre
        )
        return cls(tail=shifted, tilt=tilt, guess=guess, unit=unit, deviation=sum_deviation(tail))

    def plan(self, width: float, widening: float) -> _GridPlan:
        """Choose a grid for a bracket about as wide as `width`, with widened windows."""
        parts = split_scores(len(self.tail.scores))
        order, middle = np.concatenate(parts), len(parts[0])
        if math.exp(self.tilt.log_chernoff) <= min(_NEGLIGIBLE, width):
            return _GridPlan(step=0.0, margin=0.0, order=order)
        excess = self.tilt.log_chernoff - math.log(self.guess)
        error_share = _ERROR_SHARE * min(width / self.guess, 1.0)
        margin = math.sqrt(2 * (excess - math.log(error_share)))
        # An error is uniform over a step, and a margin lies on each side of the threshold.
        variances = self.tilt.variances
        in_steps = 2 * margin * math.sqrt(float(variances.sum()) / 12) + 1
        step = _round_down_step(0.9 * width / self._density() / in_steps)
        # On the scores' own unit nothing is rounded, so ties stay ties.
        step = max(step, self.unit)
        # A sum can leave its window on either side after every score.
        exits = 8 * math.sqrt(len(order))
        deviations = -widening * float(ndtri(error_share * math.exp(-excess) / exits))
        scores, shares, variances = (
            values[order] for values in (self.tail.scores / step, self.tilt.shares, variances)
        )
        halves = tuple(
            grid_half(scores[part], shares[part], variances[part], self.tail.size, deviations)
            for part in (slice(middle), slice(middle, None))
        )
        return _GridPlan(step=step, margin=margin, order=order, halves=halves)

    def bounds(self, plan: _GridPlan) -> Bracket:
        """Bracket the probability of the tail."""
        chernoff = math.exp(self.tilt.log_chernoff)
        if not plan.halves:
            return 0.0, chernoff * (1 + _ROUNDING)
        low, high = _GridBounds(self, plan).bounds()
        return max(low * (1 - _ROUNDING), 0.0), min(high, chernoff) * (1 + _ROUNDING)

    def _density(self) -> float:
        """Return about the density of the sum at the threshold."""
        z = float(ndtri(self.guess))
        normal = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / self.deviation
        return max(normal, self.tilt.slope * self.guess)


class _GridBounds:
    """The lower and the upper bound from one grid."""

    def __init__(self, problem: _TailProblem, plan: _GridPlan) -> None:
        self._size, self._slope = problem.tail.size, problem.tilt.slope
        self._threshold, self._step = problem.tail.threshold, plan.step
        self._scores = problem.tail.scores[plan.order]
        self._units = np.concatenate([half.units for half in plan.halves])
        self._errors = self._scores - plan.step * self._units
        taken = problem.tilt.variances[plan.order]
        centred = self._errors - (taken @ self._errors) / taken.sum()
        self._expected = float(problem.tilt.shares[plan.order] @ self._errors)
        self._deviation = math.sqrt(float(taken @ (centred * centred)))
        self._margin = plan.margin
        self._log_subsets = problem.tail.log_subsets
        self._halves = [count_sums(half) for half in plan.halves]

    def bounds(self) -> Bracket:
        """Return bounds of the probability that the sum is at least the threshold."""
        above, too_far_above = self._margin_of(self._errors, self._expected)
        below, too_far_below = self._margin_of(-self._errors, -self._expected)
        # The tolerance covers the rounding of the division.
        upper_threshold = math.ceil((self._threshold - above) / self._step - _THRESHOLD_ROUNDING)
        lower_threshold = math.ceil((self._threshold + below) / self._step + _THRESHOLD_ROUNDING)
        first, second = self._halves
        all_subsets = math.exp(self._log_subsets + 2 * math.log(UNIT_COUNT))
        high, low = (
            mass / all_subsets
            for mass in count_tail(first, second, self._size, (upper_threshold, lower_threshold))
        )
        rounding = (len(self._units) + 4) * FLOAT_ROUNDING
        gridded = self._slope * self._step * self._units
        log_moment = log_mean_exp(gridded, self._size)
        log_total = log_moment + self._log_subsets
        followed = math.exp(
            log_followed_moment(first, second, self._size, self._slope * self._step) - log_total
        )
        missing = max(0.0, 1.0 - followed) + rounding
        chernoff = log_moment - self._slope * self._step * upper_threshold
        high = high * (1 + rounding) + missing * math.exp(min(0.0, chernoff))
        low *= 1 - rounding
        high += self._beyond(too_far_above, self._slope * self._scores, self._threshold, above)
        low -= self._beyond(too_far_below, gridded, lower_threshold * self._step, below)
        return low, high

    def _margin_of(self, errors: Vector, expected: float) -> tuple[float, Vector | None]:
        """Return a margin of errors, and the scaled errors if they can exceed it."""
        worst = float(np.sort(errors)[-self._size :].sum())
        likely_margin = expected + self._margin * self._deviation
        # If all errors are equal, as for scores on a lattice, the largest sum always occurs.
        if worst <= likely_margin or self._deviation <= _ROUNDING * self._step:
            return worst, None
        return likely_margin, errors * (self._margin / self._deviation)

    def _beyond(
        self, errors: Vector | None, exponents: Vector, threshold: float, margin: float
    ) -> float:
        """Bound the probability that the sum reaches the threshold and the error its margin."""
        if errors is None:
            return 0.0
        rate = self._margin / self._deviation
        log_moment = log_mean_exp(exponents + errors, self._size)
        return math.exp(min(0.0, log_moment - self._slope * threshold - rate * margin))


def _round_down_step(step: float) -> float:
    """Round down to a power of the fourth root of 2, so that rounding errors do not matter."""
    return float(2.0 ** (math.floor(4 * math.log2(step)) / 4))
