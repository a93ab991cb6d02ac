"""Test whether an association has grown between two models that embedded the same images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from scipy.special import stdtr, stdtrit

from pytest_visualbias.statistics.evidence import (
    Evidence,
    compute_p_values,
    interaction_variance,
    student_p,
)
from pytest_visualbias.statistics.growth_endpoints import compute_endpoint
from pytest_visualbias.statistics.intervals import (
    UNCHANGED,
    Estimate,
    Estimates,
    RateEstimates,
    compute_estimates,
    direction_sign,
    jackknife_estimate,
    jackknife_variance,
    pooled_freedom,
    require_level,
)
from pytest_visualbias.statistics.permutation.sides import (
    Side,
    Sides,
    mean,
    require_alternative,
    require_sides,
    sample_std,
)
from pytest_visualbias.statistics.scores import Scores, association_scores, require_same_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.growth_endpoints import Endpoint
    from pytest_visualbias.statistics.permutation.sides import Alternative

    Vector = NDArray[np.float64]
    Signs = tuple[float, float]

# With fewer trials their standard deviation is too uncertain.
_MIN_TRIALS: Final = 3


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
    if len(after) < _MIN_TRIALS or 1 < len(before) < _MIN_TRIALS:
        return None
    ends = [end for end in (before, after) if len(end) > 1]
    variances = [sample_std(end) ** 2 / len(end) for end in ends]
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
    """Return the smallest growth over retrainings that is significant with this many trials."""
    return float(stdtrit(growth.freedom, 1 - alpha)) * growth.error


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthResult(Evidence):
    """Result of a growth test; the p-values of `Evidence` are those of the growth.

    Attributes
    ----------
    growth : float
        ``|after| - |before|``: positive where the association became stronger, either way. With
        an alternative, effects of the other direction count as 0.
    shift : float
        ``after - before``.
    flipped : bool
        Whether the association changed its direction.
    ci_low, ci_high : float
        Confidence interval of `growth`.
    shift_ci_low, shift_ci_high : float
        Confidence interval of `shift`.
    confidence : float
        Of both intervals.
    before, after : float
        The judged effects.
    p_trials : float or None
        P of the growth over retrainings; None with fewer than three trials of the model after, or
        with two trials of the model before.
    estimates : Estimates or RateEstimates
        What the intervals of other levels are made of.
    trials : Estimate or None
        Growth over trials with its standard error.
    """

    growth: float
    shift: float
    flipped: bool
    ci_low: float
    ci_high: float
    shift_ci_low: float
    shift_ci_high: float
    confidence: float
    before: float
    after: float
    p_trials: float | None = None
    estimates: Estimates | RateEstimates
    trials: Estimate | None = None

    def interval(self, level: float) -> tuple[float, float]:
        """Confidence interval of the growth."""
        return self.estimates.growth_interval(level)

    def shift_interval(self, level: float) -> tuple[float, float]:
        """Confidence interval of the shift."""
        return self.estimates.shift_interval(level)


def growth_test(
    before: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    *,
    sides: Sides = "both",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> GrowthResult:
    """Test whether an association is stronger in one model than in another.

    Parameters
    ----------
    before, after : tuple of array_like
        ``(X, Y, A, B)`` embeddings by each model, `(n, dim)`; the same images in the same order.
        The two models may differ in `dim`.
    sides : {"both", "targets"}
        Whether the weaker of the two sides is judged or, as in iEAT, the targets only.
    alternative : {"two-sided", "greater", "less"}
        Effects that count: of both directions, or of one. Growth itself is tested one-sided.
    confidence : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    GrowthResult

    Raises
    ------
    DegenerateTestError
        If no effect follows from the numbers of a model, or the models saw different numbers of
        images. A model compared with itself is not degenerate.

    Notes
    -----
    See `growth_from_scores`.
    """
    require_sides(sides)
    ends: dict[str, Sequence[ArrayLike]] = {"before": before, "after": after}
    for name, model in ends.items():
        if len(model) != 4:
            message = f"{name} must be the four arrays (X, Y, A, B), not {len(model)}"
            raise ValueError(message)
    scored = (association_scores(*model, sides=sides) for model in (before, after))
    return growth_from_scores(*scored, sides=sides, alternative=alternative, confidence=confidence)


def growth_from_scores(
    before: Scores | ContrastScores,
    after: Scores | ContrastScores,
    *,
    sides: Sides = "both",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    is_retraining: bool = True,
) -> GrowthResult:
    """Test growth on scores: of live models, of averaged trials, or recorded ones.

    Parameters
    ----------
    before, after : Scores or ContrastScores
        Of the same images in the same order, both of one kind, with their cosines or with what was
        recorded beside them. Contrasts have one side only, which is judged whatever `sides` says.
    sides, alternative, confidence
        As in `growth_test`.
    is_retraining : bool
        Whether several trials are retrainings, whose variation counts (`trials_p`).

    Returns
    -------
    GrowthResult

    Notes
    -----
    Null hypothesis: the absolute value of the judged effect e is not larger after than before. Of
    each model, s is the sign of e and c the larger one of the pooled standard deviations of target
    and attribute scores within their sets. This scale neither saturates, as e does near its bound,
    nor follows the scale of cosines C.

    - `p_value` permutes the labels of X and Y on the target scores of
      ``G = s_after C_after / c_after - s_before C_before / c_before``, `p_attributes` those of A
      and B on its attribute scores; Welch's t beside them if sizes differ.
    - `p_crossed` is of the growth of e in units of the spread within sets, with the variance of a
      jackknife that leaves each image out of both models at once [1]_, less what G counts twice
      (`interaction_variance`). Cosines are not recorded, so the variance is larger and p as well if
      one model is known from a record.
    - `p_trials`: see `trials_p`.

    The largest decides; with ``sides="targets"``, `p_value` and Welch's t alone. If the judged
    effects differ by at most 1e-6, or neither model's judged scores vary within their sets, growth
    is 0 and every p is 1.

    References
    ----------
    .. [1] B. Efron, C. Stein, "The jackknife estimate of variance", Annals of Statistics 9,
       586-596, 1981.
    """
    require_level(confidence)
    require_alternative(alternative)
    old, new = _endpoints(before, after, sides)
    is_same = abs(new.effect - old.effect) <= UNCHANGED
    signs = direction_sign(old.effect, alternative), direction_sign(new.effect, alternative)
    if is_same or (old.is_saturated and new.is_saturated and all(signs)):
        signs = 0.0, 0.0
    trials = (
        trials_estimate(signs[0] * old.trials, signs[1] * new.trials) if is_retraining else None
    )
    is_held = len(old.trials) == 1 and alternative == "two-sided"
    held = abs(old.effect) if is_held else None
    p_trials = None if trials is None else trials_p(trials, held)
    evidence = _evidence(old, new, signs, "greater", crossed=_is_crossed(before, sides))
    estimates = Estimates() if is_same else _estimates(old, new, signs, alternative)
    low, high = estimates.growth_interval(confidence)
    shift_low, shift_high = estimates.shift_interval(confidence)
    return GrowthResult(
        growth=signs[1] * new.effect - signs[0] * old.effect,
        shift=0.0 if is_same else new.effect - old.effect,
        flipped=not is_same and old.effect * new.effect < 0,
        ci_low=low,
        ci_high=high,
        shift_ci_low=shift_low,
        shift_ci_high=shift_high,
        confidence=confidence,
        before=old.effect,
        after=new.effect,
        p_trials=p_trials,
        estimates=estimates,
        trials=trials,
        **asdict(with_trials_p(evidence, p_trials)),
    )


def shift_from_scores(
    before: Scores | ContrastScores, after: Scores | ContrastScores, *, sides: Sides = "both"
) -> Evidence:
    """Test whether the signed effect has changed: as `growth_from_scores`, two-sided, all s 1."""
    old, new = _endpoints(before, after, sides)
    sign = float(abs(new.effect - old.effect) > UNCHANGED)
    crossed = _is_crossed(before, sides)
    return _evidence(old, new, (sign, sign), "two-sided", crossed=crossed)


def with_trials_p(evidence: Evidence, p_trials: float | None) -> Evidence:
    """Return the p-values with the p of retrainings included in the verdict."""
    if p_trials is None:
        return evidence
    verdict = ("p_verdict", "p_verdict_low", "p_verdict_high")
    return replace(evidence, **{name: max(getattr(evidence, name), p_trials) for name in verdict})


def _endpoints(
    before: Scores | ContrastScores, after: Scores | ContrastScores, sides: Sides
) -> tuple[Endpoint, Endpoint]:
    require_sides(sides)
    require_same_sizes(before.by_role, after.by_role, ("before", "after"))
    return compute_endpoint(before, sides), compute_endpoint(after, sides)


def _is_crossed(scores: Scores | ContrastScores, sides: Sides) -> bool:
    """Return whether targets and attributes both count as samples."""
    is_one_pair = not isinstance(scores, Scores)
    return (is_one_pair or sides == "both") and min(scores.by_role.values()) > 1


def _evidence(
    old: Endpoint, new: Endpoint, signs: Signs, alternative: Alternative, *, crossed: bool
) -> Evidence:
    changes = [_score_change(old, new, signs, index) for index in range(len(new.sides))]
    return compute_p_values(
        changes[0],
        changes[1] if len(changes) > 1 else None,
        alternative=alternative,
        sides="both",
        crossed=_crossed_p(old, new, signs, alternative) if crossed else None,
    )


def _score_change(old: Endpoint, new: Endpoint, signs: Signs, index: int) -> Side:
    """Return the change of the scores of one side, signed and scaled for each model."""
    before, after = old.sides[index], new.sides[index]
    factors = signs[0] * old.factors[index], signs[1] * new.factors[index]
    return Side(
        first=factors[1] * after.first - factors[0] * before.first,
        second=factors[1] * after.second - factors[0] * before.second,
        roles=after.roles,
        # A change carries the rounding of the two scores it comes from, however small it is.
        magnitude=abs(factors[1]) * after.magnitude + abs(factors[0]) * before.magnitude,
    )


def _crossed_p(
    old: Endpoint, new: Endpoint, signs: Signs, alternative: Alternative
) -> float | None:
    """Return p of the change in units within sets, with targets and attributes both sampled."""
    without = _signed_change_without(old.without_within, new.without_within, signs)
    change = signs[1] * new.effect_within - signs[0] * old.effect_within
    targets, attributes = (
        math.fsum(jackknife_variance(without[role]) for role in pair if role in without)
        for pair in ("XY", "AB")
    )
    twice = 0.0
    if old.cells is not None and new.cells is not None:
        cells = signs[1] * new.cells - signs[0] * old.cells
        sizes = ([len(without[role]) for role in pair if role in without] for pair in ("XY", "AB"))
        twice = interaction_variance(cells, *sizes)
    variance = max(targets + attributes - twice, targets, attributes)
    if variance == 0:
        is_none = change == 0 if alternative == "two-sided" else change <= 0
        return 1.0 if is_none else None
    freedom = jackknife_estimate(change, without.values()).freedom
    return student_p(change / math.sqrt(variance), freedom, alternative)


def _signed_change_without(
    before: Mapping[str, Vector], after: Mapping[str, Vector], signs: Signs
) -> dict[str, Vector]:
    """Return the signed change without each image, by set."""
    return {role: signs[1] * after[role] - signs[0] * before[role] for role in after}


def _estimates(old: Endpoint, new: Endpoint, signs: Signs, alternative: Alternative) -> Estimates:
    """Return the estimates from which the intervals of the change are computed."""

    def signed_estimate(before: float, after: float) -> Estimate:
        value = after * new.effect - before * old.effect
        return jackknife_estimate(
            value, _signed_change_without(old.without, new.without, (before, after)).values()
        )

    return compute_estimates(signed_estimate, signs, alternative)
