"""Compute which effects a test can detect, and find limits that cannot fail."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.evaluation.family import declared_family, p_values_used
from pytest_visualbias.results import rounded_up
from pytest_visualbias.spec.effective_settings import effective_settings, is_gated
from pytest_visualbias.spec.test_kinds import concepts_of, part_of
from pytest_visualbias.statistics.intervals import largest_effect
from pytest_visualbias.statistics.multiple_testing import adjust
from pytest_visualbias.statistics.power import (
    detectable_effect,
    images_for_limit,
    smallest_detectable_effect,
    smallest_p,
)
from pytest_visualbias.stimuli.concept_checks import SetFinding, group_stimuli
from pytest_visualbias.stimuli.resolve import counted_stimuli

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.effective_settings import EffectiveSettings
    from pytest_visualbias.spec.fields import Alternative
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.spec.yaml_document import KeyPath
    from pytest_visualbias.statistics import EffectResult
    from pytest_visualbias.stimuli.resolve import StimulusSet


def smallest_visible(
    spec: BiasSpec, test: BiasTest, sizes: Mapping[str, int], family_size: int
) -> tuple[float | None, float | None]:
    """Return about the smallest effect that the permutation test of each side can detect."""
    plan = effective_settings(spec, test)
    alpha = level_of(spec, test, family_size)
    smallest = [
        _smallest_effect(test, side, alpha, plan) for side in judged_sides(test, plan, sizes)
    ]
    first, second, *_ = *smallest, None, None
    return first, second


def level_of(spec: BiasSpec, test: BiasTest, family_size: int) -> float:
    """Return the level that the smallest p of a family is compared with."""
    alpha = spec.settings.alpha
    is_corrected = spec.settings.correction != "none" and not test.is_positive
    return alpha / max(family_size, 1) if is_corrected else alpha


@dataclass(frozen=True, kw_only=True, slots=True)
class SideSizes:
    """Sizes of two sets whose labels are permuted, and the part of the test that names them."""

    part: str
    sizes: tuple[int, int]
    noun: str = "images"


def _smallest_effect(
    test: BiasTest, side: SideSizes, alpha: float, plan: EffectiveSettings
) -> float | None:
    """Return the smallest significant absolute effect, in the unit of the test."""
    d = smallest_detectable_effect(*side.sizes, alpha, plan.alternative)
    if d is None or test.prediction is None:
        return d
    # The largest standard deviation (ddof 1) that rates can have: at one half.
    total = sum(side.sizes)
    return d * math.sqrt(total / (total - 1)) / 2


def judged_sides(
    test: BiasTest, plan: EffectiveSettings, sizes: Mapping[str, int]
) -> list[SideSizes]:
    """Return the pairs of sets whose labels are permuted and judged."""
    pairs = test.compared[:1] if plan.sides == "targets" else test.compared
    return [
        SideSizes(part=part_of(first), sizes=(sizes[first], sizes[second]))
        for first, second in pairs
    ]


def power_findings(
    spec: BiasSpec, model: str, sets: Mapping[str, StimulusSet]
) -> Iterator[SetFinding]:
    """Yield the limits of a model's tests that their set sizes make meaningless."""
    for index, test in enumerate(spec.tests):
        sizes, sides = measurable(spec, test, sets)
        path: KeyPath = ("tests", index)
        if not sizes:
            continue
        if test.is_positive or is_gated(spec, model, test):
            yield from _bound(path, test, sides, sizes)
        plan = effective_settings(spec, test)
        if test.is_positive:
            yield from _unreachable(path, [plan.alternative], plan.alpha, sides)
        elif is_gated(spec, model, test):
            alternatives = [
                alternative_of(test, plan, what) for what in p_values_used(spec, model, test)
            ]
            yield from _unreachable(path, alternatives, plan.alpha, sides)


def measurable(
    spec: BiasSpec, test: BiasTest, sets: Mapping[str, StimulusSet]
) -> tuple[dict[str, int], list[SideSizes]]:
    """Return the sizes of a test's sets in groups, and its judged sides; empty without a set."""
    roles = concepts_of(test)
    if not all(sets.get(concept) for concept in roles.values()):
        return {}, []
    # Images are chosen by name, so they are chosen before they are grouped.
    images = counted_stimuli(test, {role: sets[concept] for role, concept in roles.items()})
    chosen = {role: group_stimuli(spec, stimuli) for role, stimuli in images.items()}
    sizes = {role: len(stimuli) for role, stimuli in chosen.items()}
    if not all(sizes.values()):
        return {}, []  # the sets report it
    nouns: dict[str, str] = {part_of(role): f"{stimuli.noun}s" for role, stimuli in chosen.items()}
    return sizes, [
        dataclasses.replace(side, noun=nouns[side.part])
        for side in judged_sides(test, effective_settings(spec, test), sizes)
    ]


