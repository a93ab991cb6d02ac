"""What a spec says of a test, applied to its numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.comparing import UNLIKE
from pytest_visualbias.pipeline.power import plan_of
from pytest_visualbias.pipeline.predictions import TO_CHECK, blind_fact, blind_reason
from pytest_visualbias.spec.roles import excess_base, growth_base, is_gated, is_random
from pytest_visualbias.statistics import OutcomeScores
from pytest_visualbias.verdict import Rule, Verdict, judge, judge_control
from pytest_visualbias.waiver import Waiver, judge_waived

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from pytest_visualbias.pipeline.measures import AnyScores
    from pytest_visualbias.pipeline.numbers import Numbers
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, Limits
    from pytest_visualbias.verdict import Outcome

__all__ = ["rule_of", "unmeasured", "verdict_of", "waiver_of"]


def rule_of(spec: BiasSpec, test: BiasTest) -> Rule:
    """Return what a test is judged by."""
    plan = plan_of(spec, test)
    return Rule(
        limits=test.limits,
        evidence=plan.evidence,
        alternative=plan.alternative,
        alpha=plan.alpha,
    )


def waiver_of(
    spec: BiasSpec, model: str, test: BiasTest, layer: str, today: dt.date
) -> Waiver | None:
    """Return the waiver that a test has for a model at a layer; references need none."""
    accept = test.accept
    if accept is None or not is_gated(spec, model, test) or not accept.speaks_of(model, layer):
        return None
    return Waiver(accept=accept, today=today)


def verdict_of(
    spec: BiasSpec,
    model: str,
    test: BiasTest,
    found: Numbers,
    waiver: Waiver | None,
    *,
    p_adjusted: float | None,
    growth_p_adjusted: float | None,
    excess_p_adjusted: float | None,
) -> Verdict:
    """Return the verdict of one test of a model, before its controls have their say.

    Parameters
    ----------
    spec : BiasSpec
        The spec.
    model : str
        Its name.
    test : BiasTest
        The test.
    found : Numbers
        What was computed.
    waiver : Waiver or None
        Of this test for this model.
    p_adjusted, growth_p_adjusted, excess_p_adjusted : float or None
        The verdict's p, corrected over the family, where a limit uses it.
    """
    if found.problem is not None or found.effect is None:
        return Verdict(outcome="error", reasons=(found.problem or "not measured",))
    part = _unjudged(spec, model, test)
    if part is not None:
        return Verdict(outcome="pass", reasons=(f"{part}, reported only",))
    rule = rule_of(spec, test)
    if test.is_positive:
        return judge_control(found.effect, rule, held_before=_held_before(found, rule))
    unlike = tuple(_not_comparable(spec, model, test, found))
    if unlike:
        rest = verdict_of(
            *(spec, model, _measurable(test, found), _compared(found), waiver),
            p_adjusted=p_adjusted,
            growth_p_adjusted=growth_p_adjusted,
            excess_p_adjusted=excess_p_adjusted,
        )
        return _beside(rest, unlike)
    blind = _blind(spec, model, test, found)
    if blind is not None and _is_blind(found.before):
        # What grew from nothing is not judged; the gap that is there now is.
        rule = dataclasses.replace(rule, limits=_without_growth(rule.limits))
    effect, growth, excess = found.effect, found.growth, found.excess
    verdict = judge(
        *(effect, growth, rule),
        p_adjusted=p_adjusted,
        growth_p_adjusted=growth_p_adjusted,
        excess=excess,
        excess_p_adjusted=excess_p_adjusted,
    )
    if waiver is not None and (verdict.outcome == "fail" or blind is None):
        verdict = judge_waived(
            *(effect, growth, rule, waiver),
            p_adjusted=p_adjusted,
            growth_p_adjusted=growth_p_adjusted,
            excess=excess,
            excess_p_adjusted=excess_p_adjusted,
        )
    return _seeing(verdict, blind)


def _measurable(test: BiasTest, found: Numbers) -> BiasTest:
    """Return a test without its limits on a change that could not be measured."""
    changes = {"max_growth": found.growth, "max_shift": found.growth, "max_excess": found.excess}
    gone = {name: None for name, change in changes.items() if change is None}
    return test.model_copy(update={"limits": test.limits.model_copy(update=gone)})


def _compared(found: Numbers) -> Numbers:
    """Return numbers as if what they could not be compared with were not there."""
    return dataclasses.replace(found, unlike=None, unlike_untrained=None, unrecorded=None)


def _beside(rest: Verdict, unlike: tuple[str, ...]) -> Verdict:
    """Return a failure that says what was over its limit all the same, then what was not compared.

    What is invalid stays so: it must not be recorded.
    """
    said = () if rest.outcome == "pass" else rest.reasons
    outcome: Outcome = "invalid" if rest.outcome == "invalid" else "fail"
    return dataclasses.replace(rest, outcome=outcome, reasons=(*said, *unlike))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Blind:
    """That a classifier does not know the class, and what that leaves unsaid."""

    fact: str
    reason: str


def _seeing(verdict: Verdict, blind: _Blind | None) -> Verdict:
    """Return a verdict, invalid where it takes a classifier that knows the class.

    A gap over its limit is a finding, whatever made it; that none is over it says something of a
    classifier that knows the class alone.
    """
    if blind is None:
        return verdict
    if verdict.outcome == "fail":
        return dataclasses.replace(verdict, reasons=(*verdict.reasons, f"besides, {blind.fact}"))
    return Verdict(outcome="invalid", reasons=(blind.reason,))


def _blind(spec: BiasSpec, model: str, test: BiasTest, found: Numbers) -> _Blind | None:
    """Return why what is within the limits says nothing of a classifier, if so."""
    asked = test.prediction
    if asked is None or found.effect is None:
        return None
    fact = blind_fact(asked, found.asked)
    if _is_blind(found.scores):
        return _Blind(fact=fact, reason=blind_reason(fact, found.effect.effect_judged))
    if test.limits.on_growth and found.growth is not None and _is_blind(found.before):
        there = f"no growth from '{growth_base(spec, test, model)}': there {fact}"
        return _Blind(fact=there, reason=f"{there}; {TO_CHECK}")
    return None


def _is_blind(scores: AnyScores | None) -> bool:
    return isinstance(scores, OutcomeScores) and scores.is_blind


def _without_growth(limits: Limits) -> Limits:
    return limits.model_copy(update={"max_growth": None, "max_shift": None})


def unmeasured(spec: BiasSpec, model: str, test: BiasTest, found: Numbers) -> Iterator[str]:
    """Yield why a change is not shown that no limit is on: a limit would fail and say it."""
    for what, is_limited, text in _uncompared(spec, model, test, found):
        if not is_limited:
            yield f"no {what} is shown: {text}"
    stale = found.unrecorded or ""
    # Where nothing was recorded, there is nothing to show, and nothing is wrong.
    if not test.limits.on_growth and stale.startswith(UNLIKE):
        yield f"no growth is shown: {stale.removeprefix(UNLIKE)}"


def _not_comparable(spec: BiasSpec, model: str, test: BiasTest, found: Numbers) -> Iterator[str]:
    """Yield why a change that a limit is on could not be measured."""
    for _, is_limited, text in _uncompared(spec, model, test, found):
        if is_limited:
            yield f"{UNLIKE}{text}"
    if found.unrecorded is not None and test.limits.on_growth:
        yield found.unrecorded


def _uncompared(
    spec: BiasSpec, model: str, test: BiasTest, found: Numbers
) -> Iterator[tuple[str, bool, str]]:
    """Yield each change that has unlike ends, whether a limit is on it, and what is unlike."""
    if found.unlike is not None:
        text = f"before and after differ in {found.unlike}"
        yield "growth", test.limits.on_growth, text
    if found.unlike_untrained is not None:
        text = f"'{excess_base(spec, test)}' and '{model}' differ in {found.unlike_untrained}"
        yield "excess", test.limits.on_excess, text


def _unjudged(spec: BiasSpec, model: str, test: BiasTest) -> str | None:
    """Return the part of a model that a test does not judge; a positive control fails anywhere."""
    if is_random(spec.models[model]):
        return "random control"
    return None if test.is_positive or is_gated(spec, model, test) else "reference"


def _held_before(found: Numbers, rule: Rule) -> bool:
    """Whether the model before was over the least effect of a control."""
    if found.growth is None:
        return False
    before = found.growth.before
    return (-before if rule.alternative == "less" else before) >= (rule.limits.min_effect or 0)
