"""Compute effects without each single stimulus, and jackknife intervals from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.statistics.evidence import (
    Evidence,
    contrast_weights,
    score_variances,
    set_sizes,
)
from pytest_visualbias.statistics.intervals import (
    StandardError,
    jackknife,
    pooled_freedom,
    require_level,
    t_interval,
)
from pytest_visualbias.statistics.permutation.sides import require_sides
from pytest_visualbias.statistics.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.permutation.sides import Sides

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

_ROUNDING: Final = 1e-12
_CELLS: Final = 2**20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EffectsWithout:
    """Signed effects of a test without each single image of one set of n images.

    Attributes
    ----------
    targets : ndarray
        `(n,)`, the effect of X against Y without that image; of tests that compare one pair of
        sets (sc-eat: A and B), the effect of that pair.
    attributes : ndarray or None
        `(n,)`, the effect of A against B without that image; None for tests of one pair.
    """

    targets: Vector
    attributes: Vector | None = None

    def judged(self, sides: Sides = "both") -> Vector:
        """Return the judged effect without each image, `(n,)`: that of the weaker side."""
        if self.attributes is None or sides == "targets":
            return self.targets
        is_weaker = np.abs(self.attributes) < np.abs(self.targets)
        judged: Vector = np.where(is_weaker, self.attributes, self.targets)
        return judged


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Influence:
    """Judged effect without each single image.

    Attributes
    ----------
    effect : float
        With all images.
    x, y, a, b : ndarray
        `(n_x,)`, `(n_y,)`, `(n_a,)`, `(n_b,)`: the judged effect without that image, everything
        standardised anew and the weaker side chosen anew; empty for a set of one image.
    """

    effect: float
    x: Vector
    y: Vector
    a: Vector
    b: Vector


def influence_from_scores(scores: Scores, *, sides: Sides = "both") -> Influence | None:
    """Leave each image out in turn, to show which images drive an effect.

    Parameters
    ----------
    scores : Scores
        With their cosines.
    sides : {"both", "targets"}
        Whether the weaker of the two sides is judged, or the targets only.

    Returns
    -------
    Influence or None
        None if the cosines are unknown, as in scores from a record.

    Notes
    -----
    If float64 rows lie within 1e-6 of each other, rounding of the cosines limits the precision: an
    effect without an image can be wrong by a thousandth; within 1e-7, by a tenth. (Such rows in
    float32 are refused.)
    """
    require_sides(sides)
    if not scores.cosines:
        return None
    whole = EffectsWithout(
        targets=np.array([scores.targets.difference]),
        attributes=np.array([scores.attributes.difference]),
    )
    none = EffectsWithout(targets=np.zeros(0))
    each = effects_without(scores)
    x, y, a, b = (each.get(role, none).judged(sides) for role in "XYAB")
    return Influence(effect=float(whole.judged(sides)[0]), x=x, y=y, a=a, b=b)


def effects_without(scores: Scores | ContrastScores) -> dict[str, EffectsWithout]:
    """Compute the effects of a test without each image of each set.

    Parameters
    ----------
    scores : Scores or ContrastScores
        Of one run or of averaged trials, with their cosines.

    Returns
    -------
    dict of str to EffectsWithout
        By the letter of the set, in the order X, Y, A, B. Images are in the order of the scores.
        A set of one image is absent: it cannot be left out.

    Raises
    ------
    ValueError
        If the scores hold no cosines, as scores from a record.

    Notes
    -----
    Everything is standardised anew without the image, so each value is what the test gives for the
    smaller sets; an effect without spread is 0. Of trials, it is the mean of the trials' effects
    without the image. The cost is one pass over the cosines for each set, in blocks.

    Leaving out image i of X takes ``s_i`` out of the target scores: the mean and the sum of squares
    within X change by closed forms. Every attribute score moves by
    ``(mean of X - C_i) / (n_x - 1)``, with C the cosines.
    """
    if not scores.cosines:
        message = "scores without cosines do not tell the effect without an image"
        raise ValueError(message)
    trials = [_trial_effects_without(scores, cosines) for cosines in scores.cosines]
    sizes = scores.by_role
    return {
        role: EffectsWithout(
            **{side: _read_only_mean([trial[side][role] for trial in trials]) for side in trials[0]}
        )
        for role in "XYAB"
        if sizes.get(role, 1) > 1
    }


def _trial_effects_without(
    scores: Scores | ContrastScores, cosines: Matrix
) -> dict[str, Mapping[str, Vector]]:
    """Return the effects of each side of one trial, without each image of each set."""
    # Cosines near one differ in their last digits only, and their common mean cancels anyway.
    away = cosines - cosines.mean()
    size = scores.by_role
    if isinstance(scores, Scores):
        rows, columns = (size["X"], size["Y"]), (size["A"], size["B"])
        return {
            "targets": dict(zip("XYAB", _pair_effects_without(away, rows, columns), strict=True)),
            "attributes": dict(
                zip("ABXY", _pair_effects_without(away.T, columns, rows), strict=True)
            ),
        }
    if scores.roles == ("A", "B"):
        parts = _single_target_effects_without(away, (size["A"], size["B"]))
        return {"targets": dict(zip("XAB", parts, strict=True))}
    parts = _pair_effects_without(away, (size["X"], size["Y"]), (size["A"],))
    return {"targets": dict(zip("XYA", parts, strict=True))}


def _pair_effects_without(
    cosines: Matrix, sizes: tuple[int, int], poles: Sequence[int]
) -> list[Vector]:
    """Return the effect of two sets of rows without each row, and without each column."""
    starts = np.cumsum([0, *poles])
    sets = [cosines[:, start : start + n] for start, n in zip(starts, poles, strict=False)]
    centres = [columns.mean(axis=1) for columns in sets]
    scores = centres[0] - centres[1] if len(sets) > 1 else centres[0]
    flat = _rounding_spread(cosines)
    without = _effects_without_each_score(scores, sizes, flat)
    for sign, columns, centre in zip((1, -1), sets, centres, strict=False):
        step = sign / max(columns.shape[1] - 1, 1)
        effects = [
            _effects(scores + step * (centre - columns[:, block].T), sizes, flat)
            for block in _blocks(columns.T)
        ]
        without.append(np.concatenate(effects))
    return without


def _single_target_effects_without(cosines: Matrix, sizes: tuple[int, int]) -> list[Vector]:
    """Return the mean effect over rows without each row, and without each column."""
    n, flat = len(cosines), _rounding_spread(cosines)
    effects = _effects(cosines, sizes, flat)
    rows = (effects.sum() - effects) / max(n - 1, 1)
    sums = [np.zeros(size) for size in sizes]
    for block in _blocks(cosines):
        parts = _effects_without_each_score(cosines[block], sizes, flat)
        sums = [total + part.sum(axis=0) for total, part in zip(sums, parts, strict=True)]
    return [rows, *(total / n for total in sums)]


def _effects_without_each_score(
    scores: NDArray[np.float64], sizes: tuple[int, int], flat: float
) -> list[Vector]:
    """Return the effects of two sets of scores `(..., n_1 + n_2)` without each score, by set."""
    sets = scores[..., : sizes[0]], scores[..., sizes[0] :]
    means = [part.mean(axis=-1, keepdims=True) for part in sets]
    away = [part - centre for part, centre in zip(sets, means, strict=True)]
    squares = [(part * part).sum(axis=-1, keepdims=True) for part in away]
    without = []
    for which, sign in enumerate((1, -1)):
        n, other = sizes[which], sizes[1 - which]
        fewer = max(n - 1, 1)
        gap = means[0] - means[1] - sign * away[which] / fewer
        within = squares[which] - away[which] ** 2 * (n / fewer)
        # If one image made up the whole sum, only rounding remains without it.
        within = np.where(within > _ROUNDING * squares[which], within, 0.0) + squares[1 - which]
        total = fewer + other
        width = np.sqrt((within + gap * gap * (fewer * other / total)) / max(total - 1, 1))
        without.append(_safe_ratio(gap, width, flat))
    return without


def _effects(scores: Matrix, sizes: tuple[int, int], flat: float) -> Vector:
    """Return the effect of two sets of scores for each row of `(m, n_1 + n_2)`."""
    gap = scores[:, : sizes[0]].mean(axis=1) - scores[:, sizes[0] :].mean(axis=1)
    return _safe_ratio(gap, scores.std(axis=1, ddof=1), flat)


def _safe_ratio(gap: Vector, width: Vector, flat: float) -> Vector:
    """Return the gaps over the widths, and 0 if the scores vary by rounding only."""
    effects: Vector = np.divide(gap, width, out=np.zeros_like(gap), where=width > flat)
    return effects


def _rounding_spread(cosines: Matrix) -> float:
    """Return the largest spread of scores that rounding of their cosines can cause."""
    return _ROUNDING * float(np.abs(cosines).max())


def _blocks(rows: Matrix) -> Iterator[slice]:
    """Cut the rows of a matrix into blocks of about a million cells."""
    step = max(1, _CELLS // rows.shape[1])
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _read_only_mean(trials: Sequence[Vector]) -> Vector:
    average: Vector = np.mean(trials, axis=0)
    average.flags.writeable = False
    return average


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledEffect(Evidence):
    """P-values of an effect, and its intervals if the cosines are known.

    Attributes
    ----------
    effect_judged : float
        The effect that limits judge.
    gap : float
        The difference in cosines.
    ci_low, ci_high : float or None
        Confidence interval of `effect_judged`, targets and attributes both sampled. This and the
        fields below are None if only scores are known, as from a record.
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


def effect_uncertainty(
    scores: Scores | ContrastScores, judged: float, sides: Sides, confidence: float
) -> dict[str, Any]:
    """Return the intervals, standard errors and bias correction of `SampledEffect` as a mapping.

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
    over its size. A set of one image counts as fixed.

    Simulated coverage at 95 %: see `benchmarks/RESULTS.md`.
    """
    require_level(confidence)
    if not scores.cosines:
        return {}
    without = effects_without(scores).values()
    effect, gap = (
        jackknife(judged, [effects.judged(sides) for effects in without]),
        _gap_error(scores),
    )
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
        *score_variances(cells @ contrast_weights(columns), rows),
        *score_variances(contrast_weights(rows) @ cells, columns),
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