def alternative_of(test: BiasTest, plan: EffectiveSettings, what: str) -> Alternative:
    """Return the alternative that determines the smallest p-value of an effect or a change."""
    if what == "shift":
        return "two-sided"
    # Growth of a gap of predictions chooses signs anew, so relabellings have mirror images too.
    return plan.alternative if what == "effect" or test.prediction is not None else "greater"


def _bound(
    path: KeyPath, test: BiasTest, sides: list[SideSizes], sizes: Mapping[str, int]
) -> Iterator[SetFinding]:
    if test.prediction is not None:
        highest, lowest = 1.0, -1.0
    elif sides:
        highest = min(largest_effect(*side.sizes) for side in sides)
        lowest = -highest
    else:
        # The mean cosine of N unit vectors is at least -1 / (N - 1).
        highest, lowest = 1.0, -1 / max(sizes["X"] - 1, 1)
    bounds = {
        "max_effect": highest,
        "max_growth": highest,
        "max_shift": highest - lowest,
        "min_effect": highest,
        "max_excess": highest,
        # Two mean cosines differ by at most 2, two associations by at most 4.
        "max_gap": highest if test.prediction is not None else 2.0 * max(len(sides), 1),
    }
    for name, bound in bounds.items():
        limit = getattr(test.limits, name)
        if limit is not None and limit >= bound:
            message = f"with sets of these sizes it cannot be over {bound:.2f}; lower the limit"
            yield SetFinding(path=(*path, "limits", name), message=message, is_fault=True)
    for name in ("max_effect", "max_gap", "max_growth") if test.accept is not None else ():
        size, bound = getattr(test.accept, name), bounds[name]
        # A waiver of exactly what was measured, rounded up, must be possible.
        if size is not None and size > rounded_up(bound):
            message = f"with sets of these sizes it cannot be over {bound:.2f}; accept less"
            yield SetFinding(path=(*path, "accept", name), message=message, is_fault=True)


def _unreachable(
    path: KeyPath, alternatives: list[Alternative], alpha: float, sides: list[SideSizes]
) -> Iterator[SetFinding]:
    for side in sides:
        first, second = side.sizes
        for alternative in alternatives:
            least = smallest_p(first, second, alternative)
            if least > alpha:
                message = (
                    f"{first} against {second} {side.noun} cannot give a {alternative} p under "
                    f"1/{1 / least:.0f}, above alpha {alpha:g}; add {side.noun} or raise alpha"
                )
                yield SetFinding(path=(*path, side.part), message=message, is_fault=True)
                break


def detectable(
    spec: BiasSpec,
    test: BiasTest,
    sizes: Mapping[str, int],
    family_size: int,
    effect: EffectResult,
) -> float | None:
    """Return the true effect that is found in 80 % of samples."""
    error, freedom = effect.standard_error, effect.degrees_of_freedom
    if error is None or freedom is None:
        if test.prediction is None:
            return None
        return detectable_before_data(spec, test, sizes, family_size)
    if not math.isfinite(error) or not _can_show(spec, test, sizes, family_size):
        return None
    plan = effective_settings(spec, test)
    return detectable_effect(error, freedom, level_of(spec, test, family_size), plan.alternative)


def detectable_before_data(
    spec: BiasSpec, test: BiasTest, sizes: Mapping[str, int], family_size: int
) -> float | None:
    """Return about the true effect that is found in 80 % of samples, from set sizes alone."""
    if not _can_show(spec, test, sizes, family_size):
        return None
    plan = effective_settings(spec, test)
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
    """Convert a difference in within-set deviations to an effect size in pooled deviations."""
    total = first + second
    share = first * second / total * within**2
    return within * math.sqrt((total - 1) / (total - 2 + share))


def images_before_data(spec: BiasSpec, test: BiasTest) -> int | None:
    """Return how many images a set show that an absent effect is within its limit."""
    limit = test.limits.max_effect
    if limit is None or test.prediction is not None or not test.compared:
        return None
    return images_for_limit(limit, spec.settings.alpha)


