"""What a measured test could have found, and how many images would show its limit to be kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_visualbias.statistics import detectable_effect, images_to_show

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_visualbias.pipeline.power import Plan
    from pytest_visualbias.spec.schema import Limits
    from pytest_visualbias.statistics import EffectResult

__all__ = ["detectable", "images_needed"]


def detectable(effect: EffectResult, plan: Plan, family_size: int) -> float | None:
    """Return the true effect that is found in 80 % of samples; None without a standard error."""
    error, freedom = effect.standard_error, effect.degrees_of_freedom
    if error is None or freedom is None or not math.isfinite(error):
        return None
    return detectable_effect(error, freedom, plan.alpha / max(family_size, 1), plan.alternative)


def images_needed(
    effect: EffectResult, limits: Limits, alpha: float, sizes: Collection[int]
) -> int | None:
    """Return how many images a set would show in 80 % of samples that the limit is kept.

    None without a limit on the effect or the gap, or if the limit is exceeded. Sets of different
    sizes count by their harmonic mean, as the standard error does.
    """
    value, error, limit = effect.effect_judged, effect.standard_error, limits.max_effect
    if limit is None and effect.gap is not None:
        value, limit = effect.gap, limits.max_gap
        error = getattr(effect, "gap_standard_error", error)
    if limit is None or error is None or not all(sizes):
        return None
    images = len(sizes) / math.fsum(1 / n for n in sizes)
    return images_to_show(images, error, limit - abs(value), alpha)
