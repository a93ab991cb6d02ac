"""Measure a test at a layer of a model."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.embeddings.text_embeddings import unread_texts
from pytest_visualbias.errors import (
    DegenerateTestError,
    EncoderError,
    StimulusError,
    VisualBiasError,
    printable,
)
from pytest_visualbias.evaluation.baseline.entry import entry_key
from pytest_visualbias.evaluation.classifier_scoring import prediction_rows, target_classes
from pytest_visualbias.evaluation.decision_rules import effective_settings
from pytest_visualbias.evaluation.growth_references import (
    BASELINE,
    classes,
    differences,
    growth_reference,
    lengths,
    live_entry,
    recorded_scores,
    undeclared,
)
from pytest_visualbias.evaluation.measurement import EmbeddedModel, Measurement, ScoredTest
from pytest_visualbias.evaluation.scoring import scoring_method, with_cache
from pytest_visualbias.spec.effective_settings import is_gated
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.statistics.classifier_gap import OutcomeScores
from pytest_visualbias.stimuli.concept_checks import group_stimuli
from pytest_visualbias.stimuli.resolve import counted_stimuli

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.evaluation.baseline.sources import Baseline
    from pytest_visualbias.evaluation.growth_references import GrowthReferences
    from pytest_visualbias.evaluation.scoring import AnyScores, ResultCache, ScoringMethod
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.stimuli.resolve import StimulusSet


def measure_test(
    file: SpecFile,
    subject: EmbeddedModel,
    test: BiasTest,
    layer: str,
    earlier: GrowthReferences,
    memo: ResultCache,
) -> Measurement:
    """Compute one test of a model at a layer."""
    try:
        found = _effect(file, test, score_test(file, subject, test, layer), memo)
    except VisualBiasError as error:
        return Measurement(sets={}, problem=printable(_placed(file, subject, error)))
    found = _marked(file, subject, test, layer, earlier.baseline, found)
    source = growth_reference(file.spec, subject.name, test, earlier.baseline)
    if source is None:
        return found
    try:
        if isinstance(source, str):
            before = earlier.models(source)
            return _with_growth(file, subject, before, test, layer, found, memo)
        return _since_record(file, subject, source, test, layer, found, memo)
    except VisualBiasError as error:
        if not test.limits.on_growth:
            return found
        what = f"'{source}'" if isinstance(source, str) else f"the {BASELINE}"
        return Measurement(sets=found.sets, problem=printable(f"no growth since {what}: {error}"))


def _placed(file: SpecFile, subject: EmbeddedModel, error: VisualBiasError) -> str:
    """Say what is wrong; of a model, at its line."""
    if not isinstance(error, EncoderError):
        return str(error)
    return file.sentence(("models", subject.name), str(error))


def _marked(
    file: SpecFile,
    subject: EmbeddedModel,
    test: BiasTest,
    layer: str,
    baseline: Baseline | None,
    measurement: Measurement,
) -> Measurement:
    """Say whether this run records numbers."""
    if baseline is None or not is_gated(file.spec, subject.name, test):
        return measurement
    entry = live_entry(subject, test, layer, measurement)
    is_recorded = baseline.records(entry_key(subject.name, test.name, layer), entry)
    return dataclasses.replace(measurement, is_recorded=is_recorded)


def score_test(file: SpecFile, subject: EmbeddedModel, test: BiasTest, layer: str) -> ScoredTest:
    """Return the scores of every trial of a model, and their mean."""
    every = _sets(subject, test)
    sets = counted_stimuli(test, every)
    plan, trials = effective_settings(file.spec, test), subject.measured.trials
    module = next(point.module for point in subject.measured.points if point.name == layer)
    asked = target_classes(file.spec, test, trials, module=module)
    measures = [scoring_method(test, of) for of in asked]
    tables = [trial.tables[layer] for trial in trials]
    for table, stimuli in itertools.product(tables, sets.values()):
        for path, message in unread_texts(table, stimuli):
            raise StimulusError(file.sentence(path, message))
    images, sets = sets, {role: group_stimuli(file.spec, one) for role, one in sets.items()}
    try:
        rows = [prediction_rows(file.spec, test, table, images, every) for table in tables]
        found = [one.score(own, plan) for one, own in zip(measures, rows, strict=True)]
    except DegenerateTestError as error:
        raise DegenerateTestError(_named(error, images, sets)) from None
    return ScoredTest(
        sets=sets,
        trials=tuple(found),
        mean=measures[0].mean(found),
        asked=asked[0],
    )


def _sets(subject: EmbeddedModel, test: BiasTest) -> dict[str, StimulusSet]:
    roles = concepts_of(test)
    for concept in roles.values():
        if concept in subject.sets.problems:
            raise StimulusError(subject.sets.problems[concept])
    return {role: subject.sets.sets[concept] for role, concept in roles.items()}


def _named(
    error: DegenerateTestError, images: Mapping[str, StimulusSet], sets: Mapping[str, StimulusSet]
) -> str:
    """Say which image a row is; of groups, a row may be either."""
    if error.role is None or error.role not in sets or error.row is None:
        return str(error)
    if images[error.role] != sets[error.role]:
        return str(error)
    return f"{error} ({sets[error.role].stimuli[error.row].name})"


def _effect(
    file: SpecFile, test: BiasTest, scored_test: ScoredTest, memo: ResultCache
) -> Measurement:
    plan, measure = effective_settings(file.spec, test), with_cache(scoring_method(test), memo)
    mean, *trials = (
        measure.test(scores, plan)
        for scores in (
            scored_test.mean,
            *(scored_test.trials if len(scored_test.trials) > 1 else ()),
        )
    )
    return Measurement(
        sets=scored_test.sets,
        scores=scored_test.mean,
        effect=mean,
        trials=tuple(trials),
        asked=scored_test.asked,
    )


def _with_growth(
    file: SpecFile,
    subject: EmbeddedModel,
    before: EmbeddedModel,
    test: BiasTest,
    layer: str,
    found: Measurement,
    memo: ResultCache,
) -> Measurement:
    earlier = score_test(file, before, test, layer)
    if found.scores is None:
        return found
    differing = (
        *differences(before, subject, layer, earlier.sets, found.sets),
        *lengths(before, subject, test, layer),
        *classes(earlier.mean, found.scores, (earlier.asked, found.asked)),
    )
    unlike = undeclared(differing, file.spec.settings.differs)
    found = dataclasses.replace(found, differing=differing, unlike=unlike)
    if unlike is not None:
        return found
    measure = with_cache(scoring_method(test), memo)
    # The same weights, whatever file they lie in.
    is_same = _is_same(earlier.mean, found.scores, measure) or _weights(before) == _weights(subject)
    found = dataclasses.replace(found, before=earlier.mean, is_same=is_same)
    return _changed(file, test, found, measure)


def _since_record(
    file: SpecFile,
    subject: EmbeddedModel,
    baseline: Baseline,
    test: BiasTest,
    layer: str,
    measurement: Measurement,
    memo: ResultCache,
) -> Measurement:
    """Add the growth since a recorded result; since itself, where it is about to be recorded."""
    before = measurement.scores
    if not measurement.is_recorded:
        differs = file.spec.settings.differs
        past = recorded_scores(baseline, subject, test, layer, measurement, differs)
        if past.scores is None:
            return dataclasses.replace(measurement, missing=past.missing, stale=past.stale)
        before = past.scores
    measure = with_cache(scoring_method(test), memo)
    is_same = not measurement.is_recorded and _is_same(before, measurement.scores, measure)
    return _changed(
        file, test, dataclasses.replace(measurement, before=before, is_same=is_same), measure
    )


def _changed(
    file: SpecFile, test: BiasTest, measurement: Measurement, measure: ScoringMethod[Any]
) -> Measurement:
    """Add the growth since the scores before, and the evidence of the shift."""
    plan = effective_settings(file.spec, test)
    growth = measure.grow(measurement.before, measurement.scores, plan)
    shift = None
    if test.limits.max_shift is not None and measure.shift is not None:
        shift = measure.shift(measurement.before, measurement.scores, plan)
    return dataclasses.replace(measurement, growth=growth, shift=shift)


def _weights(subject: EmbeddedModel) -> list[str]:
    return [trial.fingerprint for trial in subject.measured.trials]


def _is_same(
    before: AnyScores | None, after: AnyScores | None, measure: ScoringMethod[Any]
) -> bool:
    """Whether all images score alike, as no two networks do; equal predictions are nothing rare."""
    if isinstance(after, OutcomeScores) and after.is_rate:
        return False
    old, new = measure.by_role(before), measure.by_role(after)
    return all(np.array_equal(old[role], new[role]) for role in new)
