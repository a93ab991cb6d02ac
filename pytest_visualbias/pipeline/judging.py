"""What a spec says of a test, applied to its numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.power import plan_of
from pytest_visualbias.pipeline.predictions import TO_CHECK, blind_fact, blind_reason
from pytest_visualbias.spec.layers import layers_of
from pytest_visualbias.spec.roles import excess_base, growth_base, is_gated, is_random
from pytest_visualbias.statistics import OutcomeScores
from pytest_visualbias.verdict import Rule, Verdict, Violation, judge, judge_control
from pytest_visualbias.waiver import Waiver, judge_waived

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from pytest_visualbias.pipeline.measures import AnyScores
    from pytest_visualbias.pipeline.numbers import Numbers
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, Limits
    from pytest_visualbias.verdict import CorrectedP, Kind, Outcome

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
    return Waiver(
        accept=accept,
        sizes=accept.sizes(test.limits),
        today=today,
        model=model,
        layer=layer,
        models=accept.models or tuple(name for name in spec.models if is_gated(spec, name, test)),
        layers=accept.layers or layers_of(spec, test),
    )


def verdict_of(
    spec: BiasSpec,
    model: str,
    test: BiasTest,
    found: Numbers,
    waiver: Waiver | None,
    p: CorrectedP,
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
    p : CorrectedP
        The corrected p-values.
    """
    if found.problem is not None or found.effect is None:
        return Verdict(outcome="error", notes=(found.problem or "not measured",))
    part = _unjudged(spec, model, test)
    if part is not None:
        return Verdict(outcome="pass", notes=(f"{part}, reported only",))
    rule = rule_of(spec, test)
    if test.is_positive:
        return judge_control(found.effect, rule, held_before=_held_before(found, rule))
    unlike = tuple(_not_comparable(spec, model, test, found))
    if unlike:
        measurable = _measurable(test, found)
        if waiver is not None and not waiver.names_any(measurable.limits):
            waiver = None
        return _beside(verdict_of(spec, model, measurable, _compared(found), waiver, p), unlike)
    blind = _blind(spec, model, test, found)
    if blind is not None and _is_blind(found.before):
        # What grew from nothing is not judged; the gap that is there now is.
        rule = dataclasses.replace(rule, limits=_without_growth(rule.limits))
    effect, growth, excess = found.effect, found.growth, found.excess
    verdict = judge(effect, growth, rule, p, excess=excess)
    if waiver is not None and (verdict.outcome == "fail" or blind is None):
        verdict = judge_waived(effect, growth, rule, p, waiver, excess=excess)
    return _seeing(verdict, blind)


def _measurable(test: BiasTest, found: Numbers) -> BiasTest:
    """Return a test without its limits on a change that could not be measured."""
    changes = {"max_growth": found.growth, "max_shift": found.growth, "max_excess": found.excess}
    gone = {name: None for name, change in changes.items() if change is None}
    return test.model_copy(update={"limits": test.limits.model_copy(update=gone)})


def _compared(found: Numbers) -> Numbers:
    """Return numbers as if what they could not be compared with were not there."""
    return dataclasses.replace(found, unlike=None, unlike_untrained=None, missing=None, stale=None)


def _beside(rest: Verdict, unlike: tuple[Violation, ...]) -> Verdict:
    """Return a failure that says what was over its limit all the same, then what was not compared.

    What is invalid stays so: it must not be recorded.
    """
    outcome: Outcome = "invalid" if rest.outcome == "invalid" else "fail"
    notes = () if rest.outcome == "pass" else rest.notes
    return Verdict(outcome=outcome, violations=(*rest.violations, *unlike), notes=notes)


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
        return dataclasses.replace(verdict, notes=(*verdict.notes, f"besides, {blind.fact}"))
    return Verdict(outcome="invalid", notes=(blind.reason,))


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
    for what, limits, text in _uncompared(spec, model, test, found):
        if not limits:
            yield f"no {what} is shown: {text}"


def _not_comparable(
    spec: BiasSpec, model: str, test: BiasTest, found: Numbers
) -> Iterator[Violation]:
    """Yield each limit on a change that could not be measured."""
    for _, limits, text in _uncompared(spec, model, test, found):
        for kind, limit in limits.items():
            yield _uncomparable(kind, limit, f"not_comparable: {text}")
    if found.missing is not None:
        for kind, limit in _limits_on_growth(test).items():
            yield _uncomparable(kind, limit, found.missing)


def _uncomparable(kind: Kind, limit: float, sentence: str) -> Violation:
    return Violation(kind=kind, value=None, limit=limit, evidence=False, sentence=sentence)


def _limits_on_growth(test: BiasTest) -> dict[Kind, float]:
    limits: dict[Kind, float | None]
    limits = {"growth": test.limits.max_growth, "shift": test.limits.max_shift}
    return {kind: limit for kind, limit in limits.items() if limit is not None}


def _uncompared(
    spec: BiasSpec, model: str, test: BiasTest, found: Numbers
) -> Iterator[tuple[str, dict[Kind, float], str]]:
    """Yield each change that has unlike ends, the limits that are on it, and what is unlike."""
    if found.unlike is not None:
        yield "growth", _limits_on_growth(test), f"before and after differ in {found.unlike}"
    if found.stale is not None:
        yield "growth", _limits_on_growth(test), found.stale
    if found.unlike_untrained is not None:
        text = f"'{excess_base(spec, test)}' and '{model}' differ in {found.unlike_untrained}"
        limit = test.limits.max_excess
        yield "excess", {} if limit is None else {"excess": limit}, text


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
