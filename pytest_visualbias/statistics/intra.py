"""How alike the images of one set are to a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import DegenerateTestError
from pytest_visualbias.statistics.intervals import t_margin
from pytest_visualbias.statistics.side import mean, read_only
from pytest_visualbias.statistics.similarity import unit_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

__all__ = ["IntraResult", "intra_from_scores", "intra_scores", "intra_similarity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IntraResult:
    """Mean similarity of the images of one set; it has no p, as nothing is compared.

    Attributes
    ----------
    effect_size, effect_judged : float
        Mean cosine of two different images.
    ci_low, ci_high : float
        Jackknife interval.
    confidence : float
        Of that interval.
    n_x : int
        Size of the set.
    """

    effect_size: float
    effect_judged: float
    ci_low: float
    ci_high: float
    confidence: float
    n_x: int


def intra_similarity(X: ArrayLike, *, confidence: float = 0.95) -> IntraResult:
    """Measure how similar the images of one set are to each other.

    Parameters
    ----------
    X : array_like
        Embeddings, `(n_x, dim)`, three images or more.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    IntraResult

    Raises
    ------
    DegenerateTestError
        If the array is unusable or holds fewer than three images.

    Notes
    -----
    The mean off-diagonal cosine is ``(|sum x|^2 - N) / (N (N - 1))`` for unit rows [1]_. It is a
    U-statistic; the interval is the estimate and a quantile of t with N - 1 degrees of freedom of
    jackknife standard errors.

    References
    ----------
    .. [1] J. Ranjit, T. Wang, B. Ray, V. Ordonez, arXiv 2303.07615, 2023, of whose random halves
       it is the expectation.
    """
    return intra_from_scores(intra_scores(X), confidence=confidence)


def intra_scores(X: ArrayLike) -> Vector:
    """Mean cosine of each image with all others of its set, `(n_x,)`, read-only."""
    rows = unit_rows(X, "X")
    n = len(rows.rows)
    if n < 2:
        message = "X holds 1 image; at least three are needed for a similarity within it"
        raise DegenerateTestError(message, role="X")
    return read_only((n * rows.along(rows.centroid) - 1) / (n - 1), "X")


def intra_from_scores(scores: ArrayLike, *, confidence: float = 0.95) -> IntraResult:
    """Summarise the similarity within a set from `intra_scores`, `(n_x,)`, perhaps of trials."""
    each = read_only(scores, "X")
    n = len(each)
    if n < 3:
        message = f"X holds {n} images; at least three are needed for a similarity within it"
        raise DegenerateTestError(message, role="X")
    # Rounding takes the cosines of identical rows a little over 1.
    similarity = min(max(mean(each), -1.0), 1.0)
    # Without image i, the n (n - 1) ordered pairs lose its 2 (n - 1).
    without = (n * similarity - 2 * each) / (n - 2)
    away = without - mean(without)
    error = math.sqrt((n - 1) / n * math.fsum(away * away))
    margin = t_margin(n - 1, confidence) * error
    return IntraResult(
        effect_size=similarity,
        effect_judged=similarity,
        ci_low=max(similarity - margin, -1.0),
        ci_high=min(similarity + margin, 1.0),
        confidence=confidence,
        n_x=n,
    )
