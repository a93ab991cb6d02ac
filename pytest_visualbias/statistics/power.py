"""Compute what sets of given sizes can detect, before any image is embedded."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri, stdtrit

from pytest_visualbias.statistics.intervals import largest_effect, t_margin
from pytest_visualbias.statistics.permutation.exact import permutation_test_by_value
from pytest_visualbias.statistics.permutation.sides import Side, require_alternative

if TYPE_CHECKING:
    from pytest_visualbias.statistics.permutation.sides import Alternative

# Share of samples in which an effect is detected, or a limit is shown to hold.
POWER = 0.8


def smallest_p(n_x: int, n_y: int, alternative: Alternative) -> float:
    """Return the smallest p-value that a permutation test of these sizes can give.

    Parameters
    ----------
    n_x, n_y : int
        Sizes of the two sets.
    alternative : {"two-sided", "greater", "less"}
        Of the test.

    Returns
    -------
    float
        ``1 / C(n_x + n_y, n_x)``; twice that for two-sided tests of equal sizes, where every
        split is as extreme as its mirror image. 0 if it is too small for a float.
    """
    require_alternative(alternative)
    ways = 2 if alternative == "two-sided" and n_x == n_y else 1
    return ways / math.comb(n_x + n_y, n_x)


def smallest_detectable_effect(
    n_x: int, n_y: int, alpha: float, alternative: Alternative
) -> float | None:
    """Return about the smallest absolute effect size that is significant at `alpha`.

    Parameters
    ----------
    n_x, n_y : int
        Sizes of the two sets, three or more together.
    alpha : float
        Level, after correction; between 0 and 1.
    alternative : {"two-sided", "greater", "less"}
        Of the test.

    Returns
    -------
    float or None
        An effect *observed* below it is not significant. It is not the true effect that a test
        detects with some power (`detectable_effect`). None if even complete separation is not
        significant.

    Notes
    -----
    The permutation distribution is approximated by that of Student's t, of which
    ``d = t sqrt((N - 1)(1/n_x + 1/n_y) / (N - 2 + t^2))`` is a monotone function; so the
    value stays below the bound of d. If the smallest reachable p is above `alpha`, nothing is
    detectable. For a p near the smallest reachable one, the true threshold depends on the scores
    and may be higher.
    """
    if not 0 < alpha < 1:
        message = f"alpha lies between 0 and 1, not at {alpha!r}"
        raise ValueError(message)
    if smallest_p(n_x, n_y, alternative) > alpha:
        return None
    freedom = n_x + n_y - 2
    tails = alpha if alternative == "two-sided" else 2 * alpha
    if tails >= 1:
        return 0.0
    t = t_margin(freedom, 1 - tails)
    return largest_effect(n_x, n_y) * t / math.sqrt(freedom + t * t)


def critical_value(alpha: float) -> float:
    """Return the upper alpha point of the normal distribution."""
    return float(-ndtri(alpha))


def detectable_effect(
    standard_error: float, freedom: float, alpha: float, alternative: Alternative
) -> float:
    """Return the true effect that is detected in 80 % of samples like this one.

    Parameters
    ----------
    standard_error, freedom : float
        Of the effect, and its degrees of freedom.
    alpha : float
        Level, after correction.
    alternative : {"two-sided", "greater", "less"}
        Of the test.

    Returns
    -------
    float
        ``(t + z) SE``, t the critical value of Student's t and z the 80 % point of the normal
        distribution.
    """
    require_alternative(alternative)
    tail = alpha / 2 if alternative == "two-sided" else alpha
    return float((-stdtrit(freedom, tail) + ndtri(POWER)) * standard_error)


def images_for_limit(limit: float, alpha: float) -> int | None:
    """Return how many images per set show in 80 % of samples that an absent effect keeps a limit.

    Parameters
    ----------
    limit : float
        On the absolute effect size; the result is None for 0.
    alpha : float
        Level of each of the two one-sided tests.

    Notes
    -----
    ``4 (z_(1-alpha) + z_((1+power)/2))^2 / limit^2``: with n images in each of four sets the
    variance of an effect size near 0 is about 4/n [1]_.

    References
    ----------
    .. [1] D. Lakens, "Equivalence tests", Social Psychological and Personality Science 8,
       355-362, 2017.
    """
    if limit <= 0:
        return None
    z = critical_value(alpha) + float(ndtri((1 + POWER) / 2))
    return math.ceil(4 * (z / limit) ** 2)


def images_to_show(
    images: float, standard_error: float, distance: float, alpha: float
) -> int | None:
    """Return how many images per set show in 80 % of samples that a value keeps a limit.

    Parameters
    ----------
    images : float
        Number of images in a set now.
    standard_error : float
        Of the value now.
    distance : float
        From the absolute value to the limit; the result is None if it is not positive.
    alpha : float
        Level of the one-sided test.

    Notes
    -----
    ``n SE^2 (z_(1-alpha) + z_power)^2 / distance^2``, if the true value is the estimate.
    """
    if not distance > 0 or not math.isfinite(standard_error):
        return None
    z = critical_value(alpha) + float(ndtri(POWER))
    return math.ceil(images * (standard_error * z / distance) ** 2)


def smallest_visible_gap(
    n_x: int, n_y: int, rate: float, alpha: float, alternative: Alternative
) -> float | None:
    """Return the smallest gap of two rates that is significant at `alpha` in either direction.

    Parameters
    ----------
    n_x, n_y : int
        Sizes of the two sets.
    rate : float
        The lower of the two rates; for rates near 1, 1 minus the higher rate.
    alpha : float
        Level, after correction; between 0 and 1.
    alternative : {"two-sided", "greater", "less"}
        Of the test, whose p is Fisher's exact one.

    Returns
    -------
    float or None
        None if not even a rate of 1 in one set is significant.
    """
    sided: Alternative = "two-sided" if alternative == "two-sided" else "greater"
    gaps = [_visible_gap(few, many, rate, alpha, sided) for few, many in ((n_x, n_y), (n_y, n_x))]
    known = [gap for gap in gaps if gap is not None]
    return max(known) if len(known) == len(gaps) else None


def _visible_gap(
    n_low: int, n_high: int, rate: float, alpha: float, alternative: Alternative
) -> float | None:
    low = round(rate * n_low)
    start = math.ceil(low / n_low * n_high)

    def is_seen(high: int) -> bool:
        first, second = (
            (np.arange(n) < count).astype(float) for n, count in ((n_high, high), (n_low, low))
        )
        side = Side.of(first, second, ("X", "Y"))
        return permutation_test_by_value(side, alternative=alternative).p_value <= alpha

    # p decreases with the number of predictions in one set.
    high = start + bisect.bisect_left(range(start, n_high + 1), True, key=is_seen)
    return None if high > n_high else high / n_high - low / n_low
