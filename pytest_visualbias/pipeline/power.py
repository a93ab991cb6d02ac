"""Gates that could never fail, found from sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.spec.roles import growth_base, is_gated
from pytest_visualbias.spec.sets import Finding, concepts_of
from pytest_visualbias.statistics import largest_effect, smallest_detectable_effect, smallest_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import Alternative, BiasSpec, BiasTest, Evidence, Sides
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["Plan", "declared_family", "plan_of", "power_findings", "smallest_visible"]

Sizes = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How one test is tested: its own settings, else those of the spec.

    Attributes
    ----------
    alternative, sides, evidence : str
        In force.
    alpha : float
        Of the spec.
    """

    alternative: Alternative
    sides: Sides
    evidence: Evidence
    alpha: float


def plan_of(spec: BiasSpec, test: BiasTest) -> Plan:
    """Return the settings in force for a test; a control looks for its effect one-sided."""
    settings = spec.settings
    default: Alternative = "greater" if test.control else settings.alternative
    return Plan(
        alternative=test.alternative or default,
        sides="targets" if test.control else test.sides or settings.sides,
        evidence=test.evidence or settings.evidence,
        alpha=settings.alpha,
    )


def declared_family(spec: BiasSpec, model: str) -> list[tuple[str, str]]:
    """Return the members of a model's family: every (test, "effect" or "growth") a limit uses.

    It is what the spec declares, whatever is selected or fails to run.
    """
    family = []
    for test in spec.tests:
        if test.control:
            continue
        if test.limits.on_effect:
            family.append((test.name, "effect"))
        if test.limits.on_growth and model != growth_base(spec, test):
            family.append((test.name, "growth"))
    return family


def smallest_visible(
    spec: BiasSpec, model: str, test: BiasTest, sizes: tuple[Sizes, Sizes]
) -> tuple[float | None, float | None]:
    """Return, for each side, the smallest |d| that its family lets be significant, if any.

    A side that is not judged has none.
    """
    plan = plan_of(spec, test)
    count = len(declared_family(spec, model)) if spec.settings.correction != "none" else 1
    alpha = plan.alpha if test.control else plan.alpha / max(count, 1)
    targets, attributes = (
        smallest_detectable_effect(*pair, alpha, plan.alternative) for pair in sizes
    )
    return targets, attributes if plan.sides == "both" else None


def power_findings(
    spec: BiasSpec, model: str, sets: Mapping[str, StimulusSet], *, strict: bool
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
    """
    for index, test in enumerate(spec.tests):
        roles = concepts_of(test)
        if not all(sets.get(concept) for concept in roles.values()):
            continue
        n = {role: len(sets[concept]) for role, concept in roles.items()}
        sizes = ((n["X"], n["Y"]), (n["A"], n["B"]))
        path: Path = ("tests", index)
        if test.control:
            yield from _bound(path, test, plan_of(spec, test), sizes)
            yield from _reachable(path, plan_of(spec, test), sizes)
        elif is_gated(spec, model, test):
            yield from _gated(spec, model, index, sizes, strict=strict)


def _gated(
    spec: BiasSpec, model: str, index: int, sizes: tuple[Sizes, Sizes], *, strict: bool
) -> Iterator[Finding]:
    test = spec.tests[index]
    path: Path = ("tests", index)
    plan = plan_of(spec, test)
    yield from _bound(path, test, plan, sizes)
    if plan.evidence != "significant" or not (test.limits.on_effect or test.limits.on_growth):
        return
    unreachable = list(_reachable(path, plan, sizes))
    yield from unreachable
    if not unreachable:
        yield from _hidden(spec, model, index, sizes, strict=strict)


def _bound(path: Path, test: BiasTest, plan: Plan, sizes: tuple[Sizes, Sizes]) -> Iterator[Finding]:
    chosen = sizes if plan.sides == "both" else sizes[:1]
    bound = min(largest_effect(*pair) for pair in chosen)
    # An effect goes from -bound to bound, so its absolute value grows by no more than the bound.
    reach = {"max_effect": bound, "max_growth": bound, "max_shift": 2 * bound, "min_effect": bound}
    for name, most in reach.items():
        limit = getattr(test.limits, name)
        if limit is not None and limit >= most:
            message = f"with sets of these sizes it cannot be over {most:.2f}; lower the limit"
            yield Finding(path=(*path, "limits", name), message=message, is_fault=True)


def _reachable(path: Path, plan: Plan, sizes: tuple[Sizes, Sizes]) -> Iterator[Finding]:
    chosen = sizes if plan.sides == "both" else sizes[:1]
    for part, (first, second) in zip(("targets", "attributes"), chosen, strict=False):
        least = smallest_p(first, second, plan.alternative)
        if least > plan.alpha:
            message = (
                f"{first} against {second} images cannot give a {plan.alternative} p under "
                f"1/{1 / least:.0f}, above alpha {plan.alpha:g}; add images or raise alpha"
            )
            yield Finding(path=(*path, part), message=message, is_fault=True)


def _hidden(
    spec: BiasSpec, model: str, index: int, sizes: tuple[Sizes, Sizes], *, strict: bool
) -> Iterator[Finding]:
    plan = plan_of(spec, spec.tests[index])
    count = len(declared_family(spec, model))
    if spec.settings.correction == "none":
        return
    for part, (first, second) in zip(("targets", "attributes"), sizes, strict=True):
        if part == "attributes" and plan.sides == "targets":
            continue
        least = smallest_p(first, second, plan.alternative)
        if least > plan.alpha / count:
            visible = smallest_detectable_effect(first, second, plan.alpha, plan.alternative)
            message = (
                f"among {count} corrected tests this one cannot fail alone: {first} against "
                f"{second} images reach p = {least:.2g}, not {plan.alpha / count:.2g} "
                f"(uncorrected they see |d| from {visible or 0:.2f}); add images or split the spec"
            )
            yield Finding(path=("tests", index, part), message=message, is_fault=strict)
