"""Choose what growth is measured from, a model or a record, and check comparability."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.errors import BaselineError
from pytest_visualbias.evaluation.baseline_file import (
    TOLERANCE,
    BaselineEntry,
    RecordedReadOut,
    Stimuli,
    difference,
    entry_key,
    plain,
)
from pytest_visualbias.evaluation.classifier_scoring import prediction_of
from pytest_visualbias.evaluation.measurement import ALIKE, Difference
from pytest_visualbias.evaluation.scoring import RestoredScores, scoring_method
from pytest_visualbias.results import BasisRecord
from pytest_visualbias.spec.effective_settings import (
    LOGITS,
    POOLED,
    PROBABILITIES,
    growth_base,
    is_origin,
    is_random,
)
from pytest_visualbias.spec.model_entries import OWN_PRECISION
from pytest_visualbias.statistics.classifier_gap import OutcomeScores
from pytest_visualbias.statistics.scores import GrowthBasis

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.evaluation.baseline import Baseline
    from pytest_visualbias.evaluation.baseline_file import Unlike
    from pytest_visualbias.evaluation.measurement import (
        AnyScores,
        Measurement,
        MeasurementContext,
        ScoredTest,
    )
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

READ = (LOGITS, PROBABILITIES)


def differences(
    before: MeasurementContext,
    after: MeasurementContext,
    test: BiasTest,
    earlier: ScoredTest,
    later: Measurement,
) -> Iterator[Difference]:
    """Yield the differences that make two measurements of a test incomparable."""
    for role, stimuli in later.sets.items():
        if earlier.sets[role].digest != stimuli.digest:
            sizes = f"{len(earlier.sets[role])} and {len(stimuli)} images"
            text = f"stimuli of {role} ('{stimuli.concept}': {sizes})"
            yield Difference(name="stimuli", text=text, is_declarable=False)
    yield from _read_outs(before, after)
    yield from _preparations(before, after)
    if test.prediction is None:
        yield from _lengths(before, after)
    else:
        yield from _classes(earlier, later)


def _preparations(before: MeasurementContext, after: MeasurementContext) -> Iterator[Difference]:
    """Yield differences in pooling, precision and preprocessing."""
    old, new = before.point.pooling, after.point.pooling
    if old != new:
        yield Difference(name="pooling", text=f"pooling ({old} and {new})")
    bits = [context.model.measured.trials[0].precision for context in (before, after)]
    is_known = OWN_PRECISION not in bits
    # Stored vectors have no precision of their own.
    if "" not in bits and (bits[0] != bits[1] or not is_known):
        text = f"precision ({bits[0]} and {bits[1]})"
        yield Difference(name="precision", text=text, is_known=is_known)
    first, second = (context.tables[0].preprocessing for context in (before, after))
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            name = f"preprocessing.{key}"
            yield Difference(name=name, text=f"{name} ({first.get(key)} and {second.get(key)})")


def _read_outs(before: MeasurementContext, after: MeasurementContext) -> Iterator[Difference]:
    """Yield a difference in the module that `pooled` is read at, if networks state it."""
    if any(context.point.module != POOLED for context in (before, after)):
        return
    trials = [context.model.measured.trials[0] for context in (before, after)]
    old, new = trials[0].read_at(before.point), trials[1].read_at(after.point)
    is_alike = len({trial.facts.get("source") for trial in trials}) == 1
    if "" in (old.side, new.side):
        return
    if old.side != new.side or (is_alike and old.module != new.module):
        text = (
            f"read-out of '{POOLED}' ({old.side} of '{old.module}' and {new.side} of "
            f"'{new.module}')"
        )
        remedy = f"name one layer for both, such as 'layers: {{{POOLED}: LAYER}}' at each model"
        yield Difference(name="read_out", text=text, remedy=remedy)


def _classes(earlier: ScoredTest, later: Measurement) -> Iterator[Difference]:
    """Yield differences in the classes of two classifiers."""
    before, after = earlier.mean, later.scores
    if not isinstance(before, OutcomeScores) or not isinstance(after, OutcomeScores):
        return
    if before.classes != after.classes:
        text = f"number of classes ({before.classes} and {after.classes})"
        yield Difference(name="classes", text=text, is_declarable=False)
    old, new = earlier.target_class, later.target_class
    if old is not None and new is not None and old.name and new.name and old.name != new.name:
        text = f"class {new.index} ('{old.name}' and '{new.name}')"
        yield Difference(name="classes", text=text, is_declarable=False)


def _lengths(before: MeasurementContext, after: MeasurementContext) -> Iterator[Difference]:
    """Yield a difference in the lengths of vectors."""
    if after.point.pooling == "flatten":  # large maps are stored as shorter vectors
        return
    # Stored vectors and files need not hold the same images, so any vector serves.
    old, new = (next(iter(context.tables[0].vectors.values())).size for context in (before, after))
    if old != new:
        text = f"dimension: the length of their vectors ({old} and {new})"
        remedy = ALIKE
        if after.point.module not in READ:
            remedy = "compare networks of one architecture, or name a layer for each"
        yield Difference(name="dimension", text=text, remedy=remedy)


def undeclared(differing: Iterable[Difference], declared: Iterable[str]) -> str | None:
    """Return the differences that the spec does not declare with their remedies, if any."""
    names = frozenset(declared)
    rest = [
        difference
        for difference in differing
        if difference.is_known and not (difference.is_declarable and difference.name in names)
    ]
    if not rest:
        return None
    texts = ", ".join(difference.text for difference in rest)
    # Specific remedies come before the general one.
    ordered = sorted(rest, key=lambda difference: difference.remedy == ALIKE)
    remedies = ", and ".join(dict.fromkeys(difference.remedy for difference in ordered))
    if not all(difference.is_declarable for difference in rest):
        return f"{texts}; {remedies}"
    keys = ", ".join(difference.name for difference in rest)
    return f"{texts}; {remedies}, or declare it with 'settings: {{differs: [{keys}]}}'"


# The name of a baseline in place of a model.
BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RecordedScores:
    """The scores of a recorded result, or why they cannot be compared."""

    scores: AnyScores | None = None
    missing: str | None = None
    stale: str | None = None


def growth_reference(
    spec: BiasSpec, model: str, test: BiasTest, baseline: Baseline | None
) -> str | Baseline | None:
    """Return what a test's growth is measured from: a model's name, a baseline, or None."""
    name = growth_base(spec, test, model)
    if is_origin(spec, model, test) or is_random(spec.models[model]):
        return None
    if baseline is not None and (baseline.is_explicit or name is None):
        return baseline
    return name


def reference_name(
    spec: BiasSpec, model: str, test: BiasTest, baseline: Baseline | None
) -> str | None:
    """Return the name of what a test's growth is measured from, as reports show it."""
    reference = growth_reference(spec, model, test, baseline)
    return reference if reference is None or isinstance(reference, str) else BASELINE


