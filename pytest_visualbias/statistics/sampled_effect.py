"""What is known of an effect if all its images are samples: p-values and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.statistics.crossed import pole_weights, score_variances, set_sizes
from pytest_visualbias.statistics.evidence import Evidence
from pytest_visualbias.statistics.intervals import (
    StandardError,
    jackknife,
    pooled_freedom,
    require_level,
    t_interval,
)
from pytest_visualbias.statistics.leave_one_out import effects_without

if TYPE_CHECKING:
    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.evidence import Sides
    from pytest_visualbias.statistics.scores import Scores

__all__ = ["SampledEffect", "sampling"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledEffect(Evidence):
    """P-values of an effect, and its intervals where the cosines are known.

    Attributes
    ----------
    effect_judged : float
        The effect that limits judge.
    gap : float
        The difference in cosines.
    ci_low, ci_high : float or None
        Confidence interval of `effect_judged`, targets and attributes both sampled. This and what
        follows is None if only scores are known, as from a record.
    confidence : float
        Of the intervals.
    standard_error, degrees_of_freedom : float or None
        Of `effect_judged`; `interval` makes intervals of other levels from them.
    bias_corrected : float or None
        `effect_judged` less its bias.
    gap_ci_low, gap_ci_high : float or None
        Confidence interval of `gap`.
    gap_standard_error, gap_degrees_of_freedom : float or None
        Of `gap`.
    """

    effect_judged: float
    gap: float
    ci_low: float | None = None
    ci_high: float | None = None
    confidence: float
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    bias_corrected: float | None = None
    gap_ci_low: float | None = None
    gap_ci_high: float | None = None
    gap_standard_error: float | None = None
    gap_degrees_of_freedom: float | None = None

    def interval(self, level: float) -> tuple[float, float]:
        """Interval of the judged effect at a level between 0 and 1."""
        return _interval(self.effect_judged, self.standard_error, self.degrees_of_freedom, level)

    def gap_interval(self, level: float) -> tuple[float, float]:
        """Interval of the gap at a level between 0 and 1."""
        return _interval(self.gap, self.gap_standard_error, self.gap_degrees_of_freedom, level)


def sampling(
    scores: Scores | ContrastScores, judged: float, sides: Sides, confidence: float
) -> dict[str, Any]:
    """Return the fields of `SampledEffect` that tell how far an effect and its gap may be off.

    Parameters
    ----------
    scores : Scores or ContrastScores
        Of one run or of averaged trials.
    judged : float
        The judged effect.
    sides : {"both", "targets"}
        Which sides are judged.
    confidence : float
        Of the intervals, between 0 and 1.

    Notes
    -----
    The interval of the effect is Student's t with the standard error of the jackknife over all
    sets (`jackknife`), the judged side chosen anew without each image. That of the gap is the same
    for a difference of means, whose jackknife variances are the variances of the scores of each set
    over its size. A set of one image counts as held.

    Simulated coverage at 95 %: see `benchmarks/RESULTS.md`.
    """
    require_level(confidence)
    if not scores.cosines:
        return {}
    without = effects_without(scores).values()
    effect, gap = jackknife(judged, [one.judged(sides) for one in without]), _gap_error(scores)
    low, high = t_interval(judged, effect.value, effect.freedom, confidence)
    gap_low, gap_high = t_interval(scores.gap, gap.value, gap.freedom, confidence)
    return {
        "ci_low": low,
        "ci_high": high,
        "standard_error": effect.value,
        "degrees_of_freedom": effect.freedom,
        "bias_corrected": judged - effect.bias,
        "gap_ci_low": gap_low,
        "gap_ci_high": gap_high,
        "gap_standard_error": gap.value,
        "gap_degrees_of_freedom": gap.freedom,
    }


def _gap_error(scores: Scores | ContrastScores) -> StandardError:
    rows, columns = set_sizes(scores)
    cells = np.mean(scores.cosines, axis=0)
    variances = [
        *score_variances(cells @ pole_weights(columns), rows),
        *score_variances(pole_weights(rows) @ cells, columns),
    ]
    sizes = [n for n in (*rows, *columns) if n > 1]
    return StandardError(value=sum(variances) ** 0.5, freedom=pooled_freedom(variances, sizes))


def _interval(
    estimate: float, standard_error: float | None, freedom: float | None, level: float
) -> tuple[float, float]:
    if standard_error is None or freedom is None:
        message = "scores without cosines, as from a record, give no interval"
        raise ValueError(message)
    return t_interval(estimate, standard_error, freedom, level)
