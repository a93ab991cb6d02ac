"""Apply positive controls: tests that must show an effect for other results to be valid."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.growth_references import BASELINE, reference_models
from pytest_visualbias.evaluation.judging import decision_rule
from pytest_visualbias.evaluation.measure_tests import measure_test
from pytest_visualbias.evaluation.measurement import MeasurementContext
from pytest_visualbias.evaluation.scoring import scoring_method
from pytest_visualbias.evaluation.verdict import Verdict, judge_control
from pytest_visualbias.spec.effective_settings import effective_settings, is_random, judged_tests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.evaluation.judging import JudgedTest, JudgingContext
    from pytest_visualbias.evaluation.measurement import GrowthReferences
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.statistics import EffectResult


def failed_before(
    file: SpecFile, model: str, layer: str, references: GrowthReferences
) -> list[tuple[str, BiasTest]]:
    """Return the controls that fail in the models that growth is measured from."""
    tests = judged_tests(file.spec, layer)
    growing = [test for test in tests if test.limits.on_growth]
    names = reference_models(file.spec, model, growing, references.baseline)
    failed = []
    for name in sorted(name for name in names if not is_random(file.spec.models[name])):
        for control in (test for test in tests if test.is_positive):
            try:
                context = MeasurementContext(
                    file=file, model=references.models(name), layer=layer, references=references
                )
                effect = measure_test(context, control).effect
            except VisualBiasError:
                continue  # reported by the tests that need it
            if effect is None or not _holds(file.spec, control, effect):
                failed.append((name, control))
    return failed


def failed_when_recorded(
    spec: BiasSpec, results: Sequence[JudgedTest]
) -> list[tuple[str, BiasTest]]:
    """Return the controls that failed in the recorded results."""
    failed = []
    for result in results:
        if not result.test.is_positive or result.base != BASELINE or result.numbers.before is None:
            continue
        settings = effective_settings(spec, result.test)
        effect = scoring_method(result.test).test(result.numbers.before, settings)
        if not _holds(spec, result.test, effect):
            failed.append((BASELINE, result.test))
    return failed


def _holds(spec: BiasSpec, control: BiasTest, effect: EffectResult) -> bool:
    """Return whether a positive control shows its effect."""
    verdict = judge_control(effect, decision_rule(spec, control), held_before=False)
    return verdict.outcome == "pass"


def apply_controls(
    context: JudgingContext, results: Sequence[JudgedTest]
) -> tuple[JudgedTest, ...]:
    """Make results invalid if a positive control that covers them failed, here or before."""
    if not any(test.is_positive for test in context.spec.tests):
        return tuple(results)
    before = [
        *failed_before(context.file, context.model, context.layer, context.references),
        *failed_when_recorded(context.spec, results),
    ]
    failed = [
        result.test
        for result in results
        if result.test.is_positive and result.verdict.outcome != "pass"
    ]
    return tuple(_apply_failures(result, failed, before) for result in results)


def _apply_failures(
    judged: JudgedTest, failed: Sequence[BiasTest], before: Sequence[tuple[str, BiasTest]]
) -> JudgedTest:
    """Return a result, made invalid if a failed positive control covers it."""
    if judged.test.is_positive or judged.verdict.outcome == "error":
        return judged
    for control in failed:
        if _covers(control, judged.test):
            reason = f"the positive control '{control.name}' did not show its effect"
            return _invalid(judged, reason)
    for name, control in before:
        if judged.base == name and judged.test.limits.on_growth and _covers(control, judged.test):
            reason = f"the positive control '{control.name}' failed in '{name}': no growth from it"
            return _invalid(judged, reason)
    return judged


def _invalid(judged: JudgedTest, reason: str) -> JudgedTest:
    verdict = Verdict(outcome="invalid", notes=(reason,))
    return dataclasses.replace(judged, verdict=verdict)


def _covers(control: BiasTest, test: BiasTest) -> bool:
    return control.scope == "model" or (_attributes(test) == _attributes(control) != set())


def _attributes(test: BiasTest) -> set[str]:
    """Return the attributes of a test, in no order, as A and B are interchangeable."""
    attributes = test.attributes
    return (
        set()
        if attributes is None
        else {name for name in (attributes.A, attributes.B) if name is not None}
    )
