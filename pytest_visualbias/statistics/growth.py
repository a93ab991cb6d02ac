"""Whether an association has changed between two models that saw the same images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.statistics.association import judged_side, sound_sides
from pytest_visualbias.statistics.change import UNCHANGED, growth_interval, shift_interval
from pytest_visualbias.statistics.contrast_scores import ContrastScores
from pytest_visualbias.statistics.evidence import Evidence, Sides, require_sides, weigh
from pytest_visualbias.statistics.intervals import require_level
from pytest_visualbias.statistics.scores import Scores, association_scores, require_alike
from pytest_visualbias.statistics.side import Side, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = ["GrowthResult", "growth_from_scores", "growth_test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthResult(Evidence):
    """How an association changed; the p-values are those of `Evidence`, of the change.

    Attributes
    ----------
    growth : float
        ``|after| - |before|``: positive where the association became stronger, either way.
    shift : float
        ``after - before``.
    flipped : bool
        Whether the association changed its direction.
    ci_low, ci_high : float
        Bootstrap interval of `growth`.
    shift_ci_low, shift_ci_high : float
        Interval of `shift`.
    confidence : float
        Of both intervals.
    before, after : float
        The judged effects.
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


def growth_test(
    before: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    *,
    sides: Sides = "both",
    confidence: float = 0.95,
) -> GrowthResult:
    """Test whether an association differs between two models.

    Parameters
    ----------
    before, after : tuple of array_like
        ``(X, Y, A, B)`` embeddings by each model, `(n, dim)`; the same images in the same order.
        The two models may differ in `dim`.
    sides : {"both", "targets"}
        Whether the weaker of the two sides is judged or, as in iEAT, the targets only.
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
    return growth_from_scores(*scored, sides=sides, confidence=confidence)


def growth_from_scores(
    before: Scores | ContrastScores,
    after: Scores | ContrastScores,
    *,
    sides: Sides = "both",
    confidence: float = 0.95,
) -> GrowthResult:
    """Test growth on scores: of live models, of averaged trials, or recorded ones.

    Parameters
    ----------
    before, after : Scores or ContrastScores
        Of the same images in the same order, both of one kind. Contrasts have one side only,
        which is judged whatever `sides` says.
    sides, confidence
        As in `growth_test`.

    Returns
    -------
    GrowthResult

    Notes
    -----
    Null hypothesis, for each side: the change ``delta = z_after - z_before`` of an image's
    standardised score has nothing to do with which of the two sets it belongs to. As the effect
    is a difference of mean scores, its shift is the difference of mean deltas, and the labels of
    delta are permuted. The test is always two-sided: its side must not be chosen by the result.
    A side whose deltas agree within 1e-6 has not changed.
    """
    require_level(confidence)
    require_alike(before.by_role, after.by_role, ("before", "after"))
    if isinstance(before, ContrastScores):
        sides = "targets"
    old, new = (_sound(scores, sides) for scores in (before, after))
    paired = _paired(old, new)
    deltas = [_delta(*models) for models in paired]
    evidence = weigh(*deltas, alternative="two-sided", sides=sides)
    counted = paired[:1] if sides == "targets" else paired
    changed = any(delta.pooled.any() for delta in deltas[: len(counted)])
    judged = judged_side(*old, sides), judged_side(*new, sides)
    effects = judged[0].difference, judged[1].difference
    growth = abs(effects[1]) - abs(effects[0]) if changed else 0.0
    shift = effects[1] - effects[0] if changed else 0.0
    growth_ci = growth_interval(counted, confidence) if changed else (0.0, 0.0)
    shift_ci = shift_interval(shift, counted, judged, confidence) if changed else (0.0, 0.0)
    return GrowthResult(
        growth=growth,
        shift=shift,
        flipped=effects[0] * effects[1] < 0,
        ci_low=growth_ci[0],
        ci_high=growth_ci[1],
        shift_ci_low=shift_ci[0],
        shift_ci_high=shift_ci[1],
        confidence=confidence,
        before=effects[0],
        after=effects[1],
        **asdict(evidence),
    )


def _sound(scores: Scores | ContrastScores, sides: Sides) -> tuple[Side, Side | None]:
    """Side or sides that can be tested; of those that count, all, or an error."""
    if isinstance(scores, ContrastScores):
        return scores.side, None
    return sound_sides(scores, sides)


def _paired(
    before: tuple[Side, Side | None], after: tuple[Side, Side | None]
) -> tuple[tuple[Side, Side], ...]:
    """Sides that both models can be tested on, targets first, each before and after."""
    if before[1] is None or after[1] is None:
        return ((before[0], after[0]),)
    return (before[0], after[0]), (before[1], after[1])


def _delta(before: Side, after: Side) -> Side:
    """Change of every score of one side; exactly zero where it is the same for all images."""
    first, second = after.first - before.first, after.second - before.second
    pooled = np.concatenate([first, second])
    if np.abs(pooled - mean(pooled)).max() <= UNCHANGED:
        first, second = np.zeros_like(first), np.zeros_like(second)
    # A delta carries the rounding of the two scores it comes from, however small it is itself.
    magnitude = before.magnitude + after.magnitude
    return Side(first=first, second=second, roles=before.roles, magnitude=magnitude)
