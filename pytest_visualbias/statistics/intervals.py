"""Confidence intervals of effects, from the effect without each image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import stdtrit

from pytest_visualbias.statistics.side import mean, spread

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

__all__ = [
    "StandardError",
    "jackknife",
    "jackknife_variance",
    "largest_effect",
    "pooled_freedom",
    "require_level",
    "t_interval",
    "t_margin",
    "welch_error",
]


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
