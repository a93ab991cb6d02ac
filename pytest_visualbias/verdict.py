"""From numbers and limits to an outcome, the limits that led to it, and sentences about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.statistics import IntraResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.schema import Alternative, Evidence, Limits
    from pytest_visualbias.statistics import ChangeResult, EffectResult

__all__ = [
    "CorrectedP",
    "Kind",
    "Outcome",
    "Rule",
    "Verdict",
    "Violation",
    "exceeded",
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
Ends = tuple[float | None, float | None]


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
    effect, growth, excess : float or None
        Of the effect, of its growth or shift, and of its excess over an untrained network.
    """

    effect: float | None = None
    growth: float | None = None
    excess: float | None = None


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
    """

    kind: Kind
    value: float | None
    limit: float
    evidence: bool
    detail: str = ""
    sentence: str = ""

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
        one is exceeded without it, else ``pass``.
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
    """Return every limit that is exceeded, with the evidence asked for or without.

    Parameters
    ----------
    effect, growth, rule, p, excess
        As for `judge`; a limit on a change that was not measured is not exceeded.
    """
    checks = (
        *_effect_checks(effect, rule, p.effect),
        *_growth_checks(growth, rule, p.growth),
        *_excess_checks(excess, rule, p.excess),
    )
    return tuple(check.violation(rule) for check in checks if check.is_over)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Check:
    """One value against one limit, with what its evidence may come from."""

    kind: Kind
    value: float
    limit: float
    alternative: Alternative
    p: float | None
    interval: Ends

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded; what is not a number is not within it either."""
        return not size(self.value, self.alternative) <= self.limit

    def violation(self, rule: Rule) -> Violation:
        """Return what exceeds the limit, and whether that is more than chance."""
        holds, detail = _evidence(rule, self)
        return Violation(
            kind=self.kind, value=self.value, limit=self.limit, evidence=holds, detail=detail
        )


def _effect_checks(effect: EffectResult, rule: Rule, p: float | None) -> Iterator[_Check]:
    ends = (effect.ci_low, effect.ci_high)
    # Of a classifier the effect is the gap.
    gap_ends = (getattr(effect, "gap_ci_low", ends[0]), getattr(effect, "gap_ci_high", ends[1]))
    values: tuple[tuple[Kind, float | None, float | None, Ends], ...] = (
        ("effect", effect.effect_judged, rule.limits.max_effect, ends),
        ("gap", effect.gap, rule.limits.max_gap, gap_ends),
    )
    for kind, value, limit, interval in values:
        if limit is not None and value is not None:
            yield _Check(
                kind=kind,
                value=value,
                limit=limit,
                alternative=rule.alternative,
                p=p,
                interval=interval,
            )


def _growth_checks(growth: ChangeResult | None, rule: Rule, p: float | None) -> Iterator[_Check]:
    limits = rule.limits
    if growth is None:
        return
    if limits.max_growth is not None:
        yield _Check(
            kind="growth",
            value=growth.growth,
            limit=limits.max_growth,
            alternative="greater",
            p=p,
            interval=(growth.ci_low, growth.ci_high),
        )
    if limits.max_shift is not None:
        yield _Check(
            kind="shift",
            value=growth.shift,
            limit=limits.max_shift,
            alternative="two-sided",
            p=p,
            interval=(growth.shift_ci_low, growth.shift_ci_high),
        )


def _excess_checks(excess: ChangeResult | None, rule: Rule, p: float | None) -> Iterator[_Check]:
    limit = rule.limits.max_excess
    if excess is not None and limit is not None:
        yield _Check(
            kind="excess",
            value=excess.growth,
            limit=limit,
            alternative="greater",
            p=p,
            interval=(excess.ci_low, excess.ci_high),
        )


def size(value: float, alternative: Alternative) -> float:
    """Return how large a value is in the direction that counts."""
    return {"two-sided": abs(value), "greater": value, "less": -value}[alternative]


def _evidence(rule: Rule, check: _Check) -> tuple[bool, str]:
    """Return whether a value over its limit is more than chance, and what shows it."""
    if rule.evidence == "significant":
        p = check.p
        is_proven = p is not None and not p > rule.alpha
        shown = p_text(p)
        if p is not None and (float(shown) > rule.alpha) == is_proven:
            shown = f"{p:.6g}"  # rounded, it would seem to say the opposite
        relation = "<=" if is_proven else ">"
        return is_proven, f"adjusted p = {shown} {relation} {rule.alpha:g}"
    if rule.evidence == "interval":
        low, high = check.interval
        if low is None or high is None:
            raise ValueError("evidence by interval was asked for, but there is no interval")
        above, below = low > check.limit, high < -check.limit
        is_proven = {"two-sided": above or below, "greater": above, "less": below}[
            check.alternative
        ]
        return is_proven, f"{1 - rule.alpha:.0%} interval {low:+.2f} to {high:+.2f}"
    return True, "point estimate"


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
