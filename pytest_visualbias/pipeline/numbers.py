"""The numbers of one test: scores, effect, and growth since another model."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.baseline.entries import entry_key
from pytest_visualbias.errors import (
    DegenerateTestError,
    EncoderError,
    StimulusError,
    VisualBiasError,
)
from pytest_visualbias.pipeline.comparing import classes, differences, lengths, undeclared
from pytest_visualbias.pipeline.measures import measure_of, remembering
from pytest_visualbias.pipeline.power import plan_of
from pytest_visualbias.pipeline.predictions import asked_of_all, rows_of
from pytest_visualbias.pipeline.recorded import BASELINE, live_entry, origin, past_of
from pytest_visualbias.pipeline.words import unread_words
from pytest_visualbias.pipeline.zero_shot import zero_shot_of
from pytest_visualbias.spec.counting import counted
from pytest_visualbias.spec.document import printable
from pytest_visualbias.spec.groups import grouped
from pytest_visualbias.spec.roles import is_gated
from pytest_visualbias.spec.sets import concepts_of
from pytest_visualbias.statistics import OutcomeScores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.baseline.sources import Baseline
    from pytest_visualbias.pipeline.comparing import Difference
    from pytest_visualbias.pipeline.embedding import Measured
    from pytest_visualbias.pipeline.measures import AnyScores, Measure
    from pytest_visualbias.pipeline.predictions import Asked
    from pytest_visualbias.pipeline.preflight import ModelSets
    from pytest_visualbias.pipeline.recorded import Earlier
    from pytest_visualbias.pipeline.remembered import Remembered
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasTest
    from pytest_visualbias.spec.stimuli import StimulusSet
    from pytest_visualbias.statistics import ChangeResult, EffectResult, Evidence, ZeroShotResult

__all__ = ["Numbers", "Subject", "numbers_of", "scored"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model with its sets, embedded."""

    name: str
    sets: ModelSets
    measured: Measured


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Numbers:
    """What was computed for one test, before it is judged.

    Attributes
    ----------
    sets : mapping of str to StimulusSet
        By role.
    scores : AnyScores or None
        Averaged over trials.
    effect : EffectResult or None
        Of these scores.
    trials : tuple of EffectResult
        One per trial, where there are several.
    before : AnyScores or None
        Of the model that growth is measured from.
    growth : ChangeResult or None
        Since the model that growth is measured from.
    shift : Evidence or None
        Of the shift since that model, where a limit is on it.
    differing : tuple of Difference or None
        In what this measurement differs from those it is compared with; None where it is not.
    unlike : str or None
        In what that model's measurement differs so that there is no growth, and what to do.
    untrained : AnyScores or None
        Of the untrained model that the excess is over.
    untrained_effects : tuple of float
        The judged effect of each of its seeds.
    excess : ChangeResult or None
        From that model to this one.
    unlike_untrained : str or None
        In what that model's measurement differs so that there is no excess.
    missing : str or None
        That growth is measured since a record that has no entry of it, and what to do.
    stale : str or None
        In what the entry of a record differs so that there is no growth, and what to do.
    is_recorded : bool
        Whether this run is to record the numbers.
    problem : str or None
        Why there are no numbers.
    asked : Asked or None
        Which class a classifier was asked about.
    zero_shot : ZeroShotResult or None
        To which words its images are nearest, where it has both.
    is_same : bool
        Whether that model gives every image the same score.
    """

    sets: Mapping[str, StimulusSet]
    scores: AnyScores | None = None
    effect: EffectResult | None = None
    trials: tuple[EffectResult, ...] = ()
    before: AnyScores | None = None
    growth: ChangeResult | None = None
    shift: Evidence | None = None
    differing: tuple[Difference, ...] | None = None
    unlike: str | None = None
    untrained: AnyScores | None = None
    untrained_effects: tuple[float, ...] = ()
    excess: ChangeResult | None = None
    unlike_untrained: str | None = None
    missing: str | None = None
    stale: str | None = None
    is_recorded: bool = False
    problem: str | None = None
    asked: Asked | None = None
    zero_shot: ZeroShotResult | None = None
    is_same: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scored:
    """The scores of one test of a model: of every trial, and their mean, which is tested."""

    sets: Mapping[str, StimulusSet]
    trials: tuple[AnyScores, ...]
    mean: AnyScores
    asked: Asked | None = None
    zero_shot: ZeroShotResult | None = None


def numbers_of(
    file: SpecFile,
    subject: Subject,
    test: BiasTest,
    layer: str,
    earlier: Earlier,
    memo: Remembered,
) -> Numbers:
    """Compute one test of a model at a layer.

    Parameters
    ----------
    file : SpecFile
        The spec.
    subject : Subject
        The model.
    test : BiasTest
        The test.
    layer : str
        The name of the layer.
    earlier : Earlier
        What growth may be measured from.
    memo : Remembered
        Results of former runs.

    Returns
    -------
    Numbers
        With a `problem` where a set, an image or an embedding does not allow the test.
    """
    try:
        found = _effect(file, test, scored(file, subject, test, layer), memo)
    except VisualBiasError as error:
        return Numbers(sets={}, problem=printable(_placed(file, subject, error)))
    found = _marked(file, subject, test, layer, earlier.baseline, found)
    source = origin(file.spec, subject.name, test, earlier.baseline)
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
        return Numbers(sets=found.sets, problem=printable(f"no growth since {what}: {error}"))


