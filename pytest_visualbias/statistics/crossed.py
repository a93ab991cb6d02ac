"""Evidence of an effect where targets and attributes are both samples: a crossed t test."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

from pytest_visualbias.statistics.intervals import pooled_freedom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.permutation.sides import Alternative
    from pytest_visualbias.statistics.scores import Scores

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

_ROUNDING: Final = 1e-12
_CELLS: Final = 2**20


def crossed_p(
    scores: Scores | ContrastScores, *, alternative: Alternative = "two-sided"
) -> float | None:
    """Test an effect against the sampling of targets and of attributes at once.

    Parameters
    ----------
    scores : Scores or ContrastScores
        Of one run or of averaged trials, with the cosines they were made from.
    alternative : {"two-sided", "greater", "less"}
        Direction of the effect.

    Returns
    -------
    float or None
        None if the scores hold no cosines, if a set holds one image (the test then speaks of this
        image only), or if nothing varies within the sets although the gap is not 0.

    Notes
    -----
    Null hypothesis: the gap is 0 in the populations that targets and attributes are drawn from.
    Permuting one side holds the other, so where X differs from Y and A from B without an
    association it rejects too often.

    With C the cosines (`scaled_cosines`), w the weights of its rows and v those of its columns, the
    gap ``w' C v`` is divided by the root of ``V = max(V_T + V_A - V_I, V_T, V_A)`` [1]_ [2]_. V_T
    and V_A add up the variance of the scores ``C v`` and ``w' C`` of each set over its size, V_I is
    `interaction_variance`, which both count. Degrees of freedom:
    ``(V_T + V_A)^2 / sum(V_k^2 / (n_k - 1))`` over all sets k.

    References
    ----------
    .. [1] A. C. Cameron, J. B. Gelbach, D. L. Miller, "Robust inference with multiway clustering",
       Journal of Business & Economic Statistics 29, 238-249, 2011.
    .. [2] A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 386-411, 2007.
    """
    rows, columns = set_sizes(scores)
    if not scores.cosines or min(*rows, *columns) < 2:
        return None
    cells = scaled_cosines(scores)
    weights = pole_weights(rows), pole_weights(columns)
    targets = score_variances(cells @ weights[1], rows)
    attributes = score_variances(weights[0] @ cells, columns)
    sums = sum(targets), sum(attributes)
    variance = max(sum(sums) - interaction_variance(cells, rows, columns), *sums)
    gap = float(weights[0] @ cells @ weights[1])
    rounding = _ROUNDING * float(np.abs(cells).max())
    if variance <= rounding**2:
        return 1.0 if abs(gap) <= rounding else None
    freedom = pooled_freedom([*targets, *attributes], [*rows, *columns])
    return t_p(gap / math.sqrt(variance), freedom, alternative)


def t_p(t: float, freedom: float, alternative: Alternative) -> float:
    """P of Student's t in the direction of the alternative."""
    if alternative == "two-sided":
        return float(min(1.0, 2 * stdtr(freedom, -abs(t))))
    return float(stdtr(freedom, -t if alternative == "greater" else t))


def set_sizes(scores: Scores | ContrastScores) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of the sets of targets and of attributes: the rows and the columns of the cosines."""
    sizes = scores.by_role
    targets, attributes = ([sizes[role] for role in pair if role in sizes] for pair in ("XY", "AB"))
    return tuple(targets), tuple(attributes)


def scaled_cosines(scores: Scores | ContrastScores) -> Matrix:
    """Cosines in units of the effect, averaged over trials, `(targets, attributes)`.

    Notes
    -----
    The cosines of a trial are divided by the geometric mean of the standard deviations of its
    target and attribute scores; of a similarity gap, by that of its target scores; of an SC-EAT,
    each row by its own. So a trial weighs as in the effect, which is the mean of the trials'.
    """
    rows, columns = set_sizes(scores)
    total = _scaled(scores.cosines[0], rows, columns)
    for cosines in scores.cosines[1:]:
        total += _scaled(cosines, rows, columns)
    return total / len(scores.cosines)


def interaction_variance(cells: Matrix, rows: Sequence[int], columns: Sequence[int]) -> float:
    """Variance of the gap from what is neither of a single row nor of a single column.

    Parameters
    ----------
    cells : ndarray
        `(sum(rows), sum(columns))`, targets by attributes.
    rows, columns : sequence of int
        Sizes of the sets, at least two each.

    Returns
    -------
    float
        Over the blocks of a set of a rows and a set of b columns, the sum of
        ``sum(D^2) / ((a - 1)(b - 1)) / (a b)``, with D the doubly centred cells of the block.
    """
    total = 0.0
    for across, down in itertools.product(_slices(rows), _slices(columns)):
        block = cells[across, down]
        a, b = block.shape
        total += _interaction(block) / ((a - 1) * (b - 1)) / (a * b)
    return total


def _interaction(block: Matrix) -> float:
    """Sum of the squares of doubly centred cells, in parts of about a million."""
    down = block.mean(axis=0)
    step = max(1, _CELLS // block.shape[1])
    total = 0.0
    for start in range(0, len(block), step):
        away = block[start : start + step] - down
        away -= away.mean(axis=1, keepdims=True)
        total += float(np.einsum("ij,ij->", away, away))
    return total


def _scaled(cosines: Matrix, rows: Sequence[int], columns: Sequence[int]) -> Matrix:
    """Cosines of one trial in units of its effect."""
    # Cosines near one differ in their last digits only: what all share drops out anyway.
    away: Matrix = cosines - cosines.mean()
    if len(rows) == 1:
        away /= away.std(axis=1, ddof=1, keepdims=True)
        return away
    widths = [(away @ pole_weights(columns)).std(ddof=1)]
    if len(columns) == 2:
        widths.append((pole_weights(rows) @ away).std(ddof=1))
    away /= math.prod(widths) ** (1 / len(widths))
    return away


def pole_weights(sizes: Sequence[int]) -> Vector:
    """Weight of each image in the difference of two means, or in one mean."""
    signs = (1, -1)[: len(sizes)]
    return np.concatenate([np.full(n, sign / n) for sign, n in zip(signs, sizes, strict=True)])


def score_variances(scores: Vector, sizes: Sequence[int]) -> list[float]:
    """Squared standard error of the mean score of each set of two or more."""
    sets = [scores[part] for part in _slices(sizes)]
    return [float(one.var(ddof=1)) / len(one) for one in sets if len(one) > 1]


def _slices(sizes: Sequence[int]) -> Iterator[slice]:
    """Places of sets of these sizes, one after the other."""
    return itertools.starmap(slice, itertools.pairwise(itertools.accumulate(sizes, initial=0)))
