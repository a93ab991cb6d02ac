"""Confidence intervals of effects and of their change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from pytest_visualbias.statistics.permutation.sides import mean, spread
from pytest_visualbias.statistics.rates import PairedRates, apart, newcombe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Final

    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative

    Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandardError:
    """How far an estimate may lie from the value of infinitely many images.

    Attributes
    ----------
    value : float
        Standard error.
    freedom : float
        Degrees of freedom of its t.
    bias : float
        Expected difference of the estimate from that value.
    """

    value: float
    freedom: float
    bias: float = 0.0


def jackknife(estimate: float, without: Collection[Vector]) -> StandardError:
    """Estimate the standard error of an estimate from its values without each image.

    Parameters
    ----------
    estimate : float
        With all images.
    without : collection of ndarray
        Values without each image of a set, `(n_k,)` with n_k of two or more, for each set that
        counts as sampled.

    Returns
    -------
    StandardError

    Notes
    -----
    ``V_k = (n_k - 1) / n_k sum((value_(i) - mean value_(.))^2)``; the squared standard error is the
    sum over all sets k [1]_ and the degrees of freedom are Satterthwaite's. The bias is
    ``sum((n_k - 1) (mean value_(.) - estimate))``.

    References
    ----------
    .. [1] B. Efron, C. Stein, "The jackknife estimate of variance", Annals of Statistics 9,
       586-596, 1981.
    """
    variances = [jackknife_variance(values) for values in without]
    return StandardError(
        value=math.sqrt(math.fsum(variances)),
        freedom=pooled_freedom(variances, [len(values) for values in without]),
        bias=math.fsum((len(values) - 1) * (mean(values) - estimate) for values in without),
    )


def jackknife_variance(values: Vector) -> float:
    """Variance of an estimate from its values without each image of one set, `(n,)`."""
    away = values - mean(values)
    return (len(values) - 1) / len(values) * math.fsum(away * away)


def pooled_freedom(variances: Sequence[float], sizes: Sequence[int]) -> float:
    """Degrees of freedom of a sum of variances, each of n_k - 1 (Satterthwaite)."""
    total = math.fsum(variances)
    if total == 0:
        return float(sum(n - 1 for n in sizes))
    shares = [variance / total for variance in variances]
    return 1 / math.fsum(share**2 / (n - 1) for share, n in zip(shares, sizes, strict=True))


def welch_error(first: Vector, second: Vector) -> StandardError:
    """Estimate the standard error of a difference of two means, `(n_1,)` and `(n_2,)` (Welch)."""
    shares = [spread(scores) ** 2 / len(scores) for scores in (first, second)]
    freedom = pooled_freedom(shares, [len(first), len(second)])
    return StandardError(value=math.sqrt(math.fsum(shares)), freedom=freedom)


def t_interval(
    estimate: float, standard_error: float, freedom: float, level: float
) -> tuple[float, float]:
    """Interval of Student's t around an estimate, at a level between 0 and 1."""
    margin = t_margin(freedom, level) * standard_error
    return estimate - margin, estimate + margin


def largest_effect(n_first: int, n_second: int) -> float:
    """Bound of an effect size for these set sizes, ``sqrt(N (N - 1) / (n_1 n_2))``."""
    total = n_first + n_second
    return math.sqrt(total * (total - 1) / (n_first * n_second))


def t_margin(freedom: float, confidence: float) -> float:
    """Quantile of Student's t that leaves out `1 - confidence` on both sides together."""
    require_level(confidence)
    return float(stdtrit(freedom, (1 + confidence) / 2))


def require_level(confidence: float) -> None:
    """Refuse a confidence that is no probability."""
    if not 0 < confidence < 1:
        message = f"confidence lies between 0 and 1, not at {confidence!r}"
        raise ValueError(message)


Interval = tuple[float, float]
Signs = tuple[float, float]

# Effects that differ by less are equal: recorded scores and live ones may differ by rounding.
UNCHANGED: Final = 1e-6

