"""Propose limits for a test from its measurements, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.effective_settings import effective_settings
from pytest_visualbias.statistics.intervals import largest_effect, t_margin
from pytest_visualbias.statistics.power import (
    detectable_effect,
    images_for_limit,
    smallest_detectable_effect,
    smallest_p,
    smallest_visible_gap,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.cli.limit_measurements import Basis, SuggestionBasis
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

STEP = 0.05
FINE = 0.01

# Almost nothing could exceed a limit nearer to the bound than this.
ROOM = 0.95
MOST_IMAGES = 1000
DIGITS = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposedLimit:
    """A limit and the reason for it."""

    value: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Proposed limits of a test at one layer."""

    limits: Mapping[str, ProposedLimit] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    detectable: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Smallest:
    """The smallest significant effect and growth."""

    effect: float
    growth: float


def propose(basis: Basis, *, can_grow: bool) -> Proposal:
    """Propose limits for a test that compares sets."""
    if basis.problem:
        return Proposal(refusals=(basis.problem,))
    visible = _visible(basis)
    if visible is None:
        return Proposal(refusals=(hidden_reason(basis),))
    bound = min(largest_effect(*side) for side in basis.sides)
    proposed = {"max_effect": _effect_limit(basis, visible, bound)}
    if can_grow:
        proposed["max_growth"] = _growth_limit(basis, visible, bound)
    return _proposal(basis, proposed, STEP)


def _proposal(basis: Basis, proposed: Mapping[str, ProposedLimit | str], step: float) -> Proposal:
    """Return limits and the reasons for those that are not proposed; a shift for each growth."""
    limits = {key: limit for key, limit in proposed.items() if isinstance(limit, ProposedLimit)}
    refusals = [f"no {key}: {why}" for key, why in proposed.items() if isinstance(why, str)]
    if "max_growth" in limits:
        limits["max_shift"] = shift_limit(basis, limits["max_growth"], step)
    return Proposal(limits=limits, refusals=tuple(refusals), detectable=detectable(basis))


def shift_limit(basis: Basis, growth: ProposedLimit, step: float) -> ProposedLimit:
    """Return a limit on shift that a vanishing effect keeps and a reversed one exceeds."""
    value = rounded_up(abs(basis.effect) + growth.value, step)
    reason = (
        f"the effect of '{basis.model}' is {format_effect(basis.effect)}: it may vanish, and "
        "beyond that grow as much the other way"
    )
    return ProposedLimit(value=value, reason=reason)


def _visible(basis: Basis) -> Smallest | None:
    """Return the smallest significant effect and growth; None if there is none."""
    smallest = [
        smallest_detectable_effect(*side, basis.level, basis.alternative) for side in basis.sides
    ]
    changes = [smallest_detectable_effect(*side, basis.level, "greater") for side in basis.sides]
    spreads = basis.spreads or (1.0,) * len(basis.sides)
    apart = [
        to_within_sd(d, *side) * spread
        for d, side, spread in zip(changes, basis.sides, spreads, strict=True)
        if d is not None
    ]
    known = [d for d in smallest if d is not None]
    if len(known) < len(basis.sides) or len(apart) < len(basis.sides):
        return None
    tails = 2 if basis.alternative == "two-sided" else 1
    margin = t_margin(basis.freedom, 1 - min(2 * basis.level / tails, 1)) * basis.error
    # Published evidence permutes only target labels.
    effect = max(*known, margin) if len(known) > 1 else known[0]
    return Smallest(effect=effect, growth=math.hypot(*apart))


def detectable(basis: Basis) -> float | None:
    """Return the smallest true effect found in 80 % of samples like the measured one."""
    if not basis.error:
        return None
    return detectable_effect(basis.error, basis.freedom, basis.level, basis.alternative)


def to_within_sd(d: float, n_x: int, n_y: int) -> float:
    """Return an effect size in within-set instead of overall standard deviations."""
    total, per_image = n_x + n_y, 1 / n_x + 1 / n_y
    t = d * math.sqrt((total - 2) / ((total - 1) * per_image - d * d))
    return t * math.sqrt(per_image)


