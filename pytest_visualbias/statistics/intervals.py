"""Compute confidence intervals of effects and of their change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from pytest_visualbias.statistics.permutation.sides import mean, sample_std
from pytest_visualbias.statistics.rates import PairedRates, difference_interval, newcombe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Final

    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.permutation.sides import Alternative

    Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandardError:
    """Standard error and bias of an estimate.

    Attributes
    ----------
    value : float
        Standard error.
    freedom : float
        Degrees of freedom of its t.
    bias : float
        Expected difference of the estimate from the true value.
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
    """Return the jackknife variance from the values without each image of one set, `(n,)`."""
    away = values - mean(values)
    return (len(values) - 1) / len(values) * math.fsum(away * away)


def pooled_freedom(variances: Sequence[float], sizes: Sequence[int]) -> float:
    """Return Satterthwaite's degrees of freedom of a sum of variances, each with n_k - 1."""
    total = math.fsum(variances)
    if total == 0:
        return float(sum(n - 1 for n in sizes))
    shares = [variance / total for variance in variances]
    return 1 / math.fsum(share**2 / (n - 1) for share, n in zip(shares, sizes, strict=True))


def welch_error(first: Vector, second: Vector) -> StandardError:
    """Estimate the standard error of a difference of two means, `(n_1,)` and `(n_2,)` (Welch)."""
    shares = [sample_std(scores) ** 2 / len(scores) for scores in (first, second)]
    freedom = pooled_freedom(shares, [len(first), len(second)])
    return StandardError(value=math.sqrt(math.fsum(shares)), freedom=freedom)


def t_interval(
    estimate: float, standard_error: float, freedom: float, level: float
) -> tuple[float, float]:
    """Return the interval of Student's t around an estimate, at a level between 0 and 1."""
    margin = t_margin(freedom, level) * standard_error
    return estimate - margin, estimate + margin


def largest_effect(n_first: int, n_second: int) -> float:
    """Return the upper bound of an effect size, ``sqrt(N (N - 1) / (n_1 n_2))``."""
    total = n_first + n_second
    return math.sqrt(total * (total - 1) / (n_first * n_second))


def t_margin(freedom: float, confidence: float) -> float:
    """Return the two-sided quantile of Student's t for a confidence."""
    require_level(confidence)
    return float(stdtrit(freedom, (1 + confidence) / 2))


def require_level(confidence: float) -> None:
    """Raise if a confidence is not between 0 and 1."""
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
    """Estimates from which the intervals of a change are computed; s is the sign of an effect e.

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
        return widen_growth_interval(
            growth, opposite, before, after, is_opposite=self.after.value < 0
        )

    def shift_interval(self, level: float) -> Interval:
        """Confidence interval of the shift."""
        return self.shift.interval(level)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateEstimates:
    """Rates from which the intervals of the change of a gap are computed.

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
        return widen_growth_interval(
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
        """Return the interval of the gap after minus the gap before, each with its sign."""
        before, after = signs
        if before and after:
            turned = [pair.signed(after, before) for pair in self.pairs]
            ends = ((pair.first - pair.second, pair.interval(level)) for pair in turned)
            return difference_interval(*ends)
        if not before and not after:
            return 0.0, 0.0
        rates = (pair.first if after else pair.second for pair in self.pairs)
        counts = [(rate * pair.n, pair.n) for rate, pair in zip(rates, self.pairs, strict=True)]
        if after - before < 0:
            counts.reverse()
        return newcombe(*counts, confidence=level)


def direction_sign(effect: float, alternative: Alternative) -> float:
    """Return the sign that makes an effect positive; 0 if its direction does not count."""
    if alternative == "greater":
        return float(effect > 0)
    if alternative == "less":
        return -float(effect < 0)
    return -1.0 if effect < 0 else 1.0


def opposite_sign(sign: float, alternative: Alternative) -> float:
    """Return the sign of an effect of the other direction."""
    sides = {"two-sided": 0.0, "greater": 1.0, "less": -1.0}
    return sides[alternative] - sign


def widen_growth_interval(
    growth: Interval,
    opposite: Interval,
    before: Interval,
    after: Interval,
    *,
    is_opposite: bool = False,
) -> Interval:
    """Widen an interval of growth if the sign of an effect is uncertain.

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


def compute_estimates(
    signed_estimate: Callable[[float, float], Estimate], signs: Signs, alternative: Alternative
) -> Estimates:
    """Return the estimates from which the intervals of a change are computed.

    Parameters
    ----------
    signed_estimate : callable
        Returns the estimate of ``s_after e_after - s_before e_before``; takes the sign before, then
        the sign after.
    signs : tuple of float
        Signs of the effects before and after.
    alternative : {"two-sided", "greater", "less"}
        Effects that count.
    """
    # An effect after that does not count may still be of the other direction.
    upwards = signs[1] or opposite_sign(0.0, alternative)
    return Estimates(
        before=signed_estimate(-1.0, 0.0),
        after=signed_estimate(0.0, upwards),
        growth=signed_estimate(*signs),
        opposite=signed_estimate(opposite_sign(signs[0], alternative), signs[1]),
        shift=signed_estimate(1.0, 1.0),
    )


def jackknife_estimate(value: float, without: Iterable[Vector]) -> Estimate:
    """Return a value with its `jackknife`, from the values without each image of each set."""
    error = jackknife(value, list(without))
    return Estimate(value=value, error=error.value, freedom=error.freedom)


def within_sets(effect: ArrayLike, n_first: ArrayLike, n_second: ArrayLike) -> Vector:
    """Return the pooled standard deviation within two sets whose pooled scores have unit variance.

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
