"""From numbers and limits to an outcome, the limits that led to it, and sentences about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.statistics import IntraResult, images_to_show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_visualbias.spec.schema import Alternative, Evidence, Limits
    from pytest_visualbias.statistics import ChangeResult, EffectResult

    # Gives a confidence interval at a level.
    Intervals = Callable[[float], tuple[float, float]]

__all__ = [
    "CorrectedP",
    "Kind",
    "Outcome",
    "Rule",
    "Verdict",
    "Violation",
    "exceeded",
    "images_needed",
    "judge",
    "judge_control",
    "number",
    "over",
    "p_text",
    "rounded_up",
    "size",
]

Outcome = Literal["pass", "accepted", "fail", "inconclusive", "invalid", "error"]
Kind = Literal["effect", "gap", "growth", "shift", "excess", "min_effect"]
# With fewer images a set, an interval is too narrow to show that an effect is within its limit.
FEWEST_FOR_EQUIVALENCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What a test is judged by.

    Attributes
    ----------
    limits : Limits
        Of the test.
    evidence : str
        What being over a limit needs besides.
    alternative : str
        Which way an effect counts.
    alpha : float
        Level of the corrected p.
    """

    limits: Limits
    evidence: Evidence
    alternative: Alternative
    alpha: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedP:
    """The verdict's p-values of one test, corrected over the family; None where no limit uses it.

    Attributes
    ----------
    effect, growth, shift, excess : float or None
        Of the effect, of its growth, of its shift, and of its excess over an untrained network.
    intervals : int
        How many limits of the family are judged by their interval.
    """

    effect: float | None = None
    growth: float | None = None
    shift: float | None = None
    excess: float | None = None
    intervals: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A limit that a test does not keep.

    Attributes
    ----------
    kind : str
        The limit's key without its prefix ``max_``; ``min_effect`` for a positive control.
    value : float or None
        What was measured; None if it could not be compared.
    limit : float
        The limit.
    evidence : bool
        Whether the value exceeds the limit with the evidence that the test asks for.
    detail : str
        That evidence in words.
    sentence : str
        The whole sentence, if it is not the usual one.
    exceeds : bool
        Whether the value exceeds the limit; if not, it is only not shown to be within.
    """

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
        shown = over(self.value, self.limit)
        return f"{self.kind} {shown} is over {self.limit:g}{without} ({self.detail})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """An outcome, and why.

    Attributes
    ----------
    outcome : str
        What became of the test.
    violations : tuple of Violation
        The limits that led to it.
    notes : tuple of str
        What else there is to say, in sentences.
    """

    outcome: Outcome
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason once, as a sentence: the limits first."""
        return (*dict.fromkeys(one.reason for one in self.violations), *self.notes)


def judge(
    effect: EffectResult,
    growth: ChangeResult | None,
    rule: Rule,
    p: CorrectedP,
    *,
    excess: ChangeResult | None = None,
) -> Verdict:
    """Judge a test of a gated model.

    Parameters
    ----------
    effect : EffectResult
        Of the test.
    growth : ChangeResult or None
        Since the model that growth is measured from; needed where a limit is on growth.
    rule : Rule
        What to judge by.
    p : CorrectedP
        The corrected p-values.
    excess : ChangeResult or None
        Since an untrained network; needed where a limit is on it.

    Returns
    -------
    Verdict
        ``fail`` where a limit is exceeded with the evidence asked for, else ``inconclusive`` where
        one is exceeded without it or, with ``equivalence``, not shown to be kept; else ``pass``.
    """
    if growth is None and rule.limits.on_growth:
        raise ValueError("a limit on growth was given, but no growth to judge")
    if excess is None and rule.limits.on_excess:
        raise ValueError("a limit on the excess was given, but no excess to judge")
    if effect.gap is None and rule.limits.max_gap is not None:
        raise ValueError("a limit on the gap was given, but no gap to judge")
    violations = exceeded(effect, growth, rule, p, excess=excess)
    proven = tuple(one for one in violations if one.evidence)
    if violations:
        outcome: Outcome = "fail" if proven else "inconclusive"
        return Verdict(outcome=outcome, violations=proven or violations)
    is_judged = rule.limits.on_effect or rule.limits.on_growth or rule.limits.on_excess
    return Verdict(outcome="pass", notes=() if is_judged else ("reported only",))


