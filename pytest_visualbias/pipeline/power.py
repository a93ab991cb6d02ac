"""Gates that could never fail, found from sizes alone."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.spec.counting import counted
from pytest_visualbias.spec.kinds import part_of
from pytest_visualbias.spec.layers import layers_of, made_at
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
    "declared_family",
    "interval_count",
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


def declared_family(spec: BiasSpec, model: str, layer: str) -> list[tuple[str, str]]:
    """Return the members of a model's family at a layer: every p of a test that a limit uses.

    They are pairs of a test's name and "effect", "growth", "shift" or "excess": what the spec
    declares, whatever is selected or fails to run. Where nothing is compared there is no p to
    count, and where the evidence asked for is another one, none that is used.
    """
    family = []
    for test in made_at(spec, layer):
        if test.is_positive or not test.compared:
            continue
        if plan_of(spec, test).evidence not in BY_P:
            continue
        if test.limits.on_effect:
            family.append((test.name, "effect"))
        if not is_origin(spec, model, test):
            if test.limits.max_growth is not None:
                family.append((test.name, "growth"))
            if test.limits.max_shift is not None:
                family.append((test.name, "shift"))
        if test.limits.on_excess and not is_random(spec.models[model]):
            family.append((test.name, "excess"))
    return family


def interval_count(spec: BiasSpec, model: str) -> int:
    """Return how many limits of a model are judged by their interval, at all layers."""
    count = 0
    for test in spec.tests:
        if test.is_positive or plan_of(spec, test).evidence != "interval":
            continue
        skipped = {"min_effect"}
        if is_origin(spec, model, test):
            skipped |= {"max_growth", "max_shift"}
        limits = test.limits.model_dump(exclude_none=True).keys() - skipped
        count += len(limits) * len(layers_of(spec, test))
    return count


def family_size(spec: BiasSpec, model: str, test: BiasTest) -> int:
    """Return the size of a test's family, the largest over its layers."""
    return _largest(spec, model, layers_of(spec, test))


def _largest(spec: BiasSpec, model: str, layers: tuple[str, ...]) -> int:
    return max(len(declared_family(spec, model, layer)) for layer in layers)


def smallest_visible(
    spec: BiasSpec,
    model: str,
    test: BiasTest,
    sizes: Mapping[str, int],
    *,
    checkpoints: int = 1,
) -> tuple[float | None, float | None]:
    """Return, for each side, the smallest |effect| that is significant in any case, about.

    That is: at the level of the whole family, which Holm and BH relax where other tests are
    significant, too; and with scores that vary as much as they can. So a smaller effect may be
    significant where others are, where scores are means (over the images of an sc-eat, over
    trials), and where rates are near 0 or 1. A side that there is not, or that is not judged, has
    none.
    """
    plan = plan_of(spec, test)
    size = checkpoints * family_size(spec, model, test)
    count = size if spec.settings.correction != "none" else 1
    alpha = plan.alpha if test.is_positive else plan.alpha / max(count, 1)
    found = [_seen(test, side, alpha, plan) for side in _judged_sides(test, plan, sizes)]
    first, second, *_ = *found, None, None
    return first, second


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """Two sets whose labels are permuted, and the part of the test that names them."""

    part: str
    sizes: tuple[int, int]
    noun: str = "images"


def _seen(test: BiasTest, side: _Side, alpha: float, plan: Plan) -> float | None:
    """Return the smallest |effect| that is significant, in the unit of the test."""
    d = smallest_detectable_effect(*side.sizes, alpha, plan.alternative)
    if d is None or test.prediction is None:
        return d
    # The largest standard deviation (ddof 1) that rates can have: at one half.
    total = sum(side.sizes)
    return d * math.sqrt(total / (total - 1)) / 2


def _judged_sides(test: BiasTest, plan: Plan, sizes: Mapping[str, int]) -> list[_Side]:
    pairs = test.compared[:1] if plan.sides == "targets" else test.compared
    return [
        _Side(part=part_of(first), sizes=(sizes[first], sizes[second])) for first, second in pairs
    ]


def power_findings(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    *,
    strict: bool,
    checkpoints: int = 1,
) -> Iterator[Finding]:
    """Yield tests of a model whose sizes leave their limits without a meaning.

    Parameters
    ----------
    spec : BiasSpec
        The spec.
    model : str
        Whose sets these are.
    sets : mapping of str to StimulusSet
        By concept; tests that lack one, or have an empty one, are passed over.
    strict : bool
        Whether a test hidden by its family is a fault.
    checkpoints : int
        How many are gated together.
    """
    # All tests at the same layers have one family, which takes as long as there are tests.
    largest = functools.cache(functools.partial(_largest, spec, model))
    for index, test in enumerate(spec.tests):
        roles = concepts_of(test)
        if not all(sets.get(concept) for concept in roles.values()):
            continue
        chosen = counted(test, {role: sets[concept] for role, concept in roles.items()})
        sizes = {role: len(one) for role, one in chosen.items()}
        if not all(sizes.values()):
            continue  # said of the sets
        nouns: dict[str, str] = {part_of(role): f"{one.noun}s" for role, one in chosen.items()}
        sides = [
            dataclasses.replace(side, noun=nouns[side.part])
            for side in _judged_sides(test, plan_of(spec, test), sizes)
        ]
        path: Path = ("tests", index)
        if test.is_positive:
            yield from _bound(path, test, sides, sizes)
            yield from _reachable(path, plan_of(spec, test), sides)
        elif is_gated(spec, model, test):
            yield from _bound(path, test, sides, sizes)
            count = checkpoints * largest(layers_of(spec, test))
            yield from _provable(spec, index, sides, count, strict=strict)


def _provable(
    spec: BiasSpec, index: int, sides: list[_Side], count: int, *, strict: bool
) -> Iterator[Finding]:
    test = spec.tests[index]
    plan = plan_of(spec, test)
    if plan.evidence not in BY_P or not (
        test.limits.on_effect or test.limits.on_growth or test.limits.on_excess
    ):
        return
    unreachable = list(_reachable(("tests", index), plan, sides))
    yield from unreachable
    if not unreachable and spec.settings.correction != "none":
        yield from _hidden(index, test, plan, sides, count, strict=strict)


def _bound(
    path: Path, test: BiasTest, sides: list[_Side], sizes: Mapping[str, int]
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


def _reachable(path: Path, plan: Plan, sides: list[_Side]) -> Iterator[Finding]:
    for side in sides:
        first, second = side.sizes
        least = smallest_p(first, second, plan.alternative)
        if least > plan.alpha:
            message = (
                f"{first} against {second} {side.noun} cannot give a {plan.alternative} p under "
                f"1/{1 / least:.0f}, above alpha {plan.alpha:g}; add {side.noun} or raise alpha"
            )
            yield Finding(path=(*path, side.part), message=message, is_fault=True)


def _hidden(
    index: int, test: BiasTest, plan: Plan, sides: list[_Side], count: int, *, strict: bool
) -> Iterator[Finding]:
    what = "|d|" if test.prediction is None else "|gap|"
    for side in sides:
        first, second = side.sizes
        least = smallest_p(first, second, plan.alternative)
        if least > plan.alpha / count:
            visible = _seen(test, side, plan.alpha, plan)
            message = (
                f"among {count} corrected tests this one cannot fail alone: {first} against "
                f"{second} {side.noun} reach p = {least:.2g}, not {plan.alpha / count:.2g} "
                f"(uncorrected they see {what} from {visible or 0:.2f}); add {side.noun} or split "
                "the spec"
            )
            yield Finding(path=("tests", index, side.part), message=message, is_fault=strict)
