"""Positive controls: what their failing says of the tests that they speak for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.judging import rule_of
from pytest_visualbias.pipeline.measures import measure_of
from pytest_visualbias.pipeline.numbers import numbers_of
from pytest_visualbias.pipeline.power import plan_of
from pytest_visualbias.pipeline.recorded import BASELINE, origin_models
from pytest_visualbias.spec.layers import made_at
from pytest_visualbias.spec.roles import is_random
from pytest_visualbias.verdict import Verdict, judge_control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.pipeline.family import Judged
    from pytest_visualbias.pipeline.recorded import Earlier
    from pytest_visualbias.pipeline.remembered import Remembered
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = ["failed_before", "failed_when_recorded", "under"]


def failed_before(
    file: SpecFile,
    model: str,
    layer: str,
    earlier: Earlier,
    memo: Remembered,
) -> list[tuple[str, BiasTest]]:
    """Return the controls that fail in the models that growth is measured from."""
    tests = made_at(file.spec, layer)
    growing = [test for test in tests if test.limits.on_growth]
    names = origin_models(file.spec, model, growing, earlier.baseline)
    failed = []
    for name in sorted(names):
        for control in (test for test in tests if test.is_positive):
            try:
                found = numbers_of(file, earlier.models(name), control, layer, earlier, memo)
            except VisualBiasError:
                continue  # said by the tests that need it
            if is_random(file.spec.models[name]):
                continue
            rule = rule_of(file.spec, control)
            effect = found.effect
            holds = (
                effect is not None
                and judge_control(effect, rule, held_before=False).outcome == "pass"
            )
            if not holds:
                failed.append((name, control))
    return failed


def failed_when_recorded(spec: BiasSpec, results: Sequence[Judged]) -> list[tuple[str, BiasTest]]:
    """Return the controls that had failed in the recorded results, as far as there are any."""
    failed = []
    for one in results:
        if not one.test.is_positive or one.base != BASELINE or one.numbers.before is None:
            continue
        measure = measure_of(one.test)
        effect = measure.test(one.numbers.before, plan_of(spec, one.test))
        rule = rule_of(spec, one.test)
        if judge_control(effect, rule, held_before=False).outcome != "pass":
            failed.append((BASELINE, one.test))
    return failed


def under(judged: Judged, failed: list[BiasTest], before: list[tuple[str, BiasTest]]) -> Judged:
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


def _invalid(judged: Judged, reason: str) -> Judged:
    verdict = Verdict(outcome="invalid", notes=(reason,))
    return dataclasses.replace(judged, verdict=verdict)


def _speaks_for(control: BiasTest, test: BiasTest) -> bool:
    return control.scope == "model" or (_attributes(test) == _attributes(control) != set())


def _attributes(test: BiasTest) -> set[str]:
    """Return the attributes of a test; which of them is called A says nothing about the model."""
    own = test.attributes
    return set() if own is None else {name for name in (own.A, own.B) if name is not None}
