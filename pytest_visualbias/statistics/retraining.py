"""Whether an effect has grown over retrainings: trials of one recipe with other seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import stdtr, stdtrit

from pytest_visualbias.statistics.change import Estimate
from pytest_visualbias.statistics.intervals import pooled_freedom
from pytest_visualbias.statistics.side import mean, spread

if TYPE_CHECKING:
    from typing import Final

    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

__all__ = ["smallest_growth", "trials_estimate", "trials_p"]

# Trials from which their spread is known well enough.
_ENOUGH: Final = 3


def trials_estimate(before: Vector, after: Vector) -> Estimate | None:
    """Estimate the growth over retrainings.

    Parameters
    ----------
    before, after : ndarray
        Effects of the trials, each end with its sign, `(trials,)`.

    Returns
    -------
    Estimate or None
        None with fewer than three trials after, or with two before. A single model before is held:
        its effect is taken as known.
    """
    if len(after) < _ENOUGH or 1 < len(before) < _ENOUGH:
        return None
    ends = [end for end in (before, after) if len(end) > 1]
    variances = [spread(end) ** 2 / len(end) for end in ends]
    return Estimate(
        value=mean(after) - mean(before),
        error=math.sqrt(math.fsum(variances)),
        freedom=pooled_freedom(variances, [len(end) for end in ends]),
    )


def trials_p(growth: Estimate, held: float | None) -> float | None:
    """Test the growth over retrainings.

    Parameters
    ----------
    growth : Estimate
        Of `trials_estimate`.
    held : float or None
        Absolute effect of a single model before, if effects of both directions count.

    Returns
    -------
    float or None
        None if the trials do not differ although the effect has grown.

    Notes
    -----
    Null hypothesis: the absolute value of the mean effect over retrainings after is not larger than
    before. Of several models before, one-sided p of Welch's t. Of a single model before, with K
    trials after, standard deviation sd and ``T = growth sqrt(K) / sd``, p is
    ``P(t >= T) + P(t >= T + 2 |e_before| sqrt(K) / sd)`` with K - 1 degrees of freedom: the sign of
    the effect after was chosen by the data.
    """
    if growth.error == 0:
        return 1.0 if growth.value <= 0 else None
    t = growth.value / growth.error
    p = float(stdtr(growth.freedom, -t))
    if held is not None:
        p += float(stdtr(growth.freedom, -t - 2 * held / growth.error))
    return min(p, 1.0)


def smallest_growth(growth: Estimate, alpha: float) -> float:
    """Smallest growth over retrainings that is significant with so many trials."""
    return float(stdtrit(growth.freedom, 1 - alpha)) * growth.error
