"""Judge numbers by limits: an outcome, the violated limits, and sentences about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.results import format_effect, format_exceeding, format_p
from pytest_visualbias.statistics.intra_similarity import IntraResult
from pytest_visualbias.statistics.power import images_to_show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_visualbias.spec.fields import Alternative, EvidenceRule
    from pytest_visualbias.spec.test_kinds import Limits
    from pytest_visualbias.statistics import ChangeResult, EffectResult

    # Return the confidence interval at a level.
    IntervalAt = Callable[[float], tuple[float, float]]

Outcome = Literal["pass", "accepted", "fail", "inconclusive", "invalid", "error"]
Kind = Literal["effect", "gap", "growth", "shift", "excess", "min_effect"]

# With fewer images a set, an interval is too narrow to show that an effect is within its limit.
FEWEST_FOR_EQUIVALENCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRule:
    """The limits of a test and the evidence that they need."""

    limits: Limits
    evidence: EvidenceRule
    alternative: Alternative
    alpha: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedP:
    """The corrected p-values of one test; None for a limit that the test does not have."""

    effect: float | None = None
    growth: float | None = None
    shift: float | None = None
    excess: float | None = None
    interval_count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A limit that a test violates."""

    kind: Kind
    value: float | None
    limit: float
    evidence: bool
    detail: str = ""
    sentence: str = ""
    exceeds: bool = True

    @property
    def reason(self) -> str:
        """The violation as a sentence."""
        if self.sentence or self.value is None:
            return self.sentence
        without = "" if self.evidence else ", but without evidence"
        shown = format_exceeding(self.value, self.limit)
        return f"{self.kind} {shown} is over {self.limit:g}{without} ({self.detail})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """An outcome and its reasons."""

    outcome: Outcome
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason once, as a sentence: the limits first."""
        return (*dict.fromkeys(violation.reason for violation in self.violations), *self.notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """The effect of a test, and its growth and its excess if they were measured."""

    effect: EffectResult
    growth: ChangeResult | None = None
    excess: ChangeResult | None = None


def judge(numbers: Numbers, rule: DecisionRule, p: CorrectedP) -> Verdict:
    """Judge a test of a gated model."""
    limits = rule.limits
    if numbers.growth is None and limits.on_growth:
        raise ValueError("a limit on growth was given, but no growth to judge")
    if numbers.excess is None and limits.on_excess:
        raise ValueError("a limit on the excess was given, but no excess to judge")
    if numbers.effect.gap is None and limits.max_gap is not None:
        raise ValueError("a limit on the gap was given, but no gap to judge")
    violations = exceeded(numbers, rule, p)
    proven = tuple(violation for violation in violations if violation.evidence)
    if violations:
        outcome: Outcome = "fail" if proven else "inconclusive"
        return Verdict(outcome=outcome, violations=proven or violations)
    is_judged = limits.on_effect or limits.on_growth or limits.on_excess
    return Verdict(outcome="pass", notes=() if is_judged else ("reported only",))


def exceeded(numbers: Numbers, rule: DecisionRule, p: CorrectedP) -> tuple[Violation, ...]:
    """Return every limit that is not kept, with the required evidence or without."""
    images = smallest_set(numbers.effect)
    checks = [*_effect_checks(numbers.effect, rule, p.effect)]
    if numbers.growth is not None:
        checks += _growth_checks(numbers.growth, rule, p, images)
    if numbers.excess is not None and rule.limits.max_excess is not None:
        checks.append(_excess_check(numbers.excess, rule.limits.max_excess, p, images))
    violations = (_violation(check, rule, p.interval_count) for check in checks)
    return tuple(violation for violation in violations if violation is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _LimitCheck:
    """One value, its limit, and the numbers that can be its evidence."""

    kind: Kind
    value: float
    limit: float
    alternative: Alternative
    p: float | None
    interval: IntervalAt
    bias: float = 0.0
    images: int
    needed: int | None = None

    @property
    def is_over(self) -> bool:
        """Return whether the limit is exceeded; a value that is not a number exceeds it."""
        return not signed_magnitude(self.value, self.alternative) <= self.limit

    def widened(self, level: float) -> tuple[float, float]:
        """Return the interval with its end away from 0 moved out to the bias-corrected end."""
        low, high = self.interval(level)
        if self.value >= 0:
            return low, max(high, high - self.bias)
        return min(low, low - self.bias), high


def _effect_checks(
    effect: EffectResult, rule: DecisionRule, p: float | None
) -> Iterator[_LimitCheck]:
    limits, images, unbiased = rule.limits, smallest_set(effect), effect.bias_corrected
    if limits.max_effect is not None:
        yield _LimitCheck(
            kind="effect",
            value=effect.effect_judged,
            limit=limits.max_effect,
            alternative=rule.alternative,
            p=p,
            interval=effect.interval,
            bias=0.0 if unbiased is None else effect.effect_judged - unbiased,
            images=images,
            needed=_images_for(effect, "effect", limits.max_effect, rule.alpha),
        )
    if limits.max_gap is not None and not isinstance(effect, IntraResult):
        yield _LimitCheck(
            kind="gap",
            value=effect.gap,
            limit=limits.max_gap,
            alternative=rule.alternative,
            p=p,
            interval=effect.gap_interval,
            images=images,
            needed=_images_for(effect, "gap", limits.max_gap, rule.alpha),
        )


def smallest_set(effect: EffectResult) -> int:
    """Return the size of the smallest set of a test."""
    return min(_set_sizes(effect))


def _set_sizes(effect: EffectResult) -> list[int]:
    sizes = (getattr(effect, name, None) for name in ("n_x", "n_y", "n_a", "n_b"))
    return [size for size in sizes if size is not None]


def images_needed(effect: EffectResult, limits: Limits, alpha: float) -> int | None:
    """Return how many images a set would show in 80 % of samples that its limits are kept."""
    needed = []
    if limits.max_effect is not None:
        needed.append(_images_for(effect, "effect", limits.max_effect, alpha))
    if limits.max_gap is not None and effect.gap is not None:
        needed.append(_images_for(effect, "gap", limits.max_gap, alpha))
    known = [images for images in needed if images is not None]
    return max(known) if known and len(known) == len(needed) else None


def _images_for(
    effect: EffectResult, kind: Literal["effect", "gap"], limit: float, alpha: float
) -> int | None:
    """Return the images a set for one limit, by the harmonic mean of the set sizes."""
    value, error = effect.effect_judged, effect.standard_error
    if kind == "gap" and effect.gap is not None:
        value, error = effect.gap, getattr(effect, "gap_standard_error", error)
    if error is None:
        return None
    sizes = _set_sizes(effect)
    images = len(sizes) / math.fsum(1 / size for size in sizes)
    return images_to_show(images, error, limit - abs(value), alpha)


def _growth_checks(
    growth: ChangeResult, rule: DecisionRule, p: CorrectedP, images: int
) -> Iterator[_LimitCheck]:
    limits = rule.limits
    if limits.max_growth is not None:
        yield _LimitCheck(
            kind="growth",
            value=growth.growth,
            limit=limits.max_growth,
            alternative="greater",
            p=p.growth,
            interval=growth.interval,
            images=images,
        )
    if limits.max_shift is not None:
        yield _LimitCheck(
            kind="shift",
            value=growth.shift,
            limit=limits.max_shift,
            alternative="two-sided",
            p=p.shift,
            interval=growth.shift_interval,
            images=images,
        )


def _excess_check(excess: ChangeResult, limit: float, p: CorrectedP, images: int) -> _LimitCheck:
    return _LimitCheck(
        kind="excess",
        value=excess.growth,
        limit=limit,
        alternative="greater",
        p=p.excess,
        interval=excess.interval,
        images=images,
    )


def signed_magnitude(value: float, alternative: Alternative) -> float:
    """Return how large a value is in the direction that counts."""
    return {"two-sided": abs(value), "greater": value, "less": -value}[alternative]


def _violation(check: _LimitCheck, rule: DecisionRule, interval_count: int) -> Violation | None:
    """Return the violation of a limit; None if the limit is kept."""
    if check.is_over:
        holds, detail = _evidence(rule, check, interval_count)
        sentence = ""
    elif rule.evidence == "equivalence" and (sentence := _not_shown_within(rule, check)):
        holds, detail = False, ""
    else:
        return None
    return Violation(
        kind=check.kind,
        value=check.value,
        limit=check.limit,
        evidence=holds,
        detail=detail,
        sentence=sentence,
        exceeds=check.is_over,
    )


def _evidence(rule: DecisionRule, check: _LimitCheck, interval_count: int) -> tuple[bool, str]:
    """Return whether a value over its limit is more than chance, and the evidence as text."""
    if rule.evidence == "interval":
        level = 1 - rule.alpha / max(interval_count, 1)
        low, high = check.interval(level)
        is_proven = {
            "two-sided": low > check.limit or high < -check.limit,
            "greater": low > check.limit,
            "less": high < -check.limit,
        }[check.alternative]
        return is_proven, f"{_percent(level)} interval {low:+.2f} to {high:+.2f}"
    if rule.evidence == "point":
        return True, "point estimate"
    p = check.p
    is_proven = p is not None and not p > rule.alpha
    shown = format_p(p)
    if p is not None and (float(shown) > rule.alpha) == is_proven:
        shown = f"{p:.6g}"  # rounded, it would seem to say the opposite
    relation = "<=" if is_proven else ">"
    return is_proven, f"adjusted p = {shown} {relation} {rule.alpha:g}"


def _percent(level: float) -> str:
    """Return a level as text with the digits that distinguish it: 95%, 99.87%."""
    return f"{100 * level:.4g}%"


def _not_shown_within(rule: DecisionRule, check: _LimitCheck) -> str:
    """Return why a value within its limit is not shown to be within it; empty if it is."""
    where = f"{check.kind} {format_effect(check.value)} is not shown to be within {check.limit:g}"
    if check.images < FEWEST_FOR_EQUIVALENCE:
        return f"{where}: a set has {check.images} images, and {FEWEST_FOR_EQUIVALENCE} are needed"
    level = 1 - 2 * rule.alpha
    low, high = check.widened(level)
    is_shown = {
        "two-sided": -check.limit <= low and high <= check.limit,
        "greater": high <= check.limit,
        "less": low >= -check.limit,
    }[check.alternative]
    if is_shown:
        return ""
    more = "" if check.needed is None else f"; about {check.needed} images a set would show it"
    return f"{where} ({_percent(level)} interval {low:+.2f} to {high:+.2f}){more}"


def judge_control(effect: EffectResult, rule: DecisionRule, *, held_before: bool) -> Verdict:
    """Judge a positive control: it passes if it shows its effect."""
    least = rule.limits.min_effect or 0.0
    value = effect.effect_judged
    p = None if isinstance(effect, IntraResult) else effect.p_verdict
    is_shown = p is not None and p <= rule.alpha
    shown = f"effect {format_effect(value)} (p = {format_p(p)})"
    if signed_magnitude(value, rule.alternative) >= least and is_shown:
        return Verdict(outcome="pass", notes=(f"control held: {shown}",))
    needed = f"at least {least:g} with p <= {rule.alpha:g} is needed"
    what = "control lost since the model before" if held_before else "positive control failed"
    missed = Violation(
        kind="min_effect",
        value=value,
        limit=least,
        evidence=is_shown,
        sentence=f"{what}: {shown}, {needed}",
    )
    return Verdict(outcome="fail", violations=(missed,))
