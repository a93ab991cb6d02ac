"""Intervals of a proportion."""

from __future__ import annotations

import math

from scipy.special import ndtri

__all__ = ["wilson"]


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion [1]_.

    Parameters
    ----------
    successes, trials : int
        How many of how many independent trials.
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
