"""Bounds of the probability of one tail, from a grid whose rounding errors are carried along."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from pytest_visualbias.statistics.grid import (
    Half,
    Windows,
    deal,
    fill,
    kept_mass,
    tail_mass,
    windows_of,
)
from pytest_visualbias.statistics.lattice import on_lattice
from pytest_visualbias.statistics.tilting import (
    Tilt,
    deviation_of,
    log_mean_exp,
    saddlepoint_of,
    tilt_of,
)

if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.tail import Tail

    Vector = NDArray[np.float64]
    Bracket = tuple[float, float]

__all__ = ["NEGLIGIBLE", "ROUNDING", "Plan", "Question"]

NEGLIGIBLE: Final = 1e-9
ROUNDING: Final = 1e-9
_SIDE_SHARE: Final = 0.03
_AFFORDABLE: Final = 4e8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """A grid and the windows in which it is followed.

    Attributes
    ----------
    step : float
        Of the grid; zero where the question is answered without one.
    margin : float
        Of the rounding error, in standard deviations.
    halves : tuple of Half
        Scores in grid steps.
    windows : tuple of Windows
        For each half.
    """

    step: float
    margin: float
    halves: tuple[Half, ...] = ()
    windows: tuple[Windows, ...] = ()

    @property
    def cells(self) -> int:
        """How many additions it takes."""
        return sum(windows.cells for windows in self.windows)

    @property
    def bytes(self) -> float:
        """How much memory it takes."""
        return sum(windows.bytes for windows in self.windows)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Question:
    """A tail with what is known of it before any grid.

    Attributes
    ----------
    tail : Tail
        The subsets asked for.
    tilt : Tilt
        Weights that suit it.
    guess : float
        Saddlepoint approximation of its probability.
    unit : float
        That all scores are multiples of; zero where there is none.
    """

    tail: Tail
    tilt: Tilt
    guess: float
    unit: float = 0.0

    @classmethod
    def of(cls, tail: Tail) -> Question:
        """Guess the answer."""
        tail, unit = on_lattice(tail) or (tail, 0.0)
        tilt = tilt_of(tail)
        return cls(tail=tail, tilt=tilt, guess=saddlepoint_of(tail, tilt), unit=unit)

    def plan(self, wanted: float, widened: float = 1.0) -> Plan:
        """Choose a grid for a bracket about as wide as `wanted`, its windows `widened`."""
        if math.exp(self.tilt.log_chernoff) <= min(NEGLIGIBLE, wanted):
            return Plan(step=0.0, margin=0.0)
        scores, taken = self.tail.scores, self.tilt.variances
        excess = self.tilt.log_chernoff - math.log(self.guess)
        small = _SIDE_SHARE * min(wanted / self.guess, 1.0)
        margin = math.sqrt(2 * (excess - math.log(small)))
        # An error is uniform over a step, and both margins lie around the threshold.
        in_steps = 2 * margin * math.sqrt(float(taken.sum()) / 12) + 1
        step = _on_ladder(0.9 * wanted / self._density() / in_steps)
        # A path may leave its windows, on either side, after any score.
        ways_out = 8 * math.sqrt(len(scores))
        reach = -widened * float(ndtri(small * math.exp(-excess) / ways_out))
        if self.unit:
            # Ties are told apart by no grid but the scores' own, on which nothing is rounded.
            own = self._plan_at(self.unit, margin, reach)
            if own.cells <= _AFFORDABLE:
                return own
        return self._plan_at(step, margin, reach)

    def _plan_at(self, step: float, margin: float, reach: float) -> Plan:
        """Plan a grid of this step."""
        halves = deal(self.tail.scores / step, self.tilt.shares)
        spread = float(self.tilt.variances.sum())
        windows = tuple(windows_of(half, self.tail.size, spread, reach) for half in halves)
        return Plan(step=step, margin=margin, halves=halves, windows=windows)

    def answer(self, plan: Plan) -> Bracket:
        """Bracket the probability of the tail."""
        chernoff = math.exp(self.tilt.log_chernoff)
        if not plan.halves:
            return 0.0, chernoff * (1 + ROUNDING)
        low, high = _Gridded(self, plan).bounds()
        return max(low * (1 - ROUNDING), 0.0), min(high, chernoff) * (1 + ROUNDING)

    def _density(self) -> float:
        """Density of the sum at the threshold, about."""
        z = float(ndtri(self.guess))
        normal = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / deviation_of(self.tail)
        return max(normal, self.tilt.slope * self.guess)


class _Gridded:
    """The terms of the two bounds, for one grid."""

    def __init__(self, question: Question, plan: Plan) -> None:
        self._size, self._slope = question.tail.size, question.tilt.slope
        self._threshold, self._step = question.tail.threshold, plan.step
        self._scores = plan.step * np.concatenate([half.scores for half in plan.halves])
        self._units = np.concatenate([half.units for half in plan.halves])
        self._errors = self._scores - plan.step * self._units
        shares = np.concatenate([half.shares for half in plan.halves])
        taken = shares * (1 - shares)
        centred = self._errors - (taken @ self._errors) / taken.sum()
        self._expected = float(shares @ self._errors)
        self._deviation = math.sqrt(float(taken @ (centred * centred)))
        self._margin = plan.margin
        start = -question.tail.log_subsets / 2
        self._halves = tuple(
            fill(half, windows, start)
            for half, windows in zip(plan.halves, plan.windows, strict=True)
        )

    def bounds(self) -> Bracket:
        """Lower and upper bound of the probability that the sum is at least the threshold."""
        above, too_far_above = self._margin_of(self._errors, self._expected)
        below, too_far_below = self._margin_of(-self._errors, -self._expected)
        # A sliver more, for the division's own rounding.
        generous = math.ceil((self._threshold - above) / self._step - NEGLIGIBLE)
        strict = math.ceil((self._threshold + below) / self._step + NEGLIGIBLE)
        one, other = self._halves
        high, low = tail_mass(one, other, self._size, (generous, strict)).tolist()
        gridded = self._slope * self._step * self._units
        log_moment = log_mean_exp(gridded, self._size)
        log_kept = kept_mass(one, other, self._size, self._slope * self._step) - log_moment
        missing = max(0.0, -math.expm1(log_kept)) + ROUNDING
        chernoff = log_moment - self._slope * self._step * generous
        high += missing * math.exp(min(0.0, chernoff))
        high += self._beyond(too_far_above, self._slope * self._scores, self._threshold, above)
        low -= self._beyond(too_far_below, gridded, strict * self._step, below)
        return low, high

    def _margin_of(self, errors: Vector, expected: float) -> tuple[float, Vector | None]:
        """Margin for these errors, and the errors in units of it if they can be larger."""
        worst = float(np.sort(errors)[-self._size :].sum())
        wished = expected + self._margin * self._deviation
        # Where all errors are equal, as for scores on a lattice, the worst is what happens.
        if worst <= wished or self._deviation <= ROUNDING * self._step:
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
