"""Judge a measured test by its limits and waivers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.evaluation.classifier_scoring import TO_CHECK, blind_fact
from pytest_visualbias.evaluation.growth_references import reference_name
from pytest_visualbias.evaluation.verdict import (
    CorrectedP,
    DecisionRule,
    Numbers,
    Verdict,
    Violation,
    exceeded,
    judge,
    judge_control,
    signed_magnitude,
)
from pytest_visualbias.results import format_effect, rounded_up
from pytest_visualbias.spec.effective_settings import (
    effective_settings,
    excess_base,
    gated_layers_of,
    growth_base,
    is_gated,
    is_random,
    judged_tests,
    layers_of,
)
from pytest_visualbias.spec.fields import quoted
from pytest_visualbias.statistics.classifier_gap import OutcomeScores

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.evaluation.measurement import AnyScores, GrowthReferences, Measurement
    from pytest_visualbias.evaluation.verdict import Kind, Outcome
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import Accept, BiasTest, Limits
    from pytest_visualbias.statistics import ChangeResult

# A note in a verdict: the baseline is about to record this result.
RECORDED = "recorded"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgingContext:
    """A layer of a model whose tests are judged on a day."""

    file: SpecFile
    model: str
    layer: str
    references: GrowthReferences
    today: dt.date

    @property
    def spec(self) -> BiasSpec:
        """Return the spec of the tests."""
        return self.file.spec


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedTest:
    """One test of a family with its verdict."""

    test: BiasTest
    numbers: Measurement
    verdict: Verdict
    base: str | None
    accept: Accept | None
    p: CorrectedP


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedFamily:
    """The tests of one layer, and the number of p-values corrected over all gated layers."""

    results: tuple[JudgedTest, ...]
    size: int


# The limits that a waiver can cover, each by a key of its own.
WAIVABLE = ("effect", "gap", "growth")


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiver:
    """The waiver of a test for one model at one layer, and the day of the run."""

    accept: Accept
    sizes: Mapping[str, float]
    today: dt.date
    model: str
    layer: str
    models: tuple[str, ...]
    layers: tuple[str, ...]

    def covers(self, violation: Violation, rule: DecisionRule) -> bool:
        """Return whether an exceeded limit is accepted; NaN is not."""
        if violation.kind not in self.sizes or violation.value is None or not violation.exceeds:
            return False
        is_change = violation.kind == "growth"
        value = (
            violation.value if is_change else signed_magnitude(violation.value, rule.alternative)
        )
        return value <= self.sizes[violation.kind]

    def names_any(self, limits: Limits) -> bool:
        """Return whether the waiver names a limit that is set."""
        return any(getattr(limits, f"max_{kind}") is not None for kind in self.sizes)

    @property
    def reason(self) -> str:
        """The reason in one line."""
        return " ".join(self.accept.reason.split())

    @property
    def terms(self) -> str:
        """The sizes, the last day and the reason as text."""
        sizes = ", ".join(f"{kind} {value:g}" for kind, value in self.sizes.items())
        return f"{sizes} until {self.accept.until}: {self.reason}"

    @property
    def ended(self) -> str | None:
        """What to do if the waiver has expired; None if it has not."""
        until = self.accept.until
        if self.today <= until:
            return None
        return f"the waiver ended on {until}; remove 'accept', or decide anew and say until when"

    @property
    def remedy(self) -> str:
        """How to exclude this model and layer from the waiver."""
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


def judge_waived(numbers: Numbers, rule: DecisionRule, p: CorrectedP, waiver: Waiver) -> Verdict:
    """Judge a test that has a waiver."""
    verdict = judge(numbers, rule, p)
    over = exceeded(numbers, rule, p)
    if waiver.ended is not None:
        return Verdict(outcome="fail", violations=verdict.violations, notes=(waiver.ended,))
    uncovered = tuple(violation for violation in over if not waiver.covers(violation, rule))
    failing = tuple(violation for violation in uncovered if violation.evidence)
    if failing:
        return Verdict(outcome="fail", violations=failing, notes=tuple(_advice(failing, waiver)))
    if not any(violation.kind in waiver.sizes for violation in over):
        return Verdict(outcome="fail", notes=(_unneeded(numbers, rule, waiver),))
    if verdict.outcome == "inconclusive" or uncovered:
        return Verdict(outcome="inconclusive", violations=uncovered or verdict.violations)
    return _accepted(verdict, numbers.growth, rule, waiver)


def _accepted(
    verdict: Verdict, growth: ChangeResult | None, rule: DecisionRule, waiver: Waiver
) -> Verdict:
    """Accept exceeded limits, unless the effect has turned round since the waiver's effect."""
    known = growth.before if growth is not None and growth.flipped else 0.0
    limit = rule.limits.judged
    if limit is not None and abs(known) > limit:
        turned = (
            f"the effect turned round since {format_effect(known)}: it is not the bias that was "
            f"accepted ({waiver.reason}); remove 'accept', or decide anew"
        )
        return Verdict(outcome="fail", violations=verdict.violations, notes=(turned,))
    terms = f"accepted up to {waiver.terms}"
    return Verdict(outcome="accepted", violations=verdict.violations, notes=(terms,))


