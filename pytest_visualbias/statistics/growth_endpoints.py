"""Compute the effects of one model in units that can be compared between models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.association import judged_side, testable_sides
from pytest_visualbias.statistics.evidence import scaled_cosines
from pytest_visualbias.statistics.intervals import WITHIN_FLOOR, within_sets
from pytest_visualbias.statistics.leave_one_out import effects_without
from pytest_visualbias.statistics.permutation.sides import mean, sample_std
from pytest_visualbias.statistics.scores import GrowthBasis, Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_visualbias.statistics.contrast_scores import ContrastScores
    from pytest_visualbias.statistics.permutation.sides import Side, Sides

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Endpoint:
    """One end of a change.

    Attributes
    ----------
    sides : tuple of Side
        Standardised scores of the sides that count, targets first.
    factors : tuple of float
        Factors that convert the scores of each side into units of the judged side.
    effect, effect_within : float
        The judged effect, in standard deviations over both sets and within the sets.
    without, without_within : mapping of str to ndarray
        The same without each image of each set, `(n,)`; the judged side is chosen anew.
    trials : ndarray
        Effect of the judged side in each trial, `(trials,)`.
    cells : ndarray or None
        Cosines in units of the judged side, `(targets, attributes)`; None if unknown, as in a
        record, or not needed, as if only targets count.
    is_saturated : bool
        Whether the judged scores do not vary within their sets.
    """

    sides: tuple[Side, ...]
    factors: tuple[float, ...]
    effect: float
    effect_within: float
    without: Mapping[str, Vector]
    without_within: Mapping[str, Vector]
    trials: Vector
    cells: Matrix | None
    is_saturated: bool


def compute_endpoint(scores: Scores | ContrastScores, sides: Sides) -> Endpoint:
    """Return one end of a change.

    Raises
    ------
    DegenerateTestError
        If a side that counts has too few images or scores that are all equal.
    """
    counted = _counted_sides(scores, sides)
    basis = growth_basis(scores)
    judged = counted.index(judged_side(counted[0], counted[-1], "both"))
    within = [float(within_sets(side.difference, *side.sizes)) for side in counted]
    widths = [1.0]
    if len(counted) > 1:
        widths = [q / part for q, part in zip(basis.within, within, strict=True)]
    scale = max(width * part for width, part in zip(widths, within, strict=True))
    is_crossed = bool(scores.cosines) and (len(counted) > 1 or not isinstance(scores, Scores))
    chosen = {role: _judged_without(role, parts, counted) for role, parts in basis.without.items()}
    return Endpoint(
        sides=counted,
        factors=tuple(width / scale for width in widths),
        effect=counted[judged].difference,
        effect_within=counted[judged].difference / within[judged],
        without={role: effects for role, (effects, _) in chosen.items()},
        without_within={role: effects for role, (_, effects) in chosen.items()},
        trials=np.array([trial[judged] for trial in basis.trials]),
        cells=scaled_cosines(scores) * (math.sqrt(math.prod(widths)) / scale)
        if is_crossed
        else None,
        is_saturated=within[judged] <= WITHIN_FLOOR,
    )


def growth_basis(scores: Scores | ContrastScores) -> GrowthBasis:
    """Return what a growth test needs besides scores, recorded or computed from the cosines.

    Raises
    ------
    ValueError
        If the scores hold neither.
    """
    if scores.basis is not None:
        return scores.basis
    without = {
        role: (parts.targets,) if parts.attributes is None else (parts.targets, parts.attributes)
        for role, parts in effects_without(scores).items()
    }
    trials = [_trial_effects(scores, cosines) for cosines in scores.cosines]
    within = []
    if isinstance(scores, Scores):
        for index, side in enumerate((scores.targets, scores.attributes)):
            width = math.prod(trial[index][1] for trial in trials) ** (1 / len(trials))
            within.append(width * float(within_sets(side.difference, *side.sizes)))
    return GrowthBasis(
        within=tuple(within),
        without=without,
        trials=tuple(tuple(effect for effect, _ in trial) for trial in trials),
    )


def _counted_sides(scores: Scores | ContrastScores, sides: Sides) -> tuple[Side, ...]:
    """Return the sides that count, or raise if one cannot be tested."""
    if not isinstance(scores, Scores):
        return (scores.side,)
    targets, attributes = testable_sides(scores, sides)
    return (targets,) if attributes is None or sides == "targets" else (targets, attributes)


def _judged_without(
    role: str, parts: tuple[Vector, ...], sides: tuple[Side, ...]
) -> tuple[Vector, Vector]:
    """Return the judged effect without each image, in units of both sets and within sets."""
    effects = parts[0]
    units = effects / within_sets(effects, *_sizes_without(role, sides[0]))
    if len(sides) > 1:
        other = parts[1] / within_sets(parts[1], *_sizes_without(role, sides[1]))
        is_weaker = np.abs(parts[1]) < np.abs(parts[0])
        effects, units = np.where(is_weaker, parts[1], effects), np.where(is_weaker, other, units)
    return effects, units


def _sizes_without(role: str, side: Side) -> tuple[int, int]:
    """Return the sizes of the two sets of a side without an image of one set."""
    first, second = side.sizes
    return first - (role == side.roles[0]), second - (role == side.roles[1])


def _trial_effects(scores: Scores | ContrastScores, cosines: Matrix) -> list[tuple[float, float]]:
    """Return the effect of each side of one trial, and the spread of its scores in cosines."""
    away = cosines - cosines.mean()
    if isinstance(scores, Scores):
        n_x, n_a = len(scores.x), len(scores.a)
        return [
            _effect_and_spread(away[:, :n_a].mean(axis=1) - away[:, n_a:].mean(axis=1), n_x),
            _effect_and_spread(away[:n_x].mean(axis=0) - away[n_x:].mean(axis=0), n_a),
        ]
    n_first = len(scores.first)
    if scores.roles == ("A", "B"):
        effects = [_effect_and_spread(row, n_first)[0] for row in away]
        return [(mean(effects), 1.0)]
    return [_effect_and_spread(away.mean(axis=1), n_first)]


def _effect_and_spread(scores: Vector, n_first: int) -> tuple[float, float]:
    """Return the effect of one side, and the spread of its scores."""
    width = sample_std(scores)
    difference = mean(scores[:n_first]) - mean(scores[n_first:])
    return (difference / width if width > 0 else 0.0), width
