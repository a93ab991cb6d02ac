"""Compute the p-values of an effect; the largest decides."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

from pytest_visualbias.statistics.intervals import pooled_freedom, welch_error
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import (
    Alternative,
    PMethod,
    Sides,
    least_certain_method,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.permutation.sides import Side
    from pytest_visualbias.statistics.scores import Scores

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """P-values of one comparison.

    Attributes
    ----------
    p_value : float
        Labels of X and Y permuted, attributes held.
    p_low, p_high : float
        Bounds of the true p; `p_value` is `p_high`.
    p_method : {"exact", "bounded", "sampled", "approximate"}
        How `p_value` was computed.
    p_attributes : float or None
        Labels of A and B permuted, targets held; None if that side does not count.
    p_attributes_low, p_attributes_high : float or None
        Bracket of `p_attributes`.
    p_welch : float or None
        Welch's t with the alternative of the permutation tests; the largest over the sides that
        count and whose sets differ in size; None if no side does.
    p_crossed : float or None
        Targets and attributes both sampled (`crossed_p`); None if that does not apply, or only
        scores are known.
    p_verdict : float
        The largest p-value that applies.
    p_verdict_low, p_verdict_high : float
        Bracket of `p_verdict`.
    p_saddlepoint : float or None
        Saddlepoint approximation of `p_value`, for comparison only; None if p is exact.
    p_verdict_method : {"exact", "bounded", "sampled", "approximate"}
        The least certain method among the permutation tests that apply.
    """

    p_value: float
    p_low: float
    p_high: float
    p_method: PMethod
    p_attributes: float | None
    p_attributes_low: float | None = None
    p_attributes_high: float | None = None
    p_welch: float | None
    p_crossed: float | None = None
    p_verdict: float
    p_verdict_low: float
    p_verdict_high: float
    p_verdict_method: PMethod
    p_saddlepoint: float | None = None


def compute_p_values(
    targets: Side,
    attributes: Side | None = None,
    *,
    alternative: Alternative,
    sides: Sides,
    crossed: float | None = None,
) -> Evidence:
    """Test both sides and return all p-values, with the one that decides.

    Parameters
    ----------
    targets, attributes : Side
        Scores of X and Y, and of A and B (None: not testable, possible with ``"targets"`` only).
    alternative : {"two-sided", "greater", "less"}
        For the permutation tests and Welch's t.
    sides : {"both", "targets"}
        With ``"targets"`` the attribute side is not tested.
    crossed : float or None
        P-value of the crossed test, which the caller computes from cosines.

    Notes
    -----
    Null hypotheses: the labels of X and Y are exchangeable (given A and B); the labels of A and B
    are (given X and Y); the two sets of a side have equal means, whatever their spreads; the gap is
    0 in the populations of all sets. An association is shown only if every one of them is rejected,
    so the largest p is a valid p for their union (an intersection-union test [1]_).

    References
    ----------
    .. [1] R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling",
       Technometrics 24, 295-300, 1982.
    """
    judged = [targets] if attributes is None or sides == "targets" else [targets, attributes]
    permuted = [permutation_test(side, alternative=alternative) for side in judged]
    exchanged = permuted[1] if len(permuted) > 1 else None
    uneven = [welch_p(side, alternative) for side in judged if side.sizes[0] != side.sizes[1]]
    others = uneven if crossed is None else [*uneven, crossed]
    return Evidence(
        p_value=permuted[0].p_value,
        p_low=permuted[0].p_low,
        p_high=permuted[0].p_high,
        p_method=permuted[0].method,
        p_attributes=None if exchanged is None else exchanged.p_value,
        p_attributes_low=None if exchanged is None else exchanged.p_low,
        p_attributes_high=None if exchanged is None else exchanged.p_high,
        p_welch=max(uneven, default=None),
        p_crossed=crossed,
        p_verdict=max([result.p_value for result in permuted] + others),
        p_verdict_low=max([result.p_low for result in permuted] + others),
        p_verdict_high=max([result.p_high for result in permuted] + others),
        p_saddlepoint=permuted[0].p_saddlepoint,
        p_verdict_method=least_certain_method([result.method for result in permuted]),
    )


def welch_p(side: Side, alternative: Alternative = "two-sided") -> float:
    """Return the p-value of Welch's t-test, for sets that differ in size.

    Parameters
    ----------
    side : Side
        Scores, `(n_1,)` and `(n_2,)`, at least two in each.
    alternative : {"two-sided", "greater", "less"}
        Direction of the difference.

    Returns
    -------
    float
        1 if all scores are equal. If scores vary between the sets only: 0 if the means differ in
        the direction of the alternative, else 1.

    Notes
    -----
    Null hypothesis: both sets come from distributions of equal mean. A permutation test of means
    of sets of different sizes also rejects if only the spreads differ [1]_.

    References
    ----------
    .. [1] B. L. Welch, "The generalization of 'Student's' problem when several different
       population variances are involved", Biometrika 34, 28-35, 1947.
    """
    error = welch_error(side.first, side.second)
    if error.value == 0 and side.difference == 0:
        return 1.0
    if error.value == 0:
        return student_p(math.copysign(math.inf, side.difference), 1, alternative)
    return student_p(side.difference / error.value, error.freedom, alternative)


def testable_attribute_side(side: Side, sides: Sides) -> Side | None:
    """Return the attribute side if it is testable; raise if it is not and counts, else None."""
    fault = side.fault()
    if fault is None:
        return side
    if sides == "both":
        raise fault
    return None


_ROUNDING: Final = 1e-12
_CELLS: Final = 2**20


def crossed_p(
    scores: Scores | ContrastScores, *, alternative: Alternative = "two-sided"
) -> float | None:
    """Test an effect against the sampling of targets and of attributes at once.

    Parameters
    ----------
    scores : Scores or ContrastScores
        Of one run or of averaged trials, with their cosines.
    alternative : {"two-sided", "greater", "less"}
        Direction of the effect.

    Returns
    -------
    float or None
        None if the scores hold no cosines, if a set holds one image (the test would be about this
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
    weights = contrast_weights(rows), contrast_weights(columns)
    targets = score_variances(cells @ weights[1], rows)
    attributes = score_variances(weights[0] @ cells, columns)
    sums = sum(targets), sum(attributes)
    variance = max(sum(sums) - interaction_variance(cells, rows, columns), *sums)
    gap = float(weights[0] @ cells @ weights[1])
    rounding = _ROUNDING * float(np.abs(cells).max())
    if variance <= rounding**2:
        return 1.0 if abs(gap) <= rounding else None
    freedom = pooled_freedom([*targets, *attributes], [*rows, *columns])
    return student_p(gap / math.sqrt(variance), freedom, alternative)


def student_p(t: float, freedom: float, alternative: Alternative) -> float:
    """Return the p-value of Student's t in the direction of the alternative."""
    if alternative == "two-sided":
        return float(min(1.0, 2 * stdtr(freedom, -abs(t))))
    return float(stdtr(freedom, -t if alternative == "greater" else t))


def set_sizes(scores: Scores | ContrastScores) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of the target sets and attribute sets: rows and columns of the cosines."""
    sizes = scores.by_role
    targets, attributes = ([sizes[role] for role in pair if role in sizes] for pair in ("XY", "AB"))
    return tuple(targets), tuple(attributes)


def scaled_cosines(scores: Scores | ContrastScores) -> Matrix:
    """Return cosines in units of the effect, averaged over trials, `(targets, attributes)`.

    Notes
    -----
    The cosines of a trial are divided by the geometric mean of the standard deviations of its
    target and attribute scores; of a similarity gap, by that of its target scores; of an SC-EAT,
    each row by its own. So a trial has the same weight as in the effect, the mean over trials.
    """
    rows, columns = set_sizes(scores)
    total = _scale_cosines(scores.cosines[0], rows, columns)
    for cosines in scores.cosines[1:]:
        total += _scale_cosines(cosines, rows, columns)
    return total / len(scores.cosines)


def interaction_variance(cells: Matrix, rows: Sequence[int], columns: Sequence[int]) -> float:
    """Return the variance of the gap that neither rows nor columns alone explain.

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
    """Return the sum of squares of doubly centred cells, in blocks of about a million."""
    down = block.mean(axis=0)
    step = max(1, _CELLS // block.shape[1])
    total = 0.0
    for start in range(0, len(block), step):
        away = block[start : start + step] - down
        away -= away.mean(axis=1, keepdims=True)
        total += float(np.einsum("ij,ij->", away, away))
    return total


def _scale_cosines(cosines: Matrix, rows: Sequence[int], columns: Sequence[int]) -> Matrix:
    """Return the cosines of one trial in units of its effect."""
    # Cosines near one differ in their last digits only, and their common mean cancels anyway.
    away: Matrix = cosines - cosines.mean()
    if len(rows) == 1:
        away /= away.std(axis=1, ddof=1, keepdims=True)
        return away
    widths = [(away @ contrast_weights(columns)).std(ddof=1)]
    if len(columns) == 2:
        widths.append((contrast_weights(rows) @ away).std(ddof=1))
    away /= math.prod(widths) ** (1 / len(widths))
    return away


def contrast_weights(sizes: Sequence[int]) -> Vector:
    """Return the weight of each image in the difference of two means, or in one mean."""
    signs = (1, -1)[: len(sizes)]
    return np.concatenate([np.full(n, sign / n) for sign, n in zip(signs, sizes, strict=True)])


def score_variances(scores: Vector, sizes: Sequence[int]) -> list[float]:
    """Return the squared standard error of the mean score of each set of two or more."""
    sets = [scores[part] for part in _slices(sizes)]
    return [float(values.var(ddof=1)) / len(values) for values in sets if len(values) > 1]


def _slices(sizes: Sequence[int]) -> Iterator[slice]:
    """Return the slices of consecutive sets of these sizes."""
    return itertools.starmap(slice, itertools.pairwise(itertools.accumulate(sizes, initial=0)))
