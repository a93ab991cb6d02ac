"""Intervals of a proportion, and of the difference of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import ndtri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

__all__ = ["PairedRates", "apart", "newcombe", "wilson"]

Interval = tuple[float, float]


def wilson(successes: float, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion [1]_.

    Parameters
    ----------
    successes : float
        How many; the sum of shares where each trial is a mean of several, which only widens it.
    trials : int
        Of how many independent trials.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    tuple of float
        Both within [0, 1]; of an interval that is never empty, even where the proportion is 0 or 1.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       J. Am. Stat. Assoc. 22, 209-212, 1927.
    """
    if not 0 <= successes <= trials or trials == 0:
        message = f"{successes} of {trials} is no proportion"
        raise ValueError(message)
    if not 0 < confidence < 1:
        message = f"a confidence lies between 0 and 1; {confidence} does not"
        raise ValueError(message)
    z = float(ndtri((1 + confidence) / 2))
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    half /= 1 + z * z / trials
    # At the ends of the scale the formula gives 0 and 1 but for rounding.
    low = middle - half if successes else 0.0
    high = middle + half if successes < trials else 1.0
    return low, high


def newcombe(
    first: tuple[float, int], second: tuple[float, int], *, confidence: float = 0.95
) -> Interval:
    """Return Newcombe's hybrid score interval of the difference of two proportions [1]_.

    Parameters
    ----------
    first, second : tuple of float and int
        How many successes of how many independent trials.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    tuple of float
        Around the difference of the proportions, within [-1, 1]; never empty.

    References
    ----------
    .. [1] R. G. Newcombe, "Interval estimation for the difference between independent
       proportions: comparison of eleven methods", Statistics in Medicine 17, 873-890, 1998,
       method 10.
    """
    shares = first[0] / first[1], second[0] / second[1]
    ends = (wilson(*one, confidence=confidence) for one in (first, second))
    return apart(*zip(shares, ends, strict=True))


def apart(first: tuple[float, Interval], second: tuple[float, Interval]) -> Interval:
    """Return the interval of the difference of two independent estimates with their intervals.

    Notes
    -----
    Each end is as far from the difference as the two ends that lead to it are from their
    estimates, added as squares: the principle of Newcombe's interval, for estimates of any kind.
    """
    (one, (one_low, one_high)), (other, (other_low, other_high)) = first, second
    difference = one - other
    low = difference - math.hypot(one - one_low, other_high - other)
    high = difference + math.hypot(one_high - one, other - other_low)
    return low, high


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedRates:
    """Two proportions of the same n trials, and how they go together.

    Attributes
    ----------
    n : int
        Trials.
    first, second : float
        The proportions.
    shared : float
        Their covariance (ddof 0).
    """

    n: int
    first: float
    second: float
    shared: float

    @classmethod
    def of(cls, first: Vector, second: Vector) -> PairedRates:
        """Count two successes, or shares, of each trial, `(n,)`."""
        n = len(first)
        p, q = math.fsum(first) / n, math.fsum(second) / n
        return cls(n=n, first=p, second=q, shared=math.fsum((first - p) * (second - q)) / n)

    def signed(self, first: float, second: float) -> PairedRates:
        """Return the pair with the proportions of opposite sign replaced by their complements.

        But for a constant, a proportion of opposite sign is that of the other outcome.
        """
        return PairedRates(
            n=self.n,
            first=self.first if first > 0 else 1 - self.first,
            second=self.second if second > 0 else 1 - self.second,
            shared=self.shared * first * second,
        )

    def interval(self, confidence: float) -> Interval:
        """Return Newcombe's interval of the difference of the proportions [1]_.

        Notes
        -----
        Wilson's interval of either proportion, with the correlation of the two between them; where
        it is positive it is lowered, as for continuity, by half a trial.

        References
        ----------
        .. [1] R. G. Newcombe, "Improved confidence intervals for the difference between binomial
           proportions based on paired data", Statistics in Medicine 17, 2635-2650, 1998, method 10.
        """
        p, q = self.first, self.second
        (p_low, p_high), (q_low, q_high) = (
            wilson(rate * self.n, self.n, confidence=confidence) for rate in (p, q)
        )
        scale = math.sqrt(p * (1 - p) * q * (1 - q))
        shared = self.shared if self.shared <= 0 else max(0.0, self.shared - 1 / (2 * self.n))
        phi = 0.0 if scale == 0 else max(-1.0, min(1.0, shared / scale))

        def margin(one: float, other: float) -> float:
            return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))

        return p - q - margin(p - p_low, q_high - q), p - q + margin(p_high - p, q - q_low)
