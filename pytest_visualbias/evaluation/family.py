"""Measure all tests of a model, correct their p-values together and judge them."""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.evaluation.controls import (
    apply_control_failures,
    failed_before,
    failed_when_recorded,
    untrained_models,
    with_excess,
)
from pytest_visualbias.evaluation.decision_rules import declared_family, interval_count
from pytest_visualbias.evaluation.growth_references import reference_models, reference_name
from pytest_visualbias.evaluation.judging import JudgedTest, judge_test, waiver_for
from pytest_visualbias.evaluation.measure_tests import measure_test
from pytest_visualbias.evaluation.scoring import ResultCache
from pytest_visualbias.evaluation.verdict import CorrectedP
from pytest_visualbias.spec.effective_settings import gated_layers_of, judged_tests, model_points
from pytest_visualbias.statistics.evidence import Evidence
from pytest_visualbias.statistics.multiple_testing import adjust

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Hashable, Mapping, Sequence

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.evaluation.growth_references import GrowthReferences
    from pytest_visualbias.evaluation.measurement import EmbeddedModel, Measurement
    from pytest_visualbias.evaluation.verdict import Verdict
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec

P = TypeVar("P", bound="Hashable")


def corrected_p(
    spec: BiasSpec,
    numbers: Mapping[P, Mapping[str, Measurement]],
    members: Sequence[tuple[P, str, str]],
) -> dict[P, dict[tuple[str, str], float]]:
    """Correct the p-values of a family."""
    results = [getattr(numbers[place][name], what) for place, name, what in members]
    raw = [result.p_verdict if isinstance(result, Evidence) else 1.0 for result in results]
    found: dict[P, dict[tuple[str, str], float]] = {place: {} for place in numbers}
    adjusted = adjust(raw, spec.settings.correction)
    for (place, name, what), p in zip(members, adjusted, strict=True):
        found[place][name, what] = p
    return found


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
    """Where tests are made: a layer of a model."""

    file: SpecFile
    model: str
    layer: str
    earlier: GrowthReferences
    memo: ResultCache
    checkpoints: int = 1


def families(
    file: SpecFile,
    subject: EmbeddedModel,
    earlier: GrowthReferences,
    *,
    today: dt.date,
    threads: int = 1,
    cache: EmbeddingCache | None = None,
) -> dict[str, JudgedFamily]:
    """Test and judge everything that a spec declares for a model."""
    places = []
    for point in model_points(file.spec, {}):
        memo = ResultCache.inside(cache, spec=file.file, model=subject.name, layer=point.name)
        places.append(
            FamilyContext(
                file=file, model=subject.name, layer=point.name, earlier=earlier, memo=memo
            )
        )
    numbers = {place.layer: measure_family(place, subject, threads) for place in places}
    members = declared_family(file.spec, subject.name)
    corrected = corrected_p(file.spec, numbers, members)
    found = {}
    for place in places:
        layer = place.layer
        results = judge_family(place, numbers[layer], corrected[layer], today=today)
        found[layer] = JudgedFamily(results=results, size=len(members))
        place.memo.save()
    return found


def judge_family(
    place: FamilyContext,
    numbers: Mapping[str, Measurement],
    corrected: Mapping[tuple[str, str], float],
    *,
    today: dt.date,
) -> tuple[JudgedTest, ...]:
    """Judge every test by its corrected p, and then by what the positive controls show."""
    spec, model, earlier = place.file.spec, place.model, place.earlier
    is_corrected = spec.settings.correction != "none"
    intervals = place.checkpoints * interval_count(spec, model) if is_corrected else 1
    results = []
    for test in judged_tests(spec, place.layer):
        found = numbers[test.name]
        p = CorrectedP(
            effect=corrected.get((test.name, "effect")),
            growth=corrected.get((test.name, "growth")),
            shift=corrected.get((test.name, "shift")),
            excess=corrected.get((test.name, "excess")),
            intervals=intervals,
        )
        waiver = waiver_for(spec, model, test, place.layer, today)
        verdict = judge_test(spec, model, test, found, waiver, p)
        if verdict.outcome == "pass" and place.layer not in gated_layers_of(spec, test):
            notes = (f"the layer '{place.layer}' is not gated, reported only",)
            verdict = dataclasses.replace(verdict, notes=notes)
        judged = JudgedTest(
            test=test,
            numbers=found,
            verdict=_marked(verdict, found),
            base=reference_name(spec, model, test, earlier.baseline),
            accept=waiver.accept if waiver is not None else None,
            p=p,
        )
        results.append(judged)
    failed = [
        result.test
        for result in results
        if result.test.is_positive and result.verdict.outcome != "pass"
    ]
    before = [
        *failed_before(place.file, model, place.layer, earlier, place.memo),
        *failed_when_recorded(spec, results),
    ]
    return tuple(apply_control_failures(one, failed, before) for one in results)


def measure_family(
    place: FamilyContext, subject: EmbeddedModel, threads: int
) -> dict[str, Measurement]:
    """Compute all tests; what takes long there, sorting and adding, lets other threads run."""
    file, layer, earlier, memo = place.file, place.layer, place.earlier, place.memo
    spec = file.spec
    tests = judged_tests(spec, layer)
    needed = reference_models(spec, subject.name, tests, earlier.baseline)
    for name in sorted(needed | untrained_models(file, subject)):
        with contextlib.suppress(VisualBiasError):  # said by the tests that need it
            earlier.models(name)  # measured here, by one thread
    with ThreadPoolExecutor(min(threads, _THREADS), thread_name_prefix="visualbias") as pool:
        found = pool.map(
            lambda test: with_excess(
                *(file, subject, test, layer, earlier.models),
                measure_test(file, subject, test, layer, earlier, memo),
                memo,
            ),
            tests,
        )
        return {test.name: one for test, one in zip(tests, found, strict=True)}


def _marked(verdict: Verdict, measurement: Measurement) -> Verdict:
    """Return a verdict that says where its numbers are about to be recorded."""
    if not measurement.is_recorded or verdict.outcome == "error":
        return verdict
    return dataclasses.replace(verdict, notes=(*verdict.notes, RECORDED))