def hidden_reason(basis: Basis) -> str:
    """Return why no effect can be significant, and what would change that."""
    sizes = _sizes(basis)
    enough = next(
        (n for n in range(2, MOST_IMAGES) if smallest_p(n, n, basis.alternative) <= basis.level),
        MOST_IMAGES,
    )
    among = f" once p is corrected over {basis.count}" if basis.count > 1 else ""
    fewer = ", or draw fewer tests into a spec" if basis.count > 1 else ""
    return (
        f"no gate is possible: {sizes} images cannot tell any effect from chance{among}; "
        f"{enough} in a set could{fewer}"
    )


def _effect_limit(basis: Basis, visible: Smallest, bound: float) -> ProposedLimit | str:
    low, high = format_effect(basis.low), format_effect(basis.high)
    reasons = {
        f"the interval of '{basis.model}' is {low} to {high}": basis.largest,
        f"smaller ones need not be told from chance {conditions(basis)}": visible.effect,
    }
    if basis.untrained:
        # Either sign counts, because chance has no direction.
        largest = max(abs(value) for value in basis.untrained)
        seeds = f"{len(basis.untrained)} seeds" if len(basis.untrained) > 1 else "1 seed"
        reasons[f"an untrained network shows up to {largest:.2f} ({seeds})"] = largest
    reason = max(reasons, key=lambda text: reasons[text])
    value = rounded_up(reasons[reason], STEP)
    if value > ROOM * bound:
        return f"{reason}, and no effect can be over {bound:.2f}; gate its growth, or add images"
    return ProposedLimit(value=value, reason=reason)


def _growth_limit(basis: Basis, visible: Smallest, bound: float) -> ProposedLimit | str:
    reason, value = _growth_reason(basis, visible.growth, "scores", STEP)
    room = bound - abs(basis.effect)
    if value >= room:
        return (
            f"from {format_effect(basis.effect)} in '{basis.model}' an effect can grow by "
            f"{room:.2f} at the most, and {reason}"
        )
    return ProposedLimit(value=value, reason=reason)


def _growth_reason(basis: Basis, visible: float, changing: str, step: float) -> tuple[str, float]:
    """Return what a limit of growth has to exceed most, and that limit."""
    change = f"if {changing} before and after correlate by 0.5"
    if basis.spreads:
        change = f"as {changing} change from '{basis.model}' to '{basis.other}'"
    reasons = {f"less need not be told from chance {conditions(basis)}, {change}": visible}
    if basis.trials:
        sizes = [abs(value) for value in basis.trials]
        apart = max(sizes) - min(sizes)
        reasons[f"{len(sizes)} trials of '{basis.model}' differ by {apart:.2f}"] = apart
    reason = max(reasons, key=lambda text: reasons[text])
    return reason, rounded_up(reasons[reason], step)


def conditions(basis: Basis) -> str:
    """Return the set sizes and family size behind a smallest effect."""
    among = f", {basis.count} p" if basis.count > 1 else ""
    return f"({_sizes(basis)} images{among})"


def _sizes(basis: Basis) -> str:
    return " and ".join(dict.fromkeys(f"{first} against {second}" for first, second in basis.sides))


def propose_control(basis: Basis) -> Proposal:
    """Propose the minimum effect of a positive control: half of the sure effect."""
    if basis.problem:
        return Proposal(refusals=(basis.problem,))
    visible = _visible(basis)
    minimum = visible.effect if visible is not None else math.inf
    ends = f"{format_effect(basis.low)} to {format_effect(basis.high)}"
    interval = f"the interval of '{basis.model}' is {ends}"
    if basis.size < minimum or basis.smallest <= 0:
        detection = "none could" if visible is None else f"from {minimum:.2f} on it could"
        refusal = (
            f"no min_effect: '{basis.model}' does not show this control ({interval}; {detection} "
            "be told from chance); take a control that it shows"
        )
        return Proposal(
            refusals=(refusal,), detectable=None if visible is None else detectable(basis)
        )
    value = max(_down(basis.smallest / 2, STEP), STEP)
    limit = ProposedLimit(value=value, reason=f"half of what is sure: {interval}")
    return Proposal(limits={"min_effect": limit}, detectable=detectable(basis))