def exceeded(
    effect: EffectResult,
    growth: ChangeResult | None,
    rule: Rule,
    p: CorrectedP,
    *,
    excess: ChangeResult | None = None,
) -> tuple[Violation, ...]:
    """Return every limit that is not kept, with the evidence asked for or without.

    Parameters
    ----------
    effect, growth, rule, p, excess
        As for `judge`; a limit on a change that was not measured is kept.
    """
    images = smallest_set(effect)
    checks = (
        *_effect_checks(effect, rule, p.effect),
        *_growth_checks(growth, rule, p, images),
        *_excess_checks(excess, rule, p, images),
    )
    found = (_violation(check, rule, p.intervals) for check in checks)
    return tuple(one for one in found if one is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Check:
    """One value against one limit, with what its evidence may come from.

    Attributes
    ----------
    kind : str
        Of the limit.
    value, limit : float
        The two numbers.
    alternative : str
        The direction in which the value counts.
    p : float or None
        Corrected.
    interval : callable
        Gives the confidence interval of the value at a level.
    bias : float
        By how much the estimate lies above its expected value.
    images : int
        The size of the smallest set.
    needed : int or None
        How many images a set would show the value to be within the limit.
    """

    kind: Kind
    value: float
    limit: float
    alternative: Alternative
    p: float | None
    interval: Intervals
    bias: float = 0.0
    images: int
    needed: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded; what is not a number is not within it either."""
        return not size(self.value, self.alternative) <= self.limit

    def widened(self, level: float) -> tuple[float, float]:
        """Return the interval, its end away from 0 moved out to the one corrected for bias."""
        low, high = self.interval(level)
        if self.value >= 0:
            return low, max(high, high - self.bias)
        return min(low, low - self.bias), high


def _effect_checks(effect: EffectResult, rule: Rule, p: float | None) -> Iterator[_Check]:
    limits, images = rule.limits, smallest_set(effect)
    if limits.max_effect is not None:
        yield _Check(
            kind="effect",
            value=effect.effect_judged,
            limit=limits.max_effect,
            alternative=rule.alternative,
            p=p,
            interval=effect.interval,
            bias=_bias(effect),
            images=images,
            needed=_needed(effect, "effect", limits.max_effect, rule.alpha),
        )
    if limits.max_gap is not None and not isinstance(effect, IntraResult):
        yield _Check(
            kind="gap",
            value=effect.gap,
            limit=limits.max_gap,
            alternative=rule.alternative,
            p=p,
            interval=effect.gap_interval,
            images=images,
            needed=_needed(effect, "gap", limits.max_gap, rule.alpha),
        )


def _bias(effect: EffectResult) -> float:
    corrected = effect.bias_corrected
    return 0.0 if corrected is None else effect.effect_judged - corrected


def smallest_set(effect: EffectResult) -> int:
    """Return the size of the smallest set of a test."""
    return min(_sizes(effect))


def _sizes(effect: EffectResult) -> list[int]:
    names = ("n_x", "n_y", "n_a", "n_b")
    sizes: list[int | None] = [getattr(effect, name, None) for name in names]
    return [n for n in sizes if n is not None]


def images_needed(effect: EffectResult, limits: Limits, alpha: float) -> int | None:
    """Return how many images a set would show in 80 % of samples that its limits are kept.

    None without a limit on the effect or the gap, or if one of them is exceeded.
    """
    asked: tuple[tuple[Literal["effect", "gap"], float | None], ...] = (
        ("effect", limits.max_effect),
        ("gap", limits.max_gap if effect.gap is not None else None),
    )
    found = [_needed(effect, kind, limit, alpha) for kind, limit in asked if limit is not None]
    known = [needed for needed in found if needed is not None]
    return max(known) if known and len(known) == len(found) else None


def _needed(
    effect: EffectResult, kind: Literal["effect", "gap"], limit: float, alpha: float
) -> int | None:
    """Return the images a set for one limit; sets of different sizes count by harmonic mean."""
    value, error = effect.effect_judged, effect.standard_error
    if kind == "gap" and effect.gap is not None:
        value, error = effect.gap, getattr(effect, "gap_standard_error", error)
    if error is None:
        return None
    sizes = _sizes(effect)
    images = len(sizes) / math.fsum(1 / n for n in sizes)
    return images_to_show(images, error, limit - abs(value), alpha)


def _growth_checks(
    growth: ChangeResult | None, rule: Rule, p: CorrectedP, images: int
) -> Iterator[_Check]:
    limits = rule.limits
    if growth is None:
        return
    if limits.max_growth is not None:
        yield _Check(
            kind="growth",
            value=growth.growth,
            limit=limits.max_growth,
            alternative="greater",
            p=p.growth,
            interval=growth.interval,
            images=images,
        )
    if limits.max_shift is not None:
        yield _Check(
            kind="shift",
            value=growth.shift,
            limit=limits.max_shift,
            alternative="two-sided",
            p=p.shift,
            interval=growth.shift_interval,
            images=images,
        )


def _excess_checks(
    excess: ChangeResult | None, rule: Rule, p: CorrectedP, images: int
) -> Iterator[_Check]:
    limit = rule.limits.max_excess
    if excess is not None and limit is not None:
        yield _Check(
            kind="excess",
            value=excess.growth,
            limit=limit,
            alternative="greater",
            p=p.excess,
            interval=excess.interval,
            images=images,
        )


def size(value: float, alternative: Alternative) -> float:
    """Return how large a value is in the direction that counts."""
    return {"two-sided": abs(value), "greater": value, "less": -value}[alternative]


def _violation(check: _Check, rule: Rule, intervals: int) -> Violation | None:
    """Return how a value does not keep its limit; None if it does."""
    if check.is_over:
        holds, detail = _evidence(rule, check, intervals)
        sentence = ""
    elif rule.evidence == "equivalence" and (sentence := _unshown(rule, check)):
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


def _evidence(rule: Rule, check: _Check, intervals: int) -> tuple[bool, str]:
    """Return whether a value over its limit is more than chance, and what shows it."""
    if rule.evidence == "interval":
        level = 1 - rule.alpha / max(intervals, 1)
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
    shown = p_text(p)
    if p is not None and (float(shown) > rule.alpha) == is_proven:
        shown = f"{p:.6g}"  # rounded, it would seem to say the opposite
    relation = "<=" if is_proven else ">"
    return is_proven, f"adjusted p = {shown} {relation} {rule.alpha:g}"


def _percent(level: float) -> str:
    """Return a level with as many digits as tell it from the next usual one: 95%, 99.87%."""
    return f"{100 * level:.4g}%"


def _unshown(rule: Rule, check: _Check) -> str:
    """Say why a value within its limit is not shown to be; empty if it is."""
    where = f"{check.kind} {number(check.value)} is not shown to be within {check.limit:g}"
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


def judge_control(effect: EffectResult, rule: Rule, *, held_before: bool) -> Verdict:
    """Judge a positive control: it passes where it shows its effect.

    Parameters
    ----------
    effect : EffectResult
        Computed with the control's alternative. Its judged effect counts, and the largest of all
        its p-values, uncorrected; without a p nothing is shown.
    rule : Rule
        With ``limits.min_effect``.
    held_before : bool
        Whether the model that growth is measured from showed the effect.
    """
    least = rule.limits.min_effect or 0.0
    value = effect.effect_judged
    p = None if isinstance(effect, IntraResult) else effect.p_verdict
    is_shown = p is not None and p <= rule.alpha
    shown = f"effect {number(value)} (p = {p_text(p)})"
    if size(value, rule.alternative) >= least and is_shown:
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


def number(value: float) -> str:
    """Return an effect as people read it: signed, with two digits, never a negative zero."""
    return f"{round(value, 2) + 0.0:+.2f}"


def over(value: float, limit: float) -> str:
    """Return an effect that is over a limit, with as many digits as show that it is."""
    shown = number(value)
    return shown if abs(float(shown)) > limit else f"{value:+.6g}"


def rounded_up(value: float) -> float:
    """Return the least number of three significant digits that is no less than a positive one."""
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return math.ceil(value * scale) / scale


def p_text(p: float | None) -> str:
    """Return a p as people read it: two significant digits, and small ones as a power."""
    if p is None:
        return "-"
    if p >= 0.0095:  # noqa: PLR2004 - where two significant digits need no power of ten
        return f"{p:.2g}" if p < 0.995 else f"{p:.3g}"  # noqa: PLR2004 - 0.998 is not 1
    return f"{p:.1e}" if p < 0.001 else f"{p:.4f}".rstrip("0")  # noqa: PLR2004