def reference_models(
    spec: BiasSpec, model: str, tests: Iterable[BiasTest], baseline: Baseline | None
) -> set[str]:
    """Return the models that the growth of tests is measured from."""
    references = (growth_reference(spec, model, test, baseline) for test in tests)
    return {name for name in references if isinstance(name, str)}


def scores_by_identity(test: BiasTest, numbers: Measurement) -> dict[str, dict[str, float]]:
    """Return the scores of every role by the identity of the stimulus."""
    return {
        role: {
            stimulus.identity: float(score)
            for stimulus, score in zip(numbers.sets[role].stimuli, values, strict=True)
        }
        for role, values in scoring_method(test).by_role(numbers.scores).items()
    }


def basis_by_identity(test: BiasTest, numbers: Measurement) -> BasisRecord | None:
    """Return the basis of growth by the identity of the stimulus."""
    basis = scoring_method(test).basis(numbers.scores)
    if basis is None:
        return None
    return BasisRecord(
        within=list(basis.within),
        without={
            role: {
                stimulus.identity: [float(effect) for effect in effects]
                for stimulus, *effects in zip(numbers.sets[role].stimuli, *parts, strict=True)
            }
            for role, parts in basis.without.items()
        },
        trials=[list(trial) for trial in basis.trials],
    )


def live_entry(context: MeasurementContext, test: BiasTest, numbers: Measurement) -> BaselineEntry:
    """Return the baseline entry of a test's numbers."""
    assert numbers.effect is not None  # noqa: S101 - for the type checker
    point, trials = context.point, context.model.measured.trials
    return BaselineEntry(
        kind=test.kind,
        module=point.module,
        pooling=point.pooling,
        preprocessing=plain(context.tables[0].preprocessing),
        precision=trials[0].precision,
        stimuli={
            role: Stimuli.of(stimulus.identity for stimulus in stimuli.stimuli)
            for role, stimuli in numbers.sets.items()
        },
        fingerprints=context.model.fingerprints,
        effect_size=numbers.effect.effect_size,
        effect_size_attributes=getattr(numbers.effect, "effect_size_attributes", None),
        effect_judged=numbers.effect.effect_judged,
        gap=numbers.effect.gap,
        scores=scores_by_identity(test, numbers),
        basis=basis_by_identity(test, numbers),
        prediction=prediction_of(test, numbers.target_class, numbers.scores),
        read_out=RecordedReadOut(**dataclasses.asdict(trials[0].read_at(point))),
    )


