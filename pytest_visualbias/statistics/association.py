"""Run the association tests `ieat`, `sc-eat` and `similarity-gap`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.statistics.contrast_scores import (
    ContrastScores,
    sc_eat_scores,
    similarity_gap_scores,
)
from pytest_visualbias.statistics.evidence import (
    compute_p_values,
    crossed_p,
    testable_attribute_side,
)
from pytest_visualbias.statistics.leave_one_out import SampledEffect, effect_uncertainty
from pytest_visualbias.statistics.permutation.sides import Sides, require_sides
from pytest_visualbias.statistics.scores import Scores, association_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pytest_visualbias.statistics.permutation.sides import Alternative, Side


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastResult(SampledEffect):
    """Result of a test of one side; p-values and intervals are those of `SampledEffect`.

    Attributes
    ----------
    effect_size, effect_judged : float
        Difference of the mean scores of the two sets that are compared.
    gap : float
        The same in cosines.
    n_x, n_y, n_a, n_b : int or None
        Sizes of the sets; None for a set that the test does not have.
    """

    effect_size: float
    n_x: int | None
    n_y: int | None
    n_a: int | None
    n_b: int | None


def sc_eat_test(
    X: ArrayLike,
    A: ArrayLike,
    B: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> ContrastResult:
    """Test whether one target set is nearer to A than to B.

    Parameters
    ----------
    X : array_like
        Embeddings of the target, `(n_x, dim)`.
    A, B : array_like
        Embeddings of the attributes, `(n_a, dim)` and `(n_b, dim)`.
    alternative : {"two-sided", "greater", "less"}
        Of the permutation test.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    ContrastResult
        `n_y` and the fields of a second side are None.

    Raises
    ------
    DegenerateTestError
        If the embeddings give no effect; the error names the set and, if one is at fault, the row.

    Notes
    -----
    Null hypothesis: the labels of A and B are exchangeable, given X. Scores and effect: see
    `sc_eat_scores`. The smallest p depends on the sizes of A and B.
    """
    scores = sc_eat_scores(X, A, B)
    return contrast_from_scores(scores, alternative=alternative, confidence=confidence)


def similarity_gap_test(
    O: ArrayLike,  # noqa: E741 - the paper's letter
    X: ArrayLike,
    Y: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> ContrastResult:
    """Test whether images of one kind are nearer to X than to Y.

    Parameters
    ----------
    O : array_like
        Embeddings of the images of an object, `(n_o, dim)`.
    X, Y : array_like
        Embeddings of the two groups, `(n_x, dim)` and `(n_y, dim)`.
    alternative, confidence
        As in `sc_eat_test`.

    Returns
    -------
    ContrastResult
        `n_a` is the size of O; `n_b` and the fields of a second side are None. `gap` is the
        statistic of the paper, `effect_size` the same in standard deviations.

    Raises
    ------
    DegenerateTestError
        If the embeddings give no effect.

    Notes
    -----
    Null hypothesis: the labels of X and Y are exchangeable, given O. Scores: see
    `similarity_gap_scores`.
    """
    scores = similarity_gap_scores(O, X, Y)
    return contrast_from_scores(scores, alternative=alternative, confidence=confidence)


def contrast_from_scores(
    scores: ContrastScores,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> ContrastResult:
    """Run a test of one side on scores of one run, of averaged trials, or from a record.

    Parameters are those of `sc_eat_test`, with `scores` in place of the embeddings.
    """
    side = scores.side
    crossed = crossed_p(scores, alternative=alternative)
    evidence = compute_p_values(side, alternative=alternative, sides="targets", crossed=crossed)
    sizes = scores.by_role
    return ContrastResult(
        effect_size=side.difference,
        effect_judged=side.difference,
        gap=scores.gap,
        confidence=confidence,
        n_x=sizes.get("X"),
        n_y=sizes.get("Y"),
        n_a=sizes.get("A"),
        n_b=sizes.get("B"),
        **asdict(evidence),
        **effect_uncertainty(scores, side.difference, "targets", confidence),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AssociationResult(SampledEffect):
    """Result of an association test; p-values and intervals are those of `SampledEffect`.

    Attributes
    ----------
    effect_size : float
        Effect of the target side, iEAT's d (standard deviation with ddof 1).
    effect_size_attributes : float or None
        Effect of the attribute side; None if that side cannot be tested and does not count.
    effect_judged : float
        The effect nearer to zero; `effect_size` if only the targets count.
    gap : float
        Difference of the mean associations of X and Y, in cosines.
    wide_low, wide_high : float or None
        The same as `ci_low` and `ci_high`.
    x_ab, y_ab : float or None
        Mean associations of X and of Y, in cosines, whose difference is the gap.
    n_x, n_y, n_a, n_b : int
        Sizes of the sets.
    """

    effect_size: float
    effect_size_attributes: float | None
    wide_low: float | None = None
    wide_high: float | None = None
    x_ab: float | None = None
    y_ab: float | None = None
    n_x: int
    n_y: int
    n_a: int
    n_b: int


def association_test(
    X: ArrayLike,
    Y: ArrayLike,
    A: ArrayLike,
    B: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    sides: Sides = "both",
    confidence: float = 0.95,
) -> AssociationResult:
    """Test whether X is nearer to A, and Y to B, than the other way round.

    Parameters
    ----------
    X, Y : array_like
        Embeddings of the targets, `(n_x, dim)` and `(n_y, dim)`.
    A, B : array_like
        Embeddings of the attributes, `(n_a, dim)` and `(n_b, dim)`.
    alternative : {"two-sided", "greater", "less"}
        For all tests of both sides.
    sides : {"both", "targets"}
        Whether limits judge the weaker of the two sides or, as in iEAT, the targets only.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    AssociationResult

    Raises
    ------
    DegenerateTestError
        If the embeddings give no effect; the error names the set and, if one is at fault, the row.

    Notes
    -----
    Null hypotheses: see `compute_p_values`. Definitions of the scores and references: see
    `association_scores`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, Y, A, B = rng.standard_normal((4, 8, 16))
    >>> X, A = X + 1, A + 1
    >>> result = association_test(X, Y, A, B)
    >>> round(result.effect_size, 3), result.p_method, result.p_verdict < 0.001
    (1.647, 'exact', True)
    """
    require_sides(sides)
    scores = association_scores(X, Y, A, B, sides=sides)
    return association_from_scores(
        scores, alternative=alternative, sides=sides, confidence=confidence
    )


def association_from_scores(
    scores: Scores,
    *,
    alternative: Alternative = "two-sided",
    sides: Sides = "both",
    confidence: float = 0.95,
) -> AssociationResult:
    """Run the association test on scores of one run, of averaged trials, or from a record.

    Parameters are those of `association_test`, with `scores` in place of the embeddings.
    """
    targets, attributes = testable_sides(scores, sides)
    crossed = crossed_p(scores, alternative=alternative) if sides == "both" else None
    evidence = compute_p_values(
        targets, attributes, alternative=alternative, sides=sides, crossed=crossed
    )
    judged = judged_side(targets, attributes, sides)
    sampled = effect_uncertainty(scores, judged.difference, sides, confidence)
    return AssociationResult(
        effect_size=targets.difference,
        effect_size_attributes=None if attributes is None else attributes.difference,
        effect_judged=judged.difference,
        gap=scores.gap,
        wide_low=sampled.get("ci_low"),
        wide_high=sampled.get("ci_high"),
        confidence=confidence,
        x_ab=scores.x_ab,
        y_ab=scores.y_ab,
        n_x=len(scores.x),
        n_y=len(scores.y),
        n_a=len(scores.a),
        n_b=len(scores.b),
        **asdict(evidence),
        **sampled,
    )


def testable_sides(scores: Scores, sides: Sides) -> tuple[Side, Side | None]:
    """Return target and attribute side; the attribute side is None if untestable and not counted.

    Raises
    ------
    DegenerateTestError
        If a side that counts has too few images or scores that are all equal.
    """
    require_sides(sides)
    targets = scores.targets
    fault = targets.fault()
    if fault is not None:
        raise fault
    return targets, testable_attribute_side(scores.attributes, sides)


def judged_side(targets: Side, attributes: Side | None, sides: Sides) -> Side:
    """Return the side whose effect is judged: the side with the smaller effect, if both count."""
    if attributes is None or sides == "targets":
        return targets
    return attributes if abs(attributes.difference) < abs(targets.difference) else targets
