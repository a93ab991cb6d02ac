"""Gates that could never fail, found from sizes alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.spec.counting import counted
from pytest_visualbias.spec.kinds import part_of
from pytest_visualbias.spec.layers import gated_layers_of, made_at, points_of
from pytest_visualbias.spec.roles import is_gated, is_origin, is_random
from pytest_visualbias.spec.sets import Finding, concepts_of
from pytest_visualbias.statistics import largest_effect, smallest_detectable_effect, smallest_p
from pytest_visualbias.verdict import rounded_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import Alternative, BiasSpec, BiasTest, Evidence, Sides
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = [
    "Plan",
    "Side",
    "alternative_of",
    "declared_family",
    "interval_count",
    "judged_sides",
    "level_of",
    "measurable",
    "plan_of",
    "power_findings",
    "smallest_visible",
]


# With these a test fails by a p-value.
BY_P = ("significant", "equivalence")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How one test is tested: its own settings, else those of the spec.

    Attributes
    ----------
    alternative, sides, evidence : str
        In force.
    alpha : float
        Of the spec.
    has_retrainings : bool
        Whether the trials of a change are retrainings, whose spread counts.
    """

    alternative: Alternative
    sides: Sides
    evidence: Evidence
    alpha: float
    has_retrainings: bool = True


def plan_of(spec: BiasSpec, test: BiasTest) -> Plan:
    """Return the settings in force for a test.

    A control looks for its effect one-sided. Where nothing is compared there is no direction, so
    that limits are on the value itself, and no p to be significant.
    """
    settings = spec.settings
    is_upward = test.is_positive or not test.compared
    evidence = test.evidence or settings.evidence
    if not test.compared and evidence == "significant":
        evidence = "interval"  # with limits, a fault of the spec
    return Plan(
        alternative=test.alternative or ("greater" if is_upward else settings.alternative),
        sides=test.sides or settings.sides,
        evidence=evidence,
        alpha=settings.alpha,
    )


def declared_family(spec: BiasSpec, model: str) -> list[tuple[str, str, str]]:
    """Return the members of a model's family: every p-value that a limit uses, at gated layers.

    They are triples of a layer, a test and "effect", "growth", "shift" or "excess": what the spec
    declares, whatever is selected or fails to run.
    """
    return [
        (point.name, test.name, what)
        for point in points_of(spec, {})
        for test in made_at(spec, point.name)
        for what in _used(spec, model, test)
    ]


def _used(spec: BiasSpec, model: str, test: BiasTest) -> Iterator[str]:
    """Yield the p-values of a test that its limits use; a test of another evidence uses none."""
    if test.is_positive or not test.compared or plan_of(spec, test).evidence not in BY_P:
        return
    if test.limits.on_effect:
        yield "effect"
    if not is_origin(spec, model, test):
        if test.limits.max_growth is not None:
            yield "growth"
        if test.limits.max_shift is not None:
            yield "shift"
    if test.limits.on_excess and not is_random(spec.models[model]):
        yield "excess"


def interval_count(spec: BiasSpec, model: str) -> int:
    """Return how many limits of a model are judged by their interval, at all gated layers."""
    count = 0
    for test in spec.tests:
        if test.is_positive or plan_of(spec, test).evidence != "interval":
            continue
        skipped = {"min_effect"}
        if is_origin(spec, model, test):
            skipped |= {"max_growth", "max_shift"}
        limits = test.limits.model_dump(exclude_none=True).keys() - skipped
        count += len(limits) * len(gated_layers_of(spec, test))
    return count


def smallest_visible(
    spec: BiasSpec, test: BiasTest, sizes: Mapping[str, int], family_size: int
) -> tuple[float | None, float | None]:
    """Return, for each side, the smallest |effect| that its permutation test finds, about.

    That is: at the level of the whole family, which Holm and BH relax where other tests are
    significant, too; and with scores that vary as much as they can. The crossed test and Welch's t
    may ask for more. A side that there is not, or that is not judged, has none.
    """
    plan = plan_of(spec, test)
    alpha = level_of(spec, test, family_size)
    found = [_seen(test, side, alpha, plan) for side in judged_sides(test, plan, sizes)]
    first, second, *_ = *found, None, None
    return first, second


def level_of(spec: BiasSpec, test: BiasTest, family_size: int) -> float:
    """Return the level that the smallest p of a family is held against."""
    alpha = spec.settings.alpha
    is_corrected = spec.settings.correction != "none" and not test.is_positive
    return alpha / max(family_size, 1) if is_corrected else alpha


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """Two sets whose labels are permuted, and the part of the test that names them."""

    part: str
    sizes: tuple[int, int]
    noun: str = "images"