def propose_similarity(basis: Basis, *, can_grow: bool) -> Proposal:
    """Propose a limit for the similarity within one set, which has no p-value."""
    if basis.problem:
        return Proposal(refusals=(basis.problem,))
    if not can_grow:
        return Proposal(refusals=("no limit: a mean cosine says little without a model before",))
    half = (basis.high - basis.low) / 2
    value = max(rounded_up(math.sqrt(2) * half, FINE), FINE)
    reason = f"the interval of '{basis.model}' is ± {half:.3f}, that of a change √2 as wide"
    return Proposal(limits={"max_shift": ProposedLimit(value=value, reason=reason)})


def rounded_up(value: float, step: float) -> float:
    """Return a value rounded up to a multiple of a step."""
    return round(math.ceil(round(value / step, DIGITS)) * step, DIGITS)


def _down(value: float, step: float) -> float:
    return round(math.floor(round(value / step, DIGITS)) * step, DIGITS)


def propose_gap(basis: Basis, *, can_grow: bool) -> Proposal:
    """Propose limits for a gap between two rates or mean probabilities."""
    if basis.problem:
        return Proposal(refusals=(basis.problem,))
    visible, growing = _visible_gap(basis), _visible_gap_growth(basis)
    if visible is None or growing is None:
        return Proposal(refusals=(hidden_reason(basis),))
    proposed = {"max_gap": _gap_limit(basis, visible)}
    if can_grow:
        proposed["max_growth"] = _gap_growth_limit(basis, growing)
    return _proposal(basis, proposed, FINE)


def _visible_gap(basis: Basis) -> float | None:
    """Return the smallest significant gap at these rates or this spread."""
    ((n_x, n_y),) = basis.sides
    if basis.rates is not None:
        rate = min(*basis.rates, 1 - max(basis.rates))
        return smallest_visible_gap(n_x, n_y, rate, basis.level, basis.alternative)
    d = smallest_detectable_effect(n_x, n_y, basis.level, basis.alternative)
    return None if d is None else to_within_sd(d, n_x, n_y) * basis.within


def _visible_gap_growth(basis: Basis) -> float | None:
    """Return the smallest significant growth of a gap."""
    ((n_x, n_y),) = basis.sides
    # Each relabelling of pairs has a mirror image, so the p-value is two-sided.
    d = smallest_detectable_effect(n_x, n_y, basis.level, "two-sided")
    if d is None:
        return None
    # The difference of scores that correlate by 0.5 has the spread of either.
    (spread,) = basis.spreads or (basis.within,)
    least = to_within_sd(d, n_x, n_y) * spread
    if basis.rates is None:
        return least
    turned = smallest_visible_gap(n_x, n_y, 0.0, basis.level, "two-sided")
    return None if turned is None else max(least, turned)


def _gap_limit(basis: Basis, visible: float) -> ProposedLimit | str:
    low, high = format_effect(basis.low), format_effect(basis.high)
    beside = "" if basis.rates is None else ", beside such rates"
    reasons = {
        f"the interval of '{basis.model}' is {low} to {high}": basis.largest,
        f"smaller ones need not be told from chance {conditions(basis)}{beside}": visible,
    }
    reason = max(reasons, key=lambda text: reasons[text])
    value = rounded_up(reasons[reason], FINE)
    if value > ROOM:
        return f"{reason}, and no gap can be over 1; gate its growth, or add images"
    return ProposedLimit(value=value, reason=reason)


