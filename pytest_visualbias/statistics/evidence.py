"""Compute the p-values of an effect; the largest decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.statistics.crossed import student_p
from pytest_visualbias.statistics.intervals import welch_error
from pytest_visualbias.statistics.permutation.permutation_test import permutation_test
from pytest_visualbias.statistics.permutation.sides import (
    Alternative,
    PMethod,
    Sides,
    least_certain_method,
)

if TYPE_CHECKING:
    from pytest_visualbias.statistics.permutation.sides import Side


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