def _placed(file: SpecFile, subject: Subject, error: VisualBiasError) -> str:
    """Say what is wrong; of a model, at its line."""
    if not isinstance(error, EncoderError):
        return str(error)
    return file.sentence(("models", subject.name), str(error))


def _marked(
    file: SpecFile,
    subject: Subject,
    test: BiasTest,
    layer: str,
    baseline: Baseline | None,
    found: Numbers,
) -> Numbers:
    """Say whether this run records numbers."""
    if baseline is None or not is_gated(file.spec, subject.name, test):
        return found
    entry = live_entry(subject, test, layer, found)
    is_recorded = baseline.records(entry_key(subject.name, test.name, layer), entry)
    return dataclasses.replace(found, is_recorded=is_recorded)


def scored(file: SpecFile, subject: Subject, test: BiasTest, layer: str) -> Scored:
    """Return the scores of every trial of a model, and their mean."""
    every = _sets(subject, test)
    sets = counted(test, every)
    plan, trials = plan_of(file.spec, test), subject.measured.trials
    module = next(point.module for point in subject.measured.points if point.name == layer)
    asked = asked_of_all(file.spec, test, trials, module=module)
    measures = [measure_of(test, of) for of in asked]
    tables = [trial.tables[layer] for trial in trials]
    for table, stimuli in itertools.product(tables, sets.values()):
        for path, message in unread_words(table, stimuli):
            raise StimulusError(file.sentence(path, message))
    images, sets = sets, {role: grouped(file.spec, one) for role, one in sets.items()}
    try:
        rows = [rows_of(file.spec, test, table, images, every) for table in tables]
        found = [one.score(own, plan) for one, own in zip(measures, rows, strict=True)]
    except DegenerateTestError as error:
        raise DegenerateTestError(_named(error, images, sets)) from None
    return Scored(
        sets=sets,
        trials=tuple(found),
        mean=measures[0].mean(found),
        asked=asked[0],
        zero_shot=zero_shot_of(sets, rows),
    )


def _sets(subject: Subject, test: BiasTest) -> dict[str, StimulusSet]:
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


def _effect(file: SpecFile, test: BiasTest, found: Scored, memo: Remembered) -> Numbers:
    plan, measure = plan_of(file.spec, test), remembering(measure_of(test), memo)
    mean, *trials = (
        measure.test(scores, plan)
        for scores in (found.mean, *(found.trials if len(found.trials) > 1 else ()))
    )
    return Numbers(
        sets=found.sets,
        scores=found.mean,
        effect=mean,
        trials=tuple(trials),
        asked=found.asked,
        zero_shot=found.zero_shot,
    )


def _with_growth(
    file: SpecFile,
    subject: Subject,
    before: Subject,
    test: BiasTest,
    layer: str,
    found: Numbers,
    memo: Remembered,
) -> Numbers:
    earlier = scored(file, before, test, layer)
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
    measure = remembering(measure_of(test), memo)
    # The same weights, whatever file they lie in.
    is_same = _is_same(earlier.mean, found.scores, measure) or _weights(before) == _weights(subject)
    found = dataclasses.replace(found, before=earlier.mean, is_same=is_same)
    return _changed(file, test, found, measure)


def _since_record(
    file: SpecFile,
    subject: Subject,
    baseline: Baseline,
    test: BiasTest,
    layer: str,
    found: Numbers,
    memo: Remembered,
) -> Numbers:
    """Add the growth since a recorded result; since itself, where it is about to be recorded."""
    before = found.scores
    if not found.is_recorded:
        differs = file.spec.settings.differs
        past = past_of(baseline, subject, test, layer, found, differs)
        if past.scores is None:
            return dataclasses.replace(found, missing=past.missing, stale=past.stale)
        before = past.scores
    measure = remembering(measure_of(test), memo)
    is_same = not found.is_recorded and _is_same(before, found.scores, measure)
    return _changed(file, test, dataclasses.replace(found, before=before, is_same=is_same), measure)


def _changed(file: SpecFile, test: BiasTest, found: Numbers, measure: Measure[Any]) -> Numbers:
    """Add the growth since the scores before, and the evidence of the shift."""
    plan = plan_of(file.spec, test)
    growth = measure.grow(found.before, found.scores, plan)
    shift = None
    if test.limits.max_shift is not None and measure.shift is not None:
        shift = measure.shift(found.before, found.scores, plan)
    return dataclasses.replace(found, growth=growth, shift=shift)


def _weights(subject: Subject) -> list[str]:
    return [trial.fingerprint for trial in subject.measured.trials]


def _is_same(before: AnyScores | None, after: AnyScores | None, measure: Measure[Any]) -> bool:
    """Whether all images score alike, as no two networks do; equal predictions are nothing rare."""
    if isinstance(after, OutcomeScores) and after.is_rate:
        return False
    old, new = measure.by_role(before), measure.by_role(after)
    return all(np.array_equal(old[role], new[role]) for role in new)
