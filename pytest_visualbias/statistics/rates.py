"""Compute rates of predictions and their confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import expit, ndtri, softmax

from pytest_visualbias.errors import DegenerateTestError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

Activation = Literal["softmax", "sigmoid", "none"]

# How far the sum of probabilities may be from 1.
_ROUNDING = 1e-3

# With one class, softmax gives 1 for every logit.
_FEWEST = 2


def probabilities(
    logits: ArrayLike, index: int, *, activation: Activation, role: str | None = None
) -> Vector:
    """Return the probability of a class for each image.

    Parameters
    ----------
    logits : array_like
        `(n, classes)`.
    index : int
        Index of the class, from 0.
    activation : {"softmax", "sigmoid", "none"}
        ``softmax`` if classes exclude each other, ``sigmoid`` if each is decided independently;
        ``none`` if the rows are probabilities.
    role : str, optional
        Set that the images belong to, for errors.

    Returns
    -------
    ndarray
        `(n,)`, within [0, 1].

    Raises
    ------
    DegenerateTestError
        If the class does not exist, or logits are not finite.
    """
    rows = _checked_logits(logits, index, activation, role)
    if activation == "none":
        if rows.min() < 0 or rows.max() > 1:
            raise DegenerateTestError(
                "'activation: none' states probabilities, and the rows are not from 0 to 1",
                "remove it",
            )
        return rows[:, index].copy()
    if activation == "sigmoid":
        result: Vector = expit(rows[:, index])
    else:
        result = softmax(rows, axis=1)[:, index]
    return result


def predicted(
    logits: ArrayLike,
    index: int,
    *,
    activation: Activation,
    threshold: float | None = None,
    role: str | None = None,
) -> Vector:
    """Return whether each image is predicted as a class.

    Parameters
    ----------
    logits, index, activation, role
        As in `probabilities`.
    threshold : float, optional
        Least probability that counts as predicted. Without a threshold, the class with the largest
        logit is predicted (the first of equal ones), with `sigmoid` every class of at least 0.5.
        With `none`, the class with the largest probability if those of an image sum to 1, else
        every class of at least 0.5.

    Returns
    -------
    ndarray
        `(n,)`, of 0 and 1.
    """
    rows = _checked_logits(logits, index, activation, role)
    is_one_class = activation == "softmax" or (activation == "none" and are_shares(rows))
    if threshold is None and is_one_class:
        return np.asarray(rows.argmax(axis=1) == index, dtype=np.float64)
    least = 0.5 if threshold is None else threshold
    shares = probabilities(logits, index, activation=activation, role=role)
    return np.asarray(shares >= least, dtype=np.float64)


def are_shares(rows: ArrayLike) -> bool:
    """Return whether rows `(n, classes)` are probabilities that sum to 1."""
    values = np.asarray(rows, dtype=np.float64)
    is_sound = values.ndim == 2 and values.shape[1] >= _FEWEST and bool((values >= 0).all())
    return is_sound and bool((np.abs(values.sum(axis=1) - 1) <= _ROUNDING).all())


def _checked_logits(
    logits: ArrayLike, index: int, activation: Activation, role: str | None
) -> Matrix:
    rows = np.asarray(logits, dtype=np.float64)
    if rows.ndim != 2:
        raise DegenerateTestError(f"logits must be of shape (images, classes), not {rows.shape}")
    count = rows.shape[1]
    if not 0 <= index < count:
        raise DegenerateTestError(
            f"the classifier has {count} classes, 0 to {count - 1}, and none of index {index}"
        )
    if count < _FEWEST and activation == "softmax":
        raise DegenerateTestError(
            "the classifier has one logit, of which softmax makes 1 for every image",
            "add 'activation: sigmoid'",
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int((~finite).argmax())
        raise DegenerateTestError(
            f"the logits of image {row} of {role or 'the set'} are not finite", role=role, row=row
        )
    return rows


Interval = tuple[float, float]


def wilson(successes: float, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion [1]_.

    Parameters
    ----------
    successes : float
        Number of successes; the sum of shares if each trial is a mean of several, which only widens
        the interval.
    trials : int
        Number of independent trials.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    tuple of float
        Both within [0, 1]; the interval is never empty, even if the proportion is 0 or 1.

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
    # For proportions of 0 and 1 the formula gives 0 and 1 except for rounding.
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
        Number of successes, and number of independent trials.
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
    ends = (wilson(*counts, confidence=confidence) for counts in (first, second))
    return difference_interval(*zip(shares, ends, strict=True))


def difference_interval(first: tuple[float, Interval], second: tuple[float, Interval]) -> Interval:
    """Return the interval of the difference of two independent estimates with their intervals.

    Notes
    -----
    The distances of both estimates to their interval ends are added as squares: the principle of
    Newcombe's interval, for estimates of any kind.
    """
    (p, (p_low, p_high)), (q, (q_low, q_high)) = first, second
    low = p - q - math.hypot(p - p_low, q_high - q)
    high = p - q + math.hypot(p_high - p, q - q_low)
    return low, high


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedRates:
    """Two proportions of the same n trials, and their covariance.

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
        """Return the pair with the proportions of negative sign replaced by their complements."""
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
        Wilson's interval of either proportion, combined with their correlation; a positive
        correlation is lowered by half a trial as a continuity correction.

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

        def margin(towards: float, away: float) -> float:
            return math.sqrt(max(0.0, towards * towards - 2 * phi * towards * away + away * away))

        return p - q - margin(p - p_low, q_high - q), p - q + margin(p_high - p, q - q_low)
