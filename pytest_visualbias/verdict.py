"""From numbers and limits to an outcome with its reasons.

Nothing is computed here and nothing is read: a verdict is data, and each reason is a sentence made
where its rule is applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.schema import Alternative, Evidence, Limits
    from pytest_visualbias.statistics import ChangeResult, EffectResult

__all__ = [
    "Exceeded",
    "Outcome",
    "Rule",
    "Verdict",
    "exceeded",
    "judge",
    "judge_control",
    "number",
    "over",
    "p_text",
    "size",
]

Outcome = Literal["pass", "accepted", "fail", "inconclusive", "invalid", "error"]


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
class Verdict:
    """An outcome, and why.

    Attributes
    ----------
    outcome : str
        What became of the test.
    reasons : tuple of str
        Sentences.
    exceeded : tuple of Exceeded
        The limits that reasons speak of.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    exceeded: tuple[Exceeded, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Whether an excess is more than chance, and by what."""

    holds: bool
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exceeded:
    """One value against one limit: whether it is over, and whether that is more than chance."""

    what: str
    value: float
    limit: float
    is_over: bool
    proof: Proof

    @property
    def shown(self) -> str:
        """The value, with as many digits as show that it is over."""
        return over(self.value, self.limit)

    def reason(self) -> str:
        """Return it as a sentence."""
        without = "" if self.proof.holds else ", but without evidence"
        return f"{self.what} {self.shown} is over {self.limit:g}{without} ({self.proof.text})"


def judge(
    effect: EffectResult,
    growth: ChangeResult | None,
    rule: Rule,
    *,
    p_adjusted: float | None,
    growth_p_adjusted: float | None,
    excess: ChangeResult | None = None,
    excess_p_adjusted: float | None = None,
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
    excess : ChangeResult or None
        Since an untrained network; needed where a limit is on it.
    p_adjusted, growth_p_adjusted, excess_p_adjusted : float or None
        The verdict's p of each, corrected over the family; None where no limit uses it.

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
    checks = [
        *_effect_checks(effect, rule, p_adjusted),
        *_growth_checks(growth, rule, growth_p_adjusted),
        *_excess_checks(excess, rule, excess_p_adjusted),
    ]
    over = [check for check in checks if check.is_over]
    proven = [check for check in over if check.proof.holds]
    if over:
        told = tuple(proven or over)
        reasons = tuple(check.reason() for check in told)
        return Verdict(outcome="fail" if proven else "inconclusive", reasons=reasons, exceeded=told)
    return Verdict(outcome="pass", reasons=() if checks else ("reported only",))


def exceeded(
    effect: EffectResult,
    growth: ChangeResult | None,
    rule: Rule,
    *,
    p_adjusted: float | None,
    growth_p_adjusted: float | None,
    excess: ChangeResult | None = None,
    excess_p_adjusted: float | None = None,
) -> dict[str, bool]:
    """Return the limits that are exceeded, and whether each is with the evidence asked for.

    Parameters
    ----------
    effect, growth, rule, p_adjusted, growth_p_adjusted, excess, excess_p_adjusted
        As for `judge`; a limit on a change that was not measured is not exceeded.
    """
    checks = (
        *_effect_checks(effect, rule, p_adjusted),
        *_growth_checks(growth, rule, growth_p_adjusted),
        *_excess_checks(excess, rule, excess_p_adjusted),
    )
    return {f"max_{check.what}": check.proof.holds for check in checks if check.is_over}


def _effect_checks(
    effect: EffectResult, rule: Rule, p_adjusted: float | None
) -> Iterator[Exceeded]:
    limits = rule.limits
    ends = (effect.ci_low, effect.ci_high)
    # Of a classifier the effect is the gap.
    gap_ends = (getattr(effect, "gap_ci_low", ends[0]), getattr(effect, "gap_ci_high", ends[1]))
    for what, value, limit, interval in (
        ("effect", effect.effect_judged, limits.max_effect, ends),
        ("gap", effect.gap, limits.max_gap, gap_ends),
    ):
        if limit is not None and value is not None:
            yield Exceeded(
                what=what,
                value=value,
                limit=limit,
                is_over=_is_over(size(value, rule.alternative), limit),
                proof=_proof(rule, p_adjusted, interval, limit, rule.alternative),
            )


def _growth_checks(
    growth: ChangeResult | None, rule: Rule, p_adjusted: float | None
) -> Iterator[Exceeded]:
    limits = rule.limits
    if growth is None:
        return
    if limits.max_growth is not None:
        interval = (growth.ci_low, growth.ci_high)
        yield Exceeded(
            what="growth",
            value=growth.growth,
            limit=limits.max_growth,
            is_over=_is_over(growth.growth, limits.max_growth),
            proof=_proof(rule, p_adjusted, interval, limits.max_growth, "greater"),
        )
    if limits.max_shift is not None:
        interval = (growth.shift_ci_low, growth.shift_ci_high)
        yield Exceeded(
            what="shift",
            value=growth.shift,
            limit=limits.max_shift,
            is_over=_is_over(abs(growth.shift), limits.max_shift),
            proof=_proof(rule, p_adjusted, interval, limits.max_shift, "two-sided"),
        )


def _excess_checks(
    excess: ChangeResult | None, rule: Rule, p_adjusted: float | None
) -> Iterator[Exceeded]:
    limit = rule.limits.max_excess
    if excess is not None and limit is not None:
        yield Exceeded(
            what="excess",
            value=excess.growth,
            limit=limit,
            is_over=_is_over(excess.growth, limit),
            proof=_proof(rule, p_adjusted, (excess.ci_low, excess.ci_high), limit, "greater"),
        )


def _is_over(value: float, limit: float) -> bool:
    # What is not a number is not within a limit either, and must not pass.
    return not value <= limit


def size(value: float, alternative: Alternative) -> float:
    """Return how large a value is in the direction that counts."""
    return {"two-sided": abs(value), "greater": value, "less": -value}[alternative]


def _proof(
    rule: Rule,
    p_adjusted: float | None,
    interval: tuple[float | None, float | None],
    limit: float,
    alternative: Alternative,
) -> Proof:
    if rule.evidence == "significant":
        is_proven = p_adjusted is not None and not p_adjusted > rule.alpha
        shown = p_text(p_adjusted)
        if p_adjusted is not None and (float(shown) > rule.alpha) == is_proven:
            shown = f"{p_adjusted:.6g}"  # rounded, it would seem to say the opposite
        relation = "<=" if is_proven else ">"
        text = f"adjusted p = {shown} {relation} {rule.alpha:g}"
        return Proof(holds=is_proven, text=text)
    if rule.evidence == "interval":
        low, high = interval
        if low is None or high is None:
            raise ValueError("evidence by interval was asked for, but there is no interval")
        above, below = low > limit, high < -limit
        is_proven = {"two-sided": above or below, "greater": above, "less": below}[alternative]
        level = f"{1 - rule.alpha:.0%}"
        return Proof(holds=is_proven, text=f"{level} interval {low:+.2f} to {high:+.2f}")
    return Proof(holds=True, text="point estimate")


def judge_control(effect: EffectResult, rule: Rule, *, held_before: bool) -> Verdict:
    """Judge a positive control: it passes where it shows its effect.

    Parameters
    ----------
    effect : EffectResult
        Computed with the control's alternative; of two sides that of the targets is judged,
        uncorrected. Without a p nothing is shown.
    rule : Rule
        With ``limits.min_effect``.
    held_before : bool
        Whether the model that growth is measured from showed the effect.
    """
    least = rule.limits.min_effect or 0.0
    shows = size(effect.effect_size, rule.alternative)
    shown = f"d = {number(effect.effect_size)} (p = {p_text(effect.p_value)})"
    if shows >= least and effect.p_value is not None and effect.p_value <= rule.alpha:
        return Verdict(outcome="pass", reasons=(f"control held: {shown}",))
    needed = f"at least {least:g} with p <= {rule.alpha:g} is needed"
    what = "control lost since the model before" if held_before else "positive control failed"
    return Verdict(outcome="fail", reasons=(f"{what}: {shown}, {needed}",))


def number(value: float) -> str:
    """Return an effect as people read it: signed, with two digits, never a negative zero."""
    return f"{round(value, 2) + 0.0:+.2f}"


def over(value: float, limit: float) -> str:
    """Return an effect that is over a limit, with as many digits as show that it is."""
    shown = number(value)
    return shown if abs(float(shown)) > limit else f"{value:+.6g}"


def p_text(p: float | None) -> str:
    """Return a p as people read it: two significant digits, and small ones as a power."""
    if p is None:
        return "-"
    if p >= 0.0095:  # noqa: PLR2004 - where two significant digits need no power of ten
        return f"{p:.2g}" if p < 0.995 else f"{p:.3g}"  # noqa: PLR2004 - 0.998 is not 1
    return f"{p:.1e}" if p < 0.001 else f"{p:.4f}".rstrip("0")  # noqa: PLR2004