def _can_show(spec: BiasSpec, test: BiasTest, sizes: Mapping[str, int], family_size: int) -> bool:
    """Return whether any effect can be significant."""
    plan, level = effective_settings(spec, test), level_of(spec, test, family_size)
    sides = judged_sides(test, plan, sizes)
    return all(smallest_p(*side.sizes, plan.alternative) <= level for side in sides)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """Limits of a spec whose p-values cannot reach the corrected alpha."""

    path: KeyPath
    message: str
    tests: frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limit:
    """A p-value that a limit uses, with its smallest possible value."""

    model: str
    test: str
    kind: str
    side: SideSizes
    alternative: Alternative
    smallest_p_value: float


def hidden_limits(
    spec: BiasSpec, models: Mapping[str, Mapping[str, StimulusSet]], *, checkpoints: int = 1
) -> Hidden | None:
    """Return the limits whose smallest possible p is too large for their family, if any."""
    by_model = {
        model: list(
            _limits_that_cannot_fail(spec, list(_family_limits(spec, model, sets)), checkpoints)
        )
        for model, sets in models.items()
    }
    largest = max(by_model.values(), key=len, default=[])
    if not largest:
        return None
    worst = max(largest, key=lambda limit: limit.smallest_p_value)
    index = [test.name for test in spec.tests].index(worst.test)
    return Hidden(
        path=("tests", index, worst.side.part),
        message=_message(spec, worst, len(largest) * checkpoints, checkpoints),
        tests=frozenset((limit.model, limit.test) for limit in itertools.chain(*by_model.values())),
    )


def _family_limits(spec: BiasSpec, model: str, sets: Mapping[str, StimulusSet]) -> Iterator[_Limit]:
    """Yield the members of a model's family whose sets are known."""
    tests = {test.name: test for test in spec.tests}
    for _, name, kind in declared_family(spec, model):
        plan = effective_settings(spec, tests[name])
        alternative = alternative_of(tests[name], plan, kind)
        _, sides = measurable(spec, tests[name], sets)
        if sides and is_gated(spec, model, tests[name]):
            smallest_p_value, side = max(
                ((smallest_p(*side.sizes, alternative), side) for side in sides),
                key=lambda pair: pair[0],
            )
            yield _Limit(
                model=model,
                test=name,
                kind=kind,
                side=side,
                alternative=alternative,
                smallest_p_value=smallest_p_value,
            )


def _limits_that_cannot_fail(
    spec: BiasSpec, limits: list[_Limit], checkpoints: int
) -> Iterator[_Limit]:
    """Yield the limits that cannot fail because of the correction."""
    if not limits or spec.settings.correction == "none":
        return
    alpha = spec.settings.alpha
    size = checkpoints * len(declared_family(spec, limits[0].model))
    smallest_p_value = [limit.smallest_p_value for limit in limits for _ in range(checkpoints)]
    # With BH, many small p-values can be significant together although none is alone.
    corrected_together = adjust([*smallest_p_value, *[1.0] * (size - len(smallest_p_value))], "bh")[
        ::checkpoints
    ]
    for limit, smallest_corrected in zip(limits, corrected_together, strict=False):
        corrected = (
            smallest_corrected
            if spec.settings.correction == "bh"
            else limit.smallest_p_value * size
        )
        if limit.smallest_p_value <= alpha < corrected:
            yield limit


def _message(spec: BiasSpec, limit: _Limit, count: int, checkpoints: int) -> str:
    members = declared_family(spec, limit.model)
    size, alpha = checkpoints * len(members), spec.settings.alpha
    fewer = ["tests"]
    if len({layer for layer, *_ in members}) > 1:
        fewer.insert(0, "layers (`gated_layers`)")
    if checkpoints > 1:
        fewer.insert(0, "checkpoints (`gate: last`)")
    first, second = limit.side.sizes
    needed = next(
        n for n in itertools.count(2) if smallest_p(n, n, limit.alternative) <= alpha / size
    )
    largest_family = int(alpha / limit.smallest_p_value)
    bh = ", or `correction: bh`" if spec.settings.correction == "holm" else ""
    return (
        f"{count} of {size} corrected p-values of model '{limit.model}' cannot fail alone: the "
        f"{limit.kind} of '{limit.test}' ({first} against {second} {limit.side.noun}) has p >= "
        f"{limit.smallest_p_value:.2g}, but needs p <= {alpha:g}/{size} = {alpha / size:.2g}; "
        f"needs n >= {needed}, or fewer {' or '.join(fewer)}: at most {largest_family} p-values{bh}"
    )
