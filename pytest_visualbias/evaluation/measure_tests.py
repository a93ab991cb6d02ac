"""Measure the tests of a model at its layers."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.embeddings.table import unread_texts
from pytest_visualbias.errors import (
    DegenerateTestError,
    SpecError,
    VisualBiasError,
    printable,
)
from pytest_visualbias.evaluation.baseline_file import entry_key
from pytest_visualbias.evaluation.growth_references import (
    BASELINE,
    differences,
    growth_reference,
    live_entry,
    recorded_scores,
    reference_models,
    undeclared,
)
from pytest_visualbias.evaluation.measurement import Measurement, MeasurementContext, ScoredTest
from pytest_visualbias.evaluation.scoring import scoring_method
from pytest_visualbias.spec.effective_settings import (
    effective_settings,
    excess_base,
    is_gated,
    is_random,
    judged_tests,
    model_points,
)
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.statistics.classifier_gap import OutcomeScores
from pytest_visualbias.stimuli.concept_checks import groups_of
from pytest_visualbias.stimuli.resolve import counted_stimuli

if TYPE_CHECKING:
    from pytest_visualbias.evaluation.baseline import Baseline
    from pytest_visualbias.evaluation.measurement import (
        AnyScores,
        EmbeddedModel,
        GrowthReferences,
        Sets,
    )
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.stimuli.resolve import StimulusSet


# A thread can hold about 100 MB of sums.
_THREADS = 4


def measure_layers(
    file: SpecFile, model: EmbeddedModel, references: GrowthReferences, *, threads: int = 1
) -> dict[str, dict[str, Measurement]]:
    """Measure every test of a model at every layer."""
    return {
        point.name: measure_layer(
            MeasurementContext(file=file, model=model, layer=point.name, references=references),
            threads=threads,
        )
        for point in model_points(file.spec, {})
    }


def measure_layer(context: MeasurementContext, *, threads: int) -> dict[str, Measurement]:
    """Measure all tests at a layer; sorting and adding, which take long, run in threads."""
    spec, model = context.spec, context.model.name
    tests = judged_tests(spec, context.layer)
    references = reference_models(spec, model, tests, context.references.baseline)
    if not is_random(spec.models[model]):
        references |= {name for test in spec.tests if (name := excess_base(spec, test))}
    for name in sorted(references):
        with contextlib.suppress(VisualBiasError):  # reported by the tests that need it
            context.references.models(name)  # embedded here, by one thread
    with ThreadPoolExecutor(min(threads, _THREADS), thread_name_prefix="visualbias") as pool:
        measurements = pool.map(partial(measure_test, context), tests)
        return dict(zip((test.name for test in tests), measurements, strict=True))


def measure_test(context: MeasurementContext, test: BiasTest) -> Measurement:
    """Measure the effect of a test, then its growth and its excess if it has them."""
    try:
        measurement = _measure_effect(context, test)
    except VisualBiasError as error:
        fault = context.file.fault_of(context.model.name, error)
        return Measurement(sets={}, problem=printable(str(fault or error)), fault=fault)
    baseline = context.references.baseline
    if (
        baseline is not None
        and baseline.recording is not None
        and is_gated(context.spec, context.model.name, test)
    ):
        entry = live_entry(context, test, measurement)
        key = entry_key(context.model.name, test.name, context.layer)
        is_recorded = baseline.records(key, entry)
        measurement = dataclasses.replace(measurement, is_recorded=is_recorded)
    source = growth_reference(context.spec, context.model.name, test, baseline)
    if source is not None:
        measurement = _add_growth(context, test, measurement, source)
    untrained = excess_base(context.spec, test)
    if untrained is not None and not is_random(context.spec.models[context.model.name]):
        measurement = _add_excess(context, test, measurement, untrained)
    return measurement


def score_test(context: MeasurementContext, test: BiasTest) -> ScoredTest:
    """Return the scores of every trial of a model, and their mean."""
    sets = _sets(context.model, test)
    words = [stimuli for stimuli in sets.values() if stimuli.templates]
    for table, stimuli in itertools.product(context.tables, words):
        for path, message in unread_texts(table, stimuli):
            raise SpecError([context.file.fault(path, message)])
    try:
        return scoring_method(test).score(context, test, sets)
    except DegenerateTestError as error:
        statement = error.statement + _image_of_row(context.spec, test, error, sets)
        raise DegenerateTestError(statement, error.remedy) from None


def _sets(model: EmbeddedModel, test: BiasTest) -> dict[str, StimulusSet]:
    roles = concepts_of(test)
    for concept in roles.values():
        if concept in model.sets.problems:
            raise SpecError([model.sets.problems[concept]])
    return {role: model.sets.sets[concept] for role, concept in roles.items()}


def _image_of_row(spec: BiasSpec, test: BiasTest, error: DegenerateTestError, sets: Sets) -> str:
    """Return the image of an error's row in brackets; empty if rows are not single images."""
    images = counted_stimuli(test, sets).get(error.role or "")
    if images is None or error.row is None or groups_of(spec, images) is not None:
        return ""
    return f" ({images.stimuli[error.row].name})"