def _advice(failing: tuple[Violation, ...], waiver: Waiver) -> Iterator[str]:
    """Yield the key that would accept each limit that the waiver does not cover."""
    for violation in failing:
        if violation.kind not in WAIVABLE:
            yield f"no waiver covers 'max_{violation.kind}'"
        elif violation.value is not None and math.isfinite(violation.value):
            key = f"'max_{violation.kind}: {rounded_up(abs(violation.value)):g}'"
            if violation.kind in waiver.sizes:
                yield f"the waiver accepts {waiver.terms}; to accept more, write {key}"
            else:
                yield f"the waiver does not cover 'max_{violation.kind}'; to accept it, add {key}"


def _unneeded(numbers: Numbers, rule: DecisionRule, waiver: Waiver) -> str:
    """Return for which model and layer a waiver is not needed, and how to change the spec."""
    values = {
        "effect": numbers.effect.effect_judged,
        "gap": numbers.effect.gap,
        "growth": None if numbers.growth is None else numbers.growth.growth,
    }
    limited = [kind for kind in waiver.sizes if getattr(rule.limits, f"max_{kind}") is not None]
    within = " and ".join(f"{kind} {format_effect(values[kind] or 0.0)}" for kind in limited)
    why = f"{within} within the limit" if within else "no limit that it names is set"
    where = f"model '{waiver.model}'"
    where += f" at layer '{waiver.layer}'" if len(waiver.layers) > 1 else ""
    return f"the waiver is not needed for {where} ({why}); {waiver.remedy}"


def decision_rule(spec: BiasSpec, test: BiasTest) -> DecisionRule:
    """Return the limits of a test and the evidence that they need."""
    plan = effective_settings(spec, test)
    return DecisionRule(
        limits=test.limits,
        evidence=plan.evidence,
        alternative=plan.alternative,
        alpha=plan.alpha,
    )


