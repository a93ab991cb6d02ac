"""A bias that is known: accepted up to a size and a day, for as long as it is there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.spec.quoting import quoted
from pytest_visualbias.verdict import Verdict, exceeded, judge, number, rounded_up, size

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.schema import Accept, Limits
    from pytest_visualbias.statistics import ChangeResult, EffectResult
    from pytest_visualbias.verdict import CorrectedP, Rule, Violation

__all__ = ["WAIVABLE", "Waiver", "judge_waived"]

# The limits that a waiver can cover, each by a key of its own.
WAIVABLE = ("effect", "gap", "growth")


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiver:
    """What is accepted of one model at one layer, and the day of the run.

    Attributes
    ----------
    accept : Accept
        As the spec has it.
    sizes : mapping of str to float
        By the kind of limit, the largest value that is accepted.
    today : date
        In UTC.
    model, layer : str
        The model and the layer that are judged.
    models, layers : tuple of str
        All that the waiver applies to.
    """

    accept: Accept
    sizes: Mapping[str, float]
    today: dt.date
    model: str
    layer: str
    models: tuple[str, ...]
    layers: tuple[str, ...]

    def covers(self, violation: Violation, rule: Rule) -> bool:
        """Whether a value over its limit is accepted; what is not a number is not."""
        if violation.kind not in self.sizes or violation.value is None or not violation.exceeds:
            return False
        is_change = violation.kind == "growth"
        value = violation.value if is_change else size(violation.value, rule.alternative)
        return value <= self.sizes[violation.kind]

    def names_any(self, limits: Limits) -> bool:
        """Whether the waiver names a limit that is set."""
        return any(getattr(limits, f"max_{kind}") is not None for kind in self.sizes)

    @property
    def reason(self) -> str:
        """Why it is accepted, in one line."""
        return " ".join(self.accept.reason.split())

    @property
    def terms(self) -> str:
        """The sizes, the last day and the reason, as people read them."""
        sizes = ", ".join(f"{kind} {value:g}" for kind, value in self.sizes.items())
        return f"{sizes} until {self.accept.until}: {self.reason}"

    @property
    def ended(self) -> str | None:
        """What to do where the last day is over; None where it is not."""
        until = self.accept.until
        if self.today <= until:
            return None
        return f"the waiver ended on {until}; remove 'accept', or decide anew and say until when"

    @property
    def remedy(self) -> str:
        """How to take this model and layer out of the waiver."""
        models = ", ".join(quoted(name) for name in self.models if name != self.model)
        layers = ", ".join(quoted(name) for name in self.layers if name != self.layer)
        if models and layers:
            return (
                "restrict 'models' and 'layers' of 'accept' to where it is needed, or write the "
                "test once for each model"
            )
        if models or layers:
            key, names = ("models", models) if models else ("layers", layers)
            return f"restrict it with '{key}: [{names}]' in 'accept', or remove it"
        return "remove 'accept'"


def judge_waived(
    effect: EffectResult,
    growth: ChangeResult | None,
    rule: Rule,
    p: CorrectedP,
    waiver: Waiver,
    *,
    excess: ChangeResult | None = None,
) -> Verdict:
    """Judge a test that has a waiver.

    Parameters
    ----------
    effect, growth, rule, p, excess
        As for `judge`.
    waiver : Waiver
        Covers the limits that it names, nothing else.

    Returns
    -------
    Verdict
        ``accepted`` where every limit that is exceeded with evidence is covered, unless an effect
        over the limit has turned into one the other way. ``fail`` where one is not covered, where
        the last day is over, and where no limit that the waiver names is exceeded.
    """
    verdict = judge(effect, growth, rule, p, excess=excess)
    over = exceeded(effect, growth, rule, p, excess=excess)
    if waiver.ended is not None:
        return Verdict(outcome="fail", violations=verdict.violations, notes=(waiver.ended,))
    uncovered = tuple(one for one in over if not waiver.covers(one, rule))
    failing = tuple(one for one in uncovered if one.evidence)
    if failing:
        return Verdict(outcome="fail", violations=failing, notes=tuple(_advice(failing, waiver)))
    if not any(one.kind in waiver.sizes for one in over):
        return Verdict(outcome="fail", notes=(_idle(effect, growth, rule, waiver),))
    if verdict.outcome == "inconclusive" or uncovered:
        return Verdict(outcome="inconclusive", violations=uncovered or verdict.violations)
    return _accepted(verdict, growth, rule, waiver)


def _accepted(verdict: Verdict, growth: ChangeResult | None, rule: Rule, waiver: Waiver) -> Verdict:
    known = growth.before if growth is not None and growth.flipped else 0.0
    limit = rule.limits.judged
    if limit is not None and abs(known) > limit:
        turned = (
            f"the effect turned round since {number(known)}: it is not the bias that was accepted "
            f"({waiver.reason}); remove 'accept', or decide anew"
        )
        return Verdict(outcome="fail", violations=verdict.violations, notes=(turned,))
    terms = f"accepted up to {waiver.terms}"
    return Verdict(outcome="accepted", violations=verdict.violations, notes=(terms,))


def _advice(failing: tuple[Violation, ...], waiver: Waiver) -> Iterator[str]:
    """Yield what to write to accept each limit that the waiver does not cover."""
    for one in failing:
        if one.kind not in WAIVABLE:
            yield f"no waiver covers 'max_{one.kind}'"
        elif one.value is not None and math.isfinite(one.value):
            key = f"'max_{one.kind}: {rounded_up(abs(one.value)):g}'"
            if one.kind in waiver.sizes:
                yield f"the waiver accepts {waiver.terms}; to accept more, write {key}"
            else:
                yield f"the waiver does not cover 'max_{one.kind}'; to accept it, add {key}"


def _idle(effect: EffectResult, growth: ChangeResult | None, rule: Rule, waiver: Waiver) -> str:
    """Say for which model and layer a waiver is not needed, and how to change the spec."""
    values = {
        "effect": effect.effect_judged,
        "gap": effect.gap,
        "growth": None if growth is None else growth.growth,
    }
    limited = [kind for kind in waiver.sizes if getattr(rule.limits, f"max_{kind}") is not None]
    within = " and ".join(f"{kind} {number(values[kind] or 0.0)}" for kind in limited)
    why = f"{within} within the limit" if within else "no limit that it names is set"
    where = f"model '{waiver.model}'"
    where += f" at layer '{waiver.layer}'" if len(waiver.layers) > 1 else ""
    return f"the waiver is not needed for {where} ({why}); {waiver.remedy}"