def _measure_effect(context: MeasurementContext, test: BiasTest) -> Measurement:
    scored = score_test(context, test)
    settings, method = effective_settings(context.spec, test), scoring_method(test)
    trials = scored.trials if len(scored.trials) > 1 else ()
    return Measurement(
        sets=scored.sets,
        scores=scored.mean,
        effect=method.test(scored.mean, settings),
        trials=tuple(method.test(trial, settings) for trial in trials),
        target_class=scored.target_class,
    )


def _add_growth(
    context: MeasurementContext, test: BiasTest, measurement: Measurement, source: str | Baseline
) -> Measurement:
    """Add the growth since a model or a record; an error counts if growth has a limit."""
    try:
        if isinstance(source, str):
            before = context.of(context.references.models(source))
            return _grow_from_model(context, test, measurement, before)
        return _grow_from_record(context, test, measurement, source)
    except VisualBiasError as error:
        if not test.limits.on_growth:
            return measurement
        name = f"'{source}'" if isinstance(source, str) else f"the {BASELINE}"
        problem = printable(f"no growth since {name}: {error}")
        return Measurement(sets=measurement.sets, problem=problem)


def _grow_from_model(
    context: MeasurementContext,
    test: BiasTest,
    measurement: Measurement,
    before: MeasurementContext,
) -> Measurement:
    earlier = score_test(before, test)
    differing = (*differences(before, context, test, earlier, measurement),)
    unlike = undeclared(differing, context.spec.settings.differs)
    measurement = dataclasses.replace(measurement, differing=differing, unlike=unlike)
    if unlike is not None:
        return measurement
    # The same weights, whatever file they lie in.
    is_same = _is_same(test, earlier.mean, measurement.scores)
    is_same = is_same or before.model.fingerprints == context.model.fingerprints
    return _grow(context, test, measurement, earlier.mean, is_same=is_same)


def _grow_from_record(
    context: MeasurementContext, test: BiasTest, measurement: Measurement, baseline: Baseline
) -> Measurement:
    """Add the growth since a recorded result, or since itself if this run records it."""
    if measurement.is_recorded:
        return _grow(context, test, measurement, measurement.scores, is_same=False)
    recorded = recorded_scores(baseline, context, test, measurement)
    if recorded.scores is None:
        return dataclasses.replace(measurement, missing=recorded.missing, stale=recorded.stale)
    is_same = _is_same(test, recorded.scores, measurement.scores)
    return _grow(context, test, measurement, recorded.scores, is_same=is_same)


def _grow(
    context: MeasurementContext,
    test: BiasTest,
    measurement: Measurement,
    before: AnyScores | None,
    *,
    is_same: bool,
) -> Measurement:
    """Add the growth since the scores before, and the evidence of the shift."""
    settings, method = effective_settings(context.spec, test), scoring_method(test)
    shift = None
    if test.limits.max_shift is not None and method.shift is not None:
        shift = method.shift(before, measurement.scores, settings)
    return dataclasses.replace(
        measurement,
        before=before,
        is_same=is_same,
        growth=method.grow(before, measurement.scores, settings),
        shift=shift,
    )


def _add_excess(
    context: MeasurementContext, test: BiasTest, measurement: Measurement, name: str
) -> Measurement:
    """Add the excess of an effect over that of the untrained network."""
    if measurement.scores is None:
        return measurement
    try:
        other = context.of(context.references.models(name))
        untrained = score_test(other, test)
        differing = (*differences(other, context, test, untrained, measurement),)
        every = (*(measurement.differing or ()), *differing)
        measurement = dataclasses.replace(measurement, differing=every)
        unlike = undeclared(differing, context.spec.settings.differs)
        if unlike is not None:
            return dataclasses.replace(measurement, unlike_untrained=unlike)
        settings, method = effective_settings(context.spec, test), scoring_method(test)
        seeded = dataclasses.replace(settings, has_retrainings=False)
        excess = method.grow(untrained.mean, measurement.scores, seeded)
        effects = tuple(method.test(trial, settings).effect_judged for trial in untrained.trials)
    except VisualBiasError as error:
        if not test.limits.on_excess:
            return measurement
        return dataclasses.replace(measurement, problem=f"no excess over '{name}': {error}")
    return dataclasses.replace(
        measurement, untrained=untrained.mean, untrained_effects=effects, excess=excess
    )


def _is_same(test: BiasTest, before: AnyScores | None, after: AnyScores | None) -> bool:
    """Return whether all scores are equal, which shows equal networks unless they are rates."""
    if isinstance(after, OutcomeScores) and after.is_rate:
        return False
    method = scoring_method(test)
    old, new = method.by_role(before), method.by_role(after)
    return all(np.array_equal(old[role], new[role]) for role in new)
