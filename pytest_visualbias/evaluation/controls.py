"""Compare with untrained controls, and apply positive controls."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.decision_rules import effective_settings
from pytest_visualbias.evaluation.growth_references import (
    BASELINE,
    classes,
    differences,
    lengths,
    reference_models,
    undeclared,
)
from pytest_visualbias.evaluation.judging import decision_rule
from pytest_visualbias.evaluation.measure_tests import measure_test, score_test
from pytest_visualbias.evaluation.scoring import scoring_method, with_cache
from pytest_visualbias.evaluation.verdict import Verdict, judge_control
from pytest_visualbias.spec.effective_settings import excess_base, is_random, judged_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.evaluation.growth_references import GrowthReferences
    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.measurement import EmbeddedModel, Measurement
    from pytest_visualbias.evaluation.scoring import ResultCache
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest


def untrained_models(file: SpecFile, subject: EmbeddedModel) -> set[str]:
    """Return the untrained models that the excess of a model is over; of such a one, none."""
    if is_random(file.spec.models[subject.name]):
        return set()
    return {name for test in file.spec.tests if (name := excess_base(file.spec, test))}


def with_excess(
    file: SpecFile,
    subject: EmbeddedModel,
    test: BiasTest,
    layer: str,
    model: Callable[[str], EmbeddedModel],
    found: Measurement,
    memo: ResultCache,
) -> Measurement:
    """Add how far the effect of a test goes beyond that of the untrained network."""
    name = excess_base(file.spec, test)
    if name is None or is_random(file.spec.models[subject.name]) or found.scores is None:
        return found
    try:
        other = model(name)
        untrained = score_test(file, other, test, layer)
        differing = (
            *differences(other, subject, layer, untrained.sets, found.sets),
            *lengths(other, subject, test, layer),
            *classes(untrained.mean, found.scores, (untrained.asked, found.asked)),
        )
        found = dataclasses.replace(found, differing=(*(found.differing or ()), *differing))
        unlike = undeclared(differing, file.spec.settings.differs)
        if unlike is not None:
            return dataclasses.replace(found, unlike_untrained=unlike)
        measure, plan = with_cache(scoring_method(test), memo), effective_settings(file.spec, test)
        seeded = dataclasses.replace(plan, has_retrainings=False)
        excess = measure.grow(untrained.mean, found.scores, seeded)
        seeds = tuple(measure.test(trial, plan).effect_judged for trial in untrained.trials)
    except VisualBiasError as error:
        if not test.limits.on_excess:
            return found
        return dataclasses.replace(found, problem=f"no excess over '{name}': {error}")
    return dataclasses.replace(
        found, untrained=untrained.mean, untrained_effects=seeds, excess=excess
    )


def failed_before(
    file: SpecFile,
    model: str,
    layer: str,
    earlier: GrowthReferences,
    memo: ResultCache,
) -> list[tuple[str, BiasTest]]:
    """Return the controls that fail in the models that growth is measured from."""
    tests = judged_tests(file.spec, layer)
    growing = [test for test in tests if test.limits.on_growth]
    names = reference_models(file.spec, model, growing, earlier.baseline)
    failed = []
    for name in sorted(names):
        for control in (test for test in tests if test.is_positive):
            try:
                found = measure_test(file, earlier.models(name), control, layer, earlier, memo)
            except VisualBiasError:
                continue  # said by the tests that need it
            if is_random(file.spec.models[name]):
                continue
            rule = decision_rule(file.spec, control)
            effect = found.effect
            holds = (
                effect is not None
                and judge_control(effect, rule, held_before=False).outcome == "pass"
            )
            if not holds:
                failed.append((name, control))
    return failed


def failed_when_recorded(
    spec: BiasSpec, results: Sequence[JudgedTest]
) -> list[tuple[str, BiasTest]]:
    """Return the controls that had failed in the recorded results, as far as there are any."""
    failed = []
    for result in results:
        if not result.test.is_positive or result.base != BASELINE or result.numbers.before is None:
            continue
        measure = scoring_method(result.test)
        effect = measure.test(result.numbers.before, effective_settings(spec, result.test))
        rule = decision_rule(spec, result.test)
        if judge_control(effect, rule, held_before=False).outcome != "pass":
            failed.append((BASELINE, result.test))
    return failed


def apply_control_failures(
    judged: JudgedTest, failed: list[BiasTest], before: list[tuple[str, BiasTest]]
) -> JudgedTest:
    """Return a result, invalid where a failed positive control speaks for it."""
    if judged.test.is_positive or judged.verdict.outcome == "error":
        return judged
    for control in failed:
        if _speaks_for(control, judged.test):
            reason = f"the positive control '{control.name}' did not show its effect"
            return _invalid(judged, reason)
    for name, control in before:
        if (
            judged.base == name
            and judged.test.limits.on_growth
            and _speaks_for(control, judged.test)
        ):
            reason = f"the positive control '{control.name}' failed in '{name}': no growth from it"
            return _invalid(judged, reason)
    return judged


def _invalid(judged: JudgedTest, reason: str) -> JudgedTest:
    verdict = Verdict(outcome="invalid", notes=(reason,))
    return dataclasses.replace(judged, verdict=verdict)


def _speaks_for(control: BiasTest, test: BiasTest) -> bool:
    return control.scope == "model" or (_attributes(test) == _attributes(control) != set())


def _attributes(test: BiasTest) -> set[str]:
    """Return the attributes of a test; which of them is called A says nothing about the model."""
    attributes = test.attributes
    return (
        set()
        if attributes is None
        else {name for name in (attributes.A, attributes.B) if name is not None}
    )