def _seen(test: BiasTest, side: Side, alpha: float, plan: Plan) -> float | None:
    """Return the smallest |effect| that is significant, in the unit of the test."""
    d = smallest_detectable_effect(*side.sizes, alpha, plan.alternative)
    if d is None or test.prediction is None:
        return d
    # The largest standard deviation (ddof 1) that rates can have: at one half.
    total = sum(side.sizes)
    return d * math.sqrt(total / (total - 1)) / 2


def judged_sides(test: BiasTest, plan: Plan, sizes: Mapping[str, int]) -> list[Side]:
    """Return the pairs of sets whose labels are permuted and judged."""
    pairs = test.compared[:1] if plan.sides == "targets" else test.compared
    return [
        Side(part=part_of(first), sizes=(sizes[first], sizes[second])) for first, second in pairs
    ]


def power_findings(
    spec: BiasSpec, model: str, sets: Mapping[str, StimulusSet]
) -> Iterator[Finding]:
    """Yield tests of a model whose sizes leave their limits without a meaning.

    Tests that lack a set, or have an empty set, are skipped.
    """
    for index, test in enumerate(spec.tests):
        sizes, sides = measurable(spec, test, sets)
        path: Path = ("tests", index)
        if not sizes:
            continue
        if test.is_positive or is_gated(spec, model, test):
            yield from _bound(path, test, sides, sizes)
        plan = plan_of(spec, test)
        if test.is_positive:
            yield from _unreachable(path, [plan.alternative], plan.alpha, sides)
        elif is_gated(spec, model, test):
            alternatives = [alternative_of(test, plan, what) for what in _used(spec, model, test)]
            yield from _unreachable(path, alternatives, plan.alpha, sides)


def measurable(
    spec: BiasSpec, test: BiasTest, sets: Mapping[str, StimulusSet]
) -> tuple[dict[str, int], list[Side]]:
    """Return the sizes of a test's sets and its judged sides; no sizes if a set lacks."""
    roles = concepts_of(test)
    if not all(sets.get(concept) for concept in roles.values()):
        return {}, []
    chosen = counted(test, {role: sets[concept] for role, concept in roles.items()})
    sizes = {role: len(one) for role, one in chosen.items()}
    if not all(sizes.values()):
        return {}, []  # said of the sets
    nouns: dict[str, str] = {part_of(role): f"{one.noun}s" for role, one in chosen.items()}
    return sizes, [
        dataclasses.replace(side, noun=nouns[side.part])
        for side in judged_sides(test, plan_of(spec, test), sizes)
    ]


def alternative_of(test: BiasTest, plan: Plan, what: str) -> Alternative:
    """Return the alternative that decides the smallest p-value of an effect or a change."""
    if what == "shift":
        return "two-sided"
    # Growth of a gap of predictions takes the signs anew: relabellings have a mirror image as well.
    return plan.alternative if what == "effect" or test.prediction is not None else "greater"


def _bound(
    path: Path, test: BiasTest, sides: list[Side], sizes: Mapping[str, int]
) -> Iterator[Finding]:
    if test.prediction is not None:
        most, least = 1.0, -1.0
    elif sides:
        most = min(largest_effect(*side.sizes) for side in sides)
        least = -most
    else:
        # N unit vectors cannot all point away from each other.
        most, least = 1.0, -1 / max(sizes["X"] - 1, 1)
    # An effect's absolute value grows by no more than the most.
    reach = {"max_effect": most, "max_growth": most, "max_shift": most - least, "min_effect": most}
    reach["max_excess"] = most
    # A mean cosine differs from another by 2 at the most, an association by 4.
    reach["max_gap"] = most if test.prediction is not None else 2.0 * max(len(sides), 1)
    for name, end in reach.items():
        limit = getattr(test.limits, name)
        if limit is not None and limit >= end:
            message = f"with sets of these sizes it cannot be over {end:.2f}; lower the limit"
            yield Finding(path=(*path, "limits", name), message=message, is_fault=True)
    for name in ("max_effect", "max_gap", "max_growth") if test.accept is not None else ():
        size, end = getattr(test.accept, name), reach[name]
        # A waiver of exactly what was measured, rounded up, must be possible.
        if size is not None and size > rounded_up(end):
            message = f"with sets of these sizes it cannot be over {end:.2f}; accept less"
            yield Finding(path=(*path, "accept", name), message=message, is_fault=True)


def _unreachable(
    path: Path, alternatives: list[Alternative], alpha: float, sides: list[Side]
) -> Iterator[Finding]:
    for side in sides:
        first, second = side.sizes
        for alternative in alternatives:
            least = smallest_p(first, second, alternative)
            if least > alpha:
                message = (
                    f"{first} against {second} {side.noun} cannot give a {alternative} p under "
                    f"1/{1 / least:.0f}, above alpha {alpha:g}; add {side.noun} or raise alpha"
                )
                yield Finding(path=(*path, side.part), message=message, is_fault=True)
                break
