"""The smallest effect that a test detects, and the images that its limit takes before data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.power import judged_sides, level_of, plan_of
from pytest_visualbias.statistics import detectable_effect, images_for_limit, smallest_p

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.spec.schema import BiasSpec, BiasTest
    from pytest_visualbias.statistics import EffectResult

__all__ = ["detectable", "detectable_before_data", "images_before_data"]


def detectable(
    spec: BiasSpec,
    test: BiasTest,
    sizes: Mapping[str, int],
    family_size: int,
    effect: EffectResult,
) -> float | None:
    """Return the true effect that is found in 80 % of samples.

    None where no effect can be significant. The gap of rates has no standard error of its own:
    that of rates near one half stands for it.
    """
    error, freedom = effect.standard_error, effect.degrees_of_freedom
    if error is None or freedom is None:
        if test.prediction is None:
            return None
        return detectable_before_data(spec, test, sizes, family_size)
    if not math.isfinite(error) or not _can_show(spec, test, sizes, family_size):
        return None
    plan = plan_of(spec, test)
    return detectable_effect(error, freedom, level_of(spec, test, family_size), plan.alternative)


def detectable_before_data(
    spec: BiasSpec, test: BiasTest, sizes: Mapping[str, int], family_size: int
) -> float | None:
    """Return about which true effect is found in 80 % of samples, from sizes alone.

    A set of n images adds at most 1/n to the variance of an effect in standard deviations within
    sets, and 1/(4n) to that of a gap of rates.
    """
    if not _can_show(spec, test, sizes, family_size):
        return None
    plan = plan_of(spec, test)
    is_published = test.prediction is not None or plan.sides == "targets"
    roles = [role for side in test.compared[:1] for role in side] if is_published else [*sizes]
    counts = [sizes[role] for role in roles if sizes[role] > 1]
    variances = [(0.25 if test.prediction is not None else 1.0) / n for n in counts]
    total = math.fsum(variances)
    freedom = total**2 / math.fsum(
        variance**2 / (n - 1) for variance, n in zip(variances, counts, strict=True)
    )
    level = level_of(spec, test, family_size)
    within = detectable_effect(math.sqrt(total), freedom, level, plan.alternative)
    if test.prediction is not None:
        return within if within <= 1 else None
    sides = judged_sides(test, plan, sizes)
    return max(_over_both_sets(within, *side.sizes) for side in sides)


def _over_both_sets(within: float, first: int, second: int) -> float:
    """Return a difference in deviations within two sets as an effect size, which is over both."""
    total = first + second
    share = first * second / total * within**2
    return within * math.sqrt((total - 1) / (total - 2 + share))


def images_before_data(spec: BiasSpec, test: BiasTest) -> int | None:
    """Return how many images a set show an absent effect to be within its limit."""
    limit = test.limits.max_effect
    if limit is None or test.prediction is not None or not test.compared:
        return None
    return images_for_limit(limit, spec.settings.alpha)


def _can_show(spec: BiasSpec, test: BiasTest, sizes: Mapping[str, int], family_size: int) -> bool:
    """Whether some effect could be significant."""
    plan, level = plan_of(spec, test), level_of(spec, test, family_size)
    sides = judged_sides(test, plan, sizes)
    return all(smallest_p(*side.sizes, plan.alternative) <= level for side in sides)