# Smallest spread within sets, in units of the spread of both sets together.
WITHIN_FLOOR: Final = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value with its standard error, and the degrees of freedom of that error."""

    value: float = 0.0
    error: float = 0.0
    freedom: float = 1.0

    def interval(self, level: float) -> Interval:
        """Confidence interval of Student's t."""
        return t_interval(self.value, self.error, self.freedom, level)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimates:
    """Estimates that the intervals of a change are made of; s is the sign of an effect e.

    Attributes
    ----------
    before : Estimate
        ``e_before``.
    after : Estimate
        ``s_after e_after``; with an alternative, negative if ``e_after`` is of the other direction
        and s is 0.
    growth : Estimate
        ``s_after e_after - s_before e_before``.
    opposite : Estimate
        The same with the other sign of ``e_before``.
    shift : Estimate
        ``e_after - e_before``.
    """

    before: Estimate = Estimate()
    after: Estimate = Estimate()
    growth: Estimate = Estimate()
    opposite: Estimate = Estimate()
    shift: Estimate = Estimate()

    def growth_interval(self, level: float) -> Interval:
        """Confidence interval of the growth."""
        ends = (self.growth, self.opposite, self.before, self.after)
        growth, opposite, before, after = (end.interval(level) for end in ends)
        return around_zero(growth, opposite, before, after, is_opposite=self.after.value < 0)

    def shift_interval(self, level: float) -> Interval:
        """Confidence interval of the shift."""
        return self.shift.interval(level)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateEstimates:
    """Rates that the intervals of the change of a gap are made of.

    Attributes
    ----------
    pairs : tuple of PairedRates
        Rates after and before of each group.
    signs : tuple of float
        Signs with which the gaps before and after count.
    opposite : float
        The other sign that the gap before may have.
    upwards : float
        The sign with which a gap after counts.
    """

    pairs: tuple[PairedRates, PairedRates]
    signs: Signs
    opposite: float
    upwards: float

    def growth_interval(self, level: float) -> Interval:
        """Confidence interval of the growth."""
        return around_zero(
            self._interval(self.signs, level),
            self._interval((self.opposite, self.signs[1]), level),
            self._interval((-1.0, 0.0), level),
            self._interval((0.0, self.upwards), level),
            is_opposite=self.signs[1] == 0,
        )

    def shift_interval(self, level: float) -> Interval:
        """Confidence interval of the shift."""
        return self._interval((1.0, 1.0), level)

    def _interval(self, signs: Signs, level: float) -> Interval:
        """Interval of the gap after less that before, each with its sign."""
        before, after = signs
        if before and after:
            turned = [pair.signed(after, before) for pair in self.pairs]
            ends = ((pair.first - pair.second, pair.interval(level)) for pair in turned)
            return apart(*ends)
        if not before and not after:
            return 0.0, 0.0
        rates = (pair.first if after else pair.second for pair in self.pairs)
        counts = [(rate * pair.n, pair.n) for rate, pair in zip(rates, self.pairs, strict=True)]
        if after - before < 0:
            counts.reverse()
        return newcombe(*counts, confidence=level)


def direction(effect: float, alternative: Alternative) -> float:
    """Sign that makes an effect count upwards; 0 if its direction does not count."""
    if alternative == "greater":
        return float(effect > 0)
    if alternative == "less":
        return -float(effect < 0)
    return -1.0 if effect < 0 else 1.0


def opposite(sign: float, alternative: Alternative) -> float:
    """Sign that an effect of the other direction has."""
    sides = {"two-sided": 0.0, "greater": 1.0, "less": -1.0}
    return sides[alternative] - sign


def around_zero(
    growth: Interval,
    opposite: Interval,
    before: Interval,
    after: Interval,
    *,
    is_opposite: bool = False,
) -> Interval:
    """Widen an interval of growth if the sign of an effect is not known.

    Parameters
    ----------
    growth, opposite : tuple of float
        Intervals of the growth, with either sign of the effect before.
    before, after : tuple of float
        Intervals of the effects, that of the effect after with its sign.
    is_opposite : bool
        Whether the effect after is of the direction that does not count.

    Notes
    -----
    If the interval of the effect before contains 0, that effect may add anything from 0: the lower
    end is the smaller one of both signs of it, the upper end is that of the effect after alone.
    """
    beyond = max(after[1], 0.0)
    if before[0] <= 0 <= before[1]:
        return min(growth[0], opposite[0]), beyond
    return growth[0], growth[1] + (beyond if is_opposite else 0.0)


def estimates_of(
    of: Callable[[float, float], Estimate], signs: Signs, alternative: Alternative
) -> Estimates:
    """Return what the intervals of a change are made of.

    Parameters
    ----------
    of : callable
        Gives the estimate of ``s_after e_after - s_before e_before`` for two signs, before first.
    signs : tuple of float
        Signs of the effects before and after.
    alternative : {"two-sided", "greater", "less"}
        Effects that count.
    """
    # An effect after that does not count may still be of the other direction.
    upwards = signs[1] or opposite(0.0, alternative)
    return Estimates(
        before=of(-1.0, 0.0),
        after=of(0.0, upwards),
        growth=of(*signs),
        opposite=of(opposite(signs[0], alternative), signs[1]),
        shift=of(1.0, 1.0),
    )


def estimate(value: float, without: Iterable[Vector]) -> Estimate:
    """Return a value with its `jackknife`, from the values without each image of each set."""
    error = jackknife(value, list(without))
    return Estimate(value=value, error=error.value, freedom=error.freedom)


def within_sets(effect: ArrayLike, n_first: ArrayLike, n_second: ArrayLike) -> Vector:
    """Pooled standard deviation within two sets whose scores have one of 1 over both together.

    Parameters
    ----------
    effect : array_like
        Difference of the means of the two sets.
    n_first, n_second : array_like
        Their sizes, three or more together.

    Returns
    -------
    ndarray
        ``sqrt((N - 1 - n_1 n_2 e^2 / N) / (N - 2))``, at least 1e-6. The effect over it is the
        difference in units of the spread within sets, which has no upper bound.
    """
    first, second = np.asarray(n_first), np.asarray(n_second)
    total = first + second
    squares = total - 1 - first * second * np.square(effect) / total
    within: Vector = np.sqrt(np.maximum(squares, 0.0) / (total - 2))
    return np.maximum(within, WITHIN_FLOOR)