def waiver_for(
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


def judge_tests(
    context: JudgingContext,
    measured: Mapping[str, Measurement],
    corrected: Mapping[str, CorrectedP],
) -> list[JudgedTest]:
    """Judge every test of a layer by its corrected p-values, before positive controls apply."""
    return [
        _judge_at_layer(context, test, measured[test.name], corrected[test.name])
        for test in judged_tests(context.spec, context.layer)
    ]


def _judge_at_layer(
    context: JudgingContext, test: BiasTest, measurement: Measurement, p: CorrectedP
) -> JudgedTest:
    """Judge one test, and note a layer that is not gated and a result that is being recorded."""
    spec, model, layer = context.spec, context.model, context.layer
    has_waiver = test.accept is not None
    waiver = waiver_for(spec, model, test, layer, context.today) if has_waiver else None
    verdict = judge_test(spec, model, test, measurement, waiver, p)
    if verdict.outcome == "pass" and layer not in gated_layers_of(spec, test):
        notes = (f"the layer '{layer}' is not gated, reported only",)
        verdict = dataclasses.replace(verdict, notes=notes)
    if measurement.is_recorded and verdict.outcome != "error":
        verdict = dataclasses.replace(verdict, notes=(*verdict.notes, RECORDED))
    return JudgedTest(
        test=test,
        numbers=measurement,
        verdict=verdict,
        base=reference_name(spec, model, test, context.references.baseline),
        accept=waiver.accept if waiver is not None else None,
        p=p,
    )


def judge_test(
    spec: BiasSpec,
    model: str,
    test: BiasTest,
    measurement: Measurement,
    waiver: Waiver | None,
    p: CorrectedP,
) -> Verdict:
    """Return the verdict of one test of a model before positive controls apply."""
    if measurement.problem is not None or measurement.effect is None:
        return Verdict(outcome="error", notes=(measurement.problem or "not measured",))
    part = _unjudged(spec, model, test)
    if part is not None:
        return Verdict(outcome="pass", notes=(f"{part}, reported only",))
    rule = decision_rule(spec, test)
    if test.is_positive:
        return judge_control(measurement.effect, rule, held_before=_held_before(measurement, rule))
    unlike = tuple(_not_comparable(spec, model, test, measurement))
    if unlike:
        measurable = _measurable(test, measurement)
        if waiver is not None and not waiver.names_any(measurable.limits):
            waiver = None
        rest = judge_test(spec, model, measurable, _comparable(measurement), waiver, p)
        return _with_incomparable(rest, unlike)
    numbers = Numbers(
        effect=measurement.effect, growth=measurement.growth, excess=measurement.excess
    )
    if test.prediction is not None:
        fault = _classifier_fault(spec, model, test, measurement)
        if fault is not None:
            return _judge_uninformative(numbers, measurement, rule, p, waiver, fault)
    return judge(numbers, rule, p) if waiver is None else judge_waived(numbers, rule, p, waiver)


def _measurable(test: BiasTest, measurement: Measurement) -> BiasTest:
    """Return a test without limits on changes that could not be measured."""
    changes = {
        "max_growth": measurement.growth,
        "max_shift": measurement.growth,
        "max_excess": measurement.excess,
    }
    gone = {name: None for name, change in changes.items() if change is None}
    return test.model_copy(update={"limits": test.limits.model_copy(update=gone)})


def _comparable(measurement: Measurement) -> Measurement:
    """Return the measurement without comparisons that are not valid."""
    return dataclasses.replace(
        measurement, unlike=None, unlike_untrained=None, missing=None, stale=None
    )


def _with_incomparable(rest: Verdict, unlike: tuple[Violation, ...]) -> Verdict:
    """Return a failure that lists exceeded limits first, then limits that were not compared."""
    outcome: Outcome = "invalid" if rest.outcome == "invalid" else "fail"
    notes = () if rest.outcome == "pass" else rest.notes
    return Verdict(outcome=outcome, violations=(*rest.violations, *unlike), notes=notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class _UninformativeClassifier:
    """That a classifier does not know the class, and why no gap follows from it."""

    fact: str
    reason: str


def _judge_uninformative(
    numbers: Numbers,
    measurement: Measurement,
    rule: DecisionRule,
    p: CorrectedP,
    waiver: Waiver | None,
    fault: _UninformativeClassifier,
) -> Verdict:
    """Judge predictions that ignore the class: they can exceed a limit, but not keep one."""
    if _is_blind(measurement.before):
        # Growth from such a classifier is not judged; the gap after finetuning is.
        rule = dataclasses.replace(rule, limits=_without_growth(rule.limits))
    verdict = judge(numbers, rule, p)
    if verdict.outcome == "fail" and waiver is not None:
        verdict = judge_waived(numbers, rule, p, waiver)
    if verdict.outcome == "fail":
        return dataclasses.replace(verdict, notes=(*verdict.notes, f"besides, {fault.fact}"))
    return Verdict(outcome="invalid", notes=(fault.reason,))


def _classifier_fault(
    spec: BiasSpec, model: str, test: BiasTest, measurement: Measurement
) -> _UninformativeClassifier | None:
    """Return why a value within the limits shows nothing about a classifier, if it does not."""
    prediction = test.prediction
    if prediction is None or measurement.effect is None:
        return None
    fact = blind_fact(prediction, measurement.target_class)
    if _is_blind(measurement.scores):
        gap = format_effect(measurement.effect.effect_judged)
        reason = f"{fact}: that its gap is {gap} and no more says nothing; {TO_CHECK}"
        return _UninformativeClassifier(fact=fact, reason=reason)
    if test.limits.on_growth and measurement.growth is not None and _is_blind(measurement.before):
        fact = f"no growth from '{growth_base(spec, test, model)}': there {fact}"
        return _UninformativeClassifier(fact=fact, reason=f"{fact}; {TO_CHECK}")
    return None


def _is_blind(scores: AnyScores | None) -> bool:
    return isinstance(scores, OutcomeScores) and scores.is_blind


def _without_growth(limits: Limits) -> Limits:
    return limits.model_copy(update={"max_growth": None, "max_shift": None})


def unmeasured_limits(
    spec: BiasSpec, model: str, test: BiasTest, measurement: Measurement
) -> Iterator[str]:
    """Yield why a change without a limit is not reported; a limit would fail with the reason."""
    for what, limits, text in _uncompared(spec, model, test, measurement):
        if not limits:
            yield f"no {what} is shown: {text}"


def _not_comparable(
    spec: BiasSpec, model: str, test: BiasTest, measurement: Measurement
) -> Iterator[Violation]:
    """Yield each limit on a change that could not be measured."""
    for _, limits, text in _uncompared(spec, model, test, measurement):
        for kind, limit in limits.items():
            yield _uncomparable(kind, limit, f"not_comparable: {text}")
    if measurement.missing is not None:
        for kind, limit in _limits_on_growth(test).items():
            yield _uncomparable(kind, limit, measurement.missing)


def _uncomparable(kind: Kind, limit: float, sentence: str) -> Violation:
    return Violation(kind=kind, value=None, limit=limit, evidence=False, sentence=sentence)


def _limits_on_growth(test: BiasTest) -> dict[Kind, float]:
    limits: dict[Kind, float | None]
    limits = {"growth": test.limits.max_growth, "shift": test.limits.max_shift}
    return {kind: limit for kind, limit in limits.items() if limit is not None}


def _uncompared(
    spec: BiasSpec, model: str, test: BiasTest, measurement: Measurement
) -> Iterator[tuple[str, dict[Kind, float], str]]:
    """Yield each change that is not comparable, its limits, and the difference."""
    if measurement.unlike is not None:
        yield "growth", _limits_on_growth(test), f"before and after differ in {measurement.unlike}"
    if measurement.stale is not None:
        yield "growth", _limits_on_growth(test), measurement.stale
    if measurement.unlike_untrained is not None:
        text = f"'{excess_base(spec, test)}' and '{model}' differ in {measurement.unlike_untrained}"
        limit = test.limits.max_excess
        yield "excess", {} if limit is None else {"excess": limit}, text


def _unjudged(spec: BiasSpec, model: str, test: BiasTest) -> str | None:
    """Return the role of a model that a test does not judge; positive controls judge any role."""
    if is_random(spec.models[model]):
        return "random control"
    return None if test.is_positive or is_gated(spec, model, test) else "reference"


def _held_before(measurement: Measurement, rule: DecisionRule) -> bool:
    """Return whether the model before exceeded the minimum effect of a control."""
    if measurement.growth is None:
        return False
    before = measurement.growth.before
    return (-before if rule.alternative == "less" else before) >= (rule.limits.min_effect or 0)
