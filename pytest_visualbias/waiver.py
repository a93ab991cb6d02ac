"""A bias that is known: accepted up to a size and a day, for as long as it is there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.verdict import Verdict, judge, number, over, size

if TYPE_CHECKING:
    import datetime as dt

    from pytest_visualbias.spec.schema import Accept
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.verdict import Outcome, Rule

__all__ = ["Waiver", "judge_waived"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiver:
    """What is accepted, and the day of the run.

    Attributes
    ----------
    accept : Accept
        As the spec has it.
    today : date
        In UTC.
    """

    accept: Accept
    today: dt.date

    def covers(self, effect: float) -> bool:
        """Whether an effect is no larger than what is accepted; what is no number is not."""
        return effect <= self.accept.max_effect

    @property
    def reason(self) -> str:
        """Why it is accepted, in one line."""
        return " ".join(self.accept.reason.split())

    @property
    def terms(self) -> str:
        """The size, the last day and the reason, as people read them."""
        accept = self.accept
        return f"{accept.max_effect:g} until {accept.until}: {self.reason}"

    @property
    def ended(self) -> str | None:
        """What to do where the last day is over; None where it is not."""
        until = self.accept.until
        if self.today <= until:
            return None
        return f"the waiver ended on {until}; remove 'accept', or decide anew and say until when"


def judge_waived(
    effect: EffectResult,
    growth: ChangeResult | None,
    rule: Rule,
    waiver: Waiver,
    *,
    p_adjusted: float | None,
    growth_p_adjusted: float | None,
    excess: ChangeResult | None = None,
    excess_p_adjusted: float | None = None,
) -> Verdict:
    """Judge a test that has a waiver.

    Parameters
    ----------
    effect, growth, rule, p_adjusted, growth_p_adjusted, excess, excess_p_adjusted
        As for `judge`.
    waiver : Waiver
        Speaks of the limits on the effect only.

    Returns
    -------
    Verdict
        ``accepted`` where the effect would fail and is no larger than the waiver allows, unless
        another limit has a say, or an effect over the limit has turned into one the other way.
        ``fail`` where it is larger, where the last day is over, and where the effect is within its
        limits, as the waiver must go then.
    """
    own = judge(
        effect,
        None,
        dataclasses.replace(rule, limits=rule.limits.of_effect),
        p_adjusted=p_adjusted,
        growth_p_adjusted=None,
    )
    other = judge(
        effect,
        growth,
        dataclasses.replace(rule, limits=rule.limits.of_change),
        p_adjusted=None,
        growth_p_adjusted=growth_p_adjusted,
        excess=excess,
        excess_p_adjusted=excess_p_adjusted,
    )
    waived = _waived(own, effect.effect_judged, rule, waiver)
    known = growth.before if growth is not None and growth.flipped else 0.0
    limit = rule.limits.judged
    if waived.outcome == "accepted" and limit is not None and abs(known) > limit:
        turned = (
            f"the effect turned round since {number(known)}: it is not the bias that was accepted "
            f"({waiver.reason}); remove 'accept', or decide anew"
        )
        return _with("fail", turned, own)
    for outcome in ("fail", "inconclusive"):
        found = [one for one in (waived, other) if one.outcome == outcome]
        if found:
            return Verdict(
                outcome=found[0].outcome,
                reasons=tuple(why for one in found for why in one.reasons),
                exceeded=tuple(what for one in found for what in one.exceeded),
            )
    return waived


def _waived(own: Verdict, judged: float, rule: Rule, waiver: Waiver) -> Verdict:
    """Return what becomes of the verdict that the limits on the effect alone give."""
    if waiver.ended is not None:
        return _with("fail", waiver.ended, own)
    if own.outcome == "pass":
        idle = f"the waiver must go: effect {number(judged)} is within the limits; remove 'accept'"
        return Verdict(outcome="fail", reasons=(idle,))
    if own.outcome == "inconclusive":
        return own
    if waiver.covers(size(judged, rule.alternative)):
        return _with("accepted", f"accepted up to {waiver.terms}", own)
    beyond = (
        f"effect {over(judged, waiver.accept.max_effect)} is over what is accepted, {waiver.terms}"
    )
    return _with("fail", beyond, own)


def _with(outcome: Outcome, reason: str, own: Verdict) -> Verdict:
    """Return another outcome of the same excess, with what it is about first."""
    return Verdict(outcome=outcome, reasons=(reason, *own.reasons), exceeded=own.exceeded)