def recorded_scores(
    baseline: Baseline, context: MeasurementContext, test: BiasTest, numbers: Measurement
) -> RecordedScores:
    """Return the recorded scores of a test in the order of its images now."""
    model = context.model.name
    key = entry_key(model, test.name, context.layer)
    entry = baseline.entry(key)
    if entry is None:
        return RecordedScores(missing=missing_entry(baseline, model, key))
    live = live_entry(context, test, numbers)
    unlike = difference(entry, live, context.spec.settings.differs)
    if unlike:
        return RecordedScores(stale=stale_entry(baseline, model, key, unlike))
    if entry.lacks_basis(live):
        text = (
            f"'{key}' in {baseline.shown} was recorded by an older version, without the effect "
            f"without each image; {baseline.remedy('update', model)}"
        )
        return RecordedScores(stale=text)
    lacking = BaselineError(
        f"{baseline.shown} lacks scores of '{key}' that its stimuli have",
        baseline.remedy("update", model),
    )
    if not entry.has_basis_like(live):
        raise lacking
    try:
        scores = _restored(entry, test, numbers)
    except KeyError:
        raise lacking from None
    if not _is_consistent(entry, test, scoring_method(test).by_role(scores)):
        raise BaselineError(
            f"the scores of '{key}' in {baseline.shown} do not give the effect that stands beside "
            "them, as after a bad merge",
            f"restore the file, or {baseline.remedy('update', model)}",
        )
    return RecordedScores(scores=scores)


def missing_entry(baseline: Baseline, model: str, key: str) -> str:
    """Return that a result was not recorded, and what to do."""
    return f"{baseline.shown} has no entry '{key}'; {baseline.remedy('update-new', model)}"


def stale_entry(baseline: Baseline, model: str, key: str, unlike: Sequence[Unlike]) -> str:
    """Return how a result differs from its record, and what to do."""
    differences_text = ", ".join(difference.text for difference in unlike)
    sentence = f"'{key}' in {baseline.shown} was recorded with other {differences_text}"
    declared = ""
    if all(difference.name for difference in unlike):
        names = ", ".join(difference.name for difference in unlike)
        declared = f", or declare it with 'settings: {{differs: [{names}]}}'"
    return f"{sentence}; {baseline.remedy('update', model)}{declared}"


def _is_consistent(
    entry: BaselineEntry, test: BiasTest, scores: Mapping[str, NDArray[np.float64]]
) -> bool:
    """Return whether the effects of an entry follow from its scores, which growth is tested on."""
    means = {role: float(np.mean(values)) for role, values in scores.items()}
    pairs = test.compared or (("X", "X"),)
    computed = [
        means[first] - (means[second] if first != second else 0.0) for first, second in pairs
    ]
    recorded = (entry.effect_size, entry.effect_size_attributes)
    return all(
        old is None or abs(new - old) <= TOLERANCE * max(1.0, abs(old))
        for new, old in zip(computed, recorded, strict=False)
    )


def _restored(entry: BaselineEntry, test: BiasTest, numbers: Measurement) -> AnyScores:
    method = scoring_method(test)
    by_role = {
        role: np.array(
            [entry.scores[role][stimulus.identity] for stimulus in numbers.sets[role].stimuli]
        )
        for role in method.by_role(numbers.scores)
    }
    stored = RestoredScores(
        by_role=by_role,
        sizes={role: len(stimuli) for role, stimuli in numbers.sets.items()},
        gap=entry.gap or 0.0,
        basis=_basis(entry, numbers),
    )
    scores: AnyScores = method.restore(test, stored)
    return scores


def _basis(entry: BaselineEntry, numbers: Measurement) -> GrowthBasis | None:
    """Return the recorded basis of growth in the order of the images now."""
    if entry.basis is None:
        return None
    return GrowthBasis(
        within=tuple(entry.basis.within),
        without={
            role: tuple(
                np.array([effects[stimulus.identity] for stimulus in numbers.sets[role].stimuli]).T
            )
            for role, effects in entry.basis.without.items()
        },
        trials=tuple(tuple(trial) for trial in entry.basis.trials),
    )
