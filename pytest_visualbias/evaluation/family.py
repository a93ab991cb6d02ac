"""Measure all tests of a model, correct their p-values together and judge them."""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.controls import (
    apply_controls,
    failed_before,
    failed_when_recorded,
)
from pytest_visualbias.evaluation.decision_rules import declared_family, interval_count
from pytest_visualbias.evaluation.growth_references import reference_models, reference_name
from pytest_visualbias.evaluation.judging import JudgedTest, judge_test, waiver_for
from pytest_visualbias.evaluation.measure_tests import measure_test, untrained_models
from pytest_visualbias.evaluation.measurement import MeasurementContext
from pytest_visualbias.evaluation.verdict import CorrectedP
from pytest_visualbias.spec.effective_settings import gated_layers_of, judged_tests, model_points
from pytest_visualbias.statistics.evidence import Evidence
from pytest_visualbias.statistics.multiple_testing import adjust

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Hashable, Mapping, Sequence

    from pytest_visualbias.evaluation.measurement import (
        EmbeddedModel,
        GrowthReferences,
        Measurement,
    )
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec

P = TypeVar("P", bound="Hashable")


def corrected_p(
    spec: BiasSpec,
    numbers: Mapping[P, Mapping[str, Measurement]],
    members: Sequence[tuple[P, str, str]],
) -> dict[P, dict[tuple[str, str], float]]:
    """Correct the p-values of a family."""
    results = [getattr(numbers[place][name], change) for place, name, change in members]
    raw = [result.p_verdict if isinstance(result, Evidence) else 1.0 for result in results]
    corrected: dict[P, dict[tuple[str, str], float]] = {place: {} for place in numbers}
    adjusted = adjust(raw, spec.settings.correction)
    for (place, name, change), p in zip(members, adjusted, strict=True):
        corrected[place][name, change] = p
    return corrected


# What a verdict says besides where its numbers are about to be recorded.
RECORDED = "recorded"

# Each may hold some 100 MB for a while.
_THREADS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedFamily:
    """The tests of one layer, in the order of the spec; the correction is over all gated layers."""

    results: tuple[JudgedTest, ...]
    size: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FamilyContext:
    """A layer of a model, whose tests are judged."""

    file: SpecFile
    model: str
    layer: str
    references: GrowthReferences
    checkpoints: int = 1

    def of(self, model: EmbeddedModel) -> MeasurementContext:
        """Return the context in which the tests of an embedded model are measured."""
        return MeasurementContext(
            file=self.file, model=model, layer=self.layer, references=self.references
        )


def judge_model(
    file: SpecFile,
    model: EmbeddedModel,
    references: GrowthReferences,
    *,
    today: dt.date,
    threads: int = 1,
) -> dict[str, JudgedFamily]:
    """Measure every test of a model at every layer, correct all p-values together, and judge."""
    contexts = [
        FamilyContext(file=file, model=model.name, layer=point.name, references=references)
        for point in model_points(file.spec, {})
    ]
    measured = {context.layer: measure_tests(context.of(model), threads) for context in contexts}
    members = declared_family(file.spec, model.name)
    corrected = corrected_p(file.spec, measured, members)
    families = {}
    for context in contexts:
        layer = context.layer
        results = judge_tests(context, measured[layer], corrected[layer], today=today)
        families[layer] = JudgedFamily(results=results, size=len(members))
    return families


def measure_tests(context: MeasurementContext, threads: int) -> dict[str, Measurement]:
    """Measure all tests at a layer; what takes long there, sorting and adding, frees threads."""
    spec, model = context.spec, context.model.name
    tests = judged_tests(spec, context.layer)
    references = reference_models(spec, model, tests, context.references.baseline)
    for name in sorted(references | untrained_models(spec, model)):
        with contextlib.suppress(VisualBiasError):  # reported by the tests that need it
            context.references.models(name)  # embedded here, by one thread
    with ThreadPoolExecutor(min(threads, _THREADS), thread_name_prefix="visualbias") as pool:
        measurements = pool.map(partial(measure_test, context), tests)
        return dict(zip((test.name for test in tests), measurements, strict=True))


def judge_tests(
    context: FamilyContext,
    measured: Mapping[str, Measurement],
    corrected: Mapping[tuple[str, str], float],
    *,
    today: dt.date,
) -> tuple[JudgedTest, ...]:
    """Judge every test by its corrected p-values, and then by what the positive controls show."""
    spec, model = context.file.spec, context.model
    is_corrected = spec.settings.correction != "none"
    intervals = context.checkpoints * interval_count(spec, model) if is_corrected else 1
    results = []
    for test in judged_tests(spec, context.layer):
        measurement = measured[test.name]
        p = CorrectedP(
            effect=corrected.get((test.name, "effect")),
            growth=corrected.get((test.name, "growth")),
            shift=corrected.get((test.name, "shift")),
            excess=corrected.get((test.name, "excess")),
            intervals=intervals,
        )
        waiver = waiver_for(spec, model, test, context.layer, today)
        verdict = judge_test(spec, model, test, measurement, waiver, p)
        if verdict.outcome == "pass" and context.layer not in gated_layers_of(spec, test):
            notes = (f"the layer '{context.layer}' is not gated, reported only",)
            verdict = dataclasses.replace(verdict, notes=notes)
        if measurement.is_recorded and verdict.outcome != "error":
            verdict = dataclasses.replace(verdict, notes=(*verdict.notes, RECORDED))
        results.append(
            JudgedTest(
                test=test,
                numbers=measurement,
                verdict=verdict,
                base=reference_name(spec, model, test, context.references.baseline),
                accept=waiver.accept if waiver is not None else None,
                p=p,
            )
        )
    if not any(test.is_positive for test in spec.tests):
        return tuple(results)
    return apply_controls(
        results,
        [
            *failed_before(context.file, model, context.layer, context.references),
            *failed_when_recorded(spec, results),
        ],
    )