def _gap_growth_limit(basis: Basis, visible: float) -> ProposedLimit | str:
    reason, value = _growth_reason(basis, visible, "predictions", FINE)
    if value >= 1 - abs(basis.effect):
        start = format_effect(basis.effect)
        return f"from {start} in '{basis.model}' a gap has no such room, and {reason}"
    return ProposedLimit(value=value, reason=reason)


UNDEMANDED_CONTROL = (
    "no limit: the suite has it for a positive control; demand it with 'limits: {min_effect: "
    "0.5}', and ask again for a better number"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Suggested limits of one test."""

    test: str
    bases: tuple[Basis, ...]
    detectable: tuple[float | None, ...] = ()
    limits: Mapping[str, ProposedLimit] = field(default_factory=dict)
    evidence: str | None = None
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def suggestions(spec: BiasSpec, measured: SuggestionBasis) -> tuple[Suggestion, ...]:
    """Return a suggestion for each test, in the order of the spec."""
    return tuple(_suggest(spec, test, measured) for test in spec.tests)


def _suggest(spec: BiasSpec, test: BiasTest, measured: SuggestionBasis) -> Suggestion:
    bases = measured.bases[test.name]
    if test.name in measured.controls:
        return Suggestion(test=test.name, bases=bases, refusals=(UNDEMANDED_CONTROL,))
    can_grow = test.name in measured.grows
    proposals = [_propose(test, basis, can_grow=can_grow) for basis in bases]
    limits, refusals = _combined(proposals, bases)
    needs_evidence = bool(limits) and not test.compared and test.evidence is None
    if needs_evidence and spec.settings.evidence == "significant":
        evidence = effective_settings(spec, test).evidence
    else:
        evidence = None
    return Suggestion(
        test=test.name,
        bases=bases,
        detectable=tuple(proposal.detectable for proposal in proposals),
        limits=limits,
        evidence=evidence,
        refusals=refusals,
        notes=tuple(_compared_with_present(spec, test, limits)),
    )


def _compared_with_present(
    spec: BiasSpec, test: BiasTest, limits: Mapping[str, ProposedLimit]
) -> Iterator[str]:
    """Yield what the present limits need, and whether a control would become weaker."""
    least, proposed = test.limits.min_effect, limits.get("min_effect")
    if least is not None and proposed is not None and proposed.value < least:
        yield (
            f"the proposed min_effect is below the present {least:g}: the control becomes weaker"
        )
    limit = test.limits.max_effect
    if limit is not None and len(test.compared) > 1:
        needed = images_for_limit(limit, effective_settings(spec, test).alpha)
        size = f"about {needed} images a set"
        yield f"{size} show an absent effect to be within the present {limit:g}"


def _propose(test: BiasTest, basis: Basis, *, can_grow: bool) -> Proposal:
    if test.prediction is not None:
        return propose_gap(basis, can_grow=can_grow)
    if test.is_positive:
        return propose_control(basis)
    if not test.compared:
        return propose_similarity(basis, can_grow=can_grow)
    return propose(basis, can_grow=can_grow)


def _combined(
    proposals: Sequence[Proposal], bases: Sequence[Basis]
) -> tuple[dict[str, ProposedLimit], tuple[str, ...]]:
    """Return the widest limit of all layers, because one limit holds for all of them."""
    several = len(bases) > 1
    limits: dict[str, ProposedLimit] = {}
    for key in dict.fromkeys(key for proposal in proposals for key in proposal.limits):
        candidates = [
            (proposal.limits[key], basis.layer)
            for proposal, basis in zip(proposals, bases, strict=True)
            if key in proposal.limits
        ]
        if len(candidates) < len(proposals):
            continue
        pick = min if key == "min_effect" else max
        limit, layer = pick(candidates, key=lambda pair: pair[0].value)
        reason = f"{limit.reason}, at {layer}" if several else limit.reason
        limits[key] = ProposedLimit(value=limit.value, reason=reason)
    refusals = [
        f"{text} ({basis.layer})" if several else text
        for proposal, basis in zip(proposals, bases, strict=True)
        for text in proposal.refusals
    ]
    return limits, tuple(dict.fromkeys(refusals))
