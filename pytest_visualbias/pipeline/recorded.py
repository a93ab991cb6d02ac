"""Growth since a recorded result, and what would be recorded now."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.baseline.entries import (
    TOLERANCE,
    Entry,
    ReadOut,
    Stimuli,
    difference,
    entry_key,
    plain,
)
from pytest_visualbias.errors import BaselineError
from pytest_visualbias.pipeline.measures import measure_of
from pytest_visualbias.pipeline.predictions import prediction_of
from pytest_visualbias.record import BasisRecord
from pytest_visualbias.spec.roles import growth_base, is_origin, is_random
from pytest_visualbias.statistics import GrowthBasis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.baseline.entries import Unlike
    from pytest_visualbias.baseline.sources import Baseline
    from pytest_visualbias.pipeline.measures import AnyScores
    from pytest_visualbias.pipeline.numbers import Numbers, Subject
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = [
    "BASELINE",
    "Earlier",
    "Past",
    "basis_by_identity",
    "live_entry",
    "missing",
    "origin",
    "origin_models",
    "origin_name",
    "past_of",
    "scores_by_identity",
    "stale",
]

# What a report calls it where it names a model otherwise.
BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Earlier:
    """What growth may be measured from.

    Attributes
    ----------
    models : callable
        Gives the model of a name; called only where it is needed.
    baseline : Baseline or None
        Recorded results.
    """

    models: Callable[[str], Subject]
    baseline: Baseline | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Past:
    """The scores of a recorded result, or why there are none to compare with.

    Attributes
    ----------
    scores : AnyScores or None
        As recorded.
    missing : str or None
        That there is no entry.
    stale : str or None
        In what the entry differs from this measurement.
    """

    scores: AnyScores | None = None
    missing: str | None = None
    stale: str | None = None


def origin(
    spec: BiasSpec, model: str, test: BiasTest, baseline: Baseline | None
) -> str | Baseline | None:
    """Return what a test's growth is measured from: a model's name, recorded results, or nothing.

    Recorded results that the command line names go before a model, and a model before those that
    lie beside the spec.
    """
    name = growth_base(spec, test, model)
    if is_origin(spec, model, test) or is_random(spec.models[model]):
        return None
    if baseline is not None and baseline.is_expected and (baseline.is_explicit or name is None):
        return baseline
    return name


def origin_name(
    spec: BiasSpec, model: str, test: BiasTest, baseline: Baseline | None
) -> str | None:
    """Return what a report calls that which a test's growth is measured from."""
    found = origin(spec, model, test, baseline)
    return found if found is None or isinstance(found, str) else BASELINE


def origin_models(
    spec: BiasSpec, model: str, tests: Iterable[BiasTest], baseline: Baseline | None
) -> set[str]:
    """Return the models that the growth of tests is measured from."""
    found = (origin(spec, model, test, baseline) for test in tests)
    return {name for name in found if isinstance(name, str)}


def scores_by_identity(test: BiasTest, numbers: Numbers) -> dict[str, dict[str, float]]:
    """Return the score of every stimulus that has one by its identity, per role."""
    return {
        role: {
            stimulus.identity: float(score)
            for stimulus, score in zip(numbers.sets[role].stimuli, values, strict=True)
        }
        for role, values in measure_of(test).by_role(numbers.scores).items()
    }


def basis_by_identity(test: BiasTest, numbers: Numbers) -> BasisRecord | None:
    """Return what growth is tested with beside the scores, per stimulus by its identity."""
    basis = measure_of(test).basis(numbers.scores)
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


def live_entry(subject: Subject, test: BiasTest, layer: str, numbers: Numbers) -> Entry:
    """Return what a record of a test's numbers holds."""
    assert numbers.effect is not None  # noqa: S101 - for the type checker
    point = next(point for point in subject.measured.points if point.name == layer)
    trials = subject.measured.trials
    return Entry(
        kind=test.kind,
        module=point.module,
        pooling=point.pooling,
        preprocessing=plain(trials[0].tables[layer].preprocessing),
        precision=trials[0].precision,
        stimuli={
            role: Stimuli.of(one.identity for one in stimuli.stimuli)
            for role, stimuli in numbers.sets.items()
        },
        fingerprints=[trial.fingerprint for trial in trials],
        effect_size=numbers.effect.effect_size,
        effect_size_attributes=getattr(numbers.effect, "effect_size_attributes", None),
        effect_judged=numbers.effect.effect_judged,
        gap=numbers.effect.gap,
        scores=scores_by_identity(test, numbers),
        basis=basis_by_identity(test, numbers),
        prediction=prediction_of(test, numbers.asked, numbers.scores),
        read_out=ReadOut(**dataclasses.asdict(trials[0].read_at(point))),
    )


def past_of(
    baseline: Baseline,
    subject: Subject,
    test: BiasTest,
    layer: str,
    numbers: Numbers,
    differs: Iterable[str],
) -> Past:
    """Return the scores that were recorded of a test, in the order of its images now.

    A difference that the spec declares is none.

    Raises
    ------
    BaselineError
        Where the file of the record cannot be used.
    """
    key = entry_key(subject.name, test.name, layer)
    entry = baseline.entry(key)
    if entry is None:
        return Past(missing=missing(baseline, subject.name, key))
    live = live_entry(subject, test, layer, numbers)
    unlike = difference(entry, live, differs)
    if unlike:
        return Past(stale=stale(baseline, subject.name, key, unlike))
    if entry.lacks_basis(live):
        text = (
            f"'{key}' in {baseline.shown} was recorded by an older version, without the effect "
            f"without each image; {baseline.remedy('update', subject.name)}"
        )
        return Past(stale=text)
    lacking = (
        f"{baseline.shown} lacks scores of '{key}' that its stimuli have; "
        f"{baseline.remedy('update', subject.name)}"
    )
    if not entry.has_basis_like(live):
        raise BaselineError(lacking)
    try:
        scores = _restored(entry, test, numbers)
    except KeyError:
        raise BaselineError(lacking) from None
    if not _is_of_a_piece(entry, test, measure_of(test).by_role(scores)):
        message = (
            f"the scores of '{key}' in {baseline.shown} do not give the effect that stands beside "
            "them, as after a bad merge; restore the file, or "
            f"{baseline.remedy('update', subject.name)}"
        )
        raise BaselineError(message)
    return Past(scores=scores)


def missing(baseline: Baseline, model: str, key: str) -> str:
    """Say that a result was not recorded, and what to do."""
    return f"{baseline.shown} has no entry '{key}'; {baseline.remedy('update-new', model)}"


def stale(baseline: Baseline, model: str, key: str, unlike: Sequence[Unlike]) -> str:
    """Say in what a result differs from what was recorded, and what to do."""
    what = ", ".join(one.text for one in unlike)
    said = f"'{key}' in {baseline.shown} was recorded with other {what}"
    declared = ""
    if all(one.name for one in unlike):
        names = ", ".join(one.name for one in unlike)
        declared = f", or declare it with 'settings: {{differs: [{names}]}}'"
    return f"{said}; {baseline.remedy('update', model)}{declared}"


def _is_of_a_piece(entry: Entry, test: BiasTest, scores: Mapping[str, NDArray[np.float64]]) -> bool:
    """Whether an entry's effects follow from its scores: growth is measured from these alone."""
    means = {role: float(np.mean(values)) for role, values in scores.items()}
    pairs = test.compared or (("X", "X"),)
    found = [means[one] - (means[other] if one != other else 0.0) for one, other in pairs]
    said = (entry.effect_size, entry.effect_size_attributes)
    return all(
        old is None or abs(new - old) <= TOLERANCE * max(1.0, abs(old))
        for new, old in zip(found, said, strict=False)
    )


def _restored(entry: Entry, test: BiasTest, numbers: Numbers) -> AnyScores:
    measure = measure_of(test)
    vectors: Mapping[str, NDArray[np.float64]] = {
        role: np.array([entry.scores[role][one.identity] for one in numbers.sets[role].stimuli])
        for role in measure.by_role(numbers.scores)
    }
    sizes = {role: len(stimuli) for role, stimuli in numbers.sets.items()}
    found: AnyScores = measure.restore(vectors, _basis(entry, numbers), sizes, entry.gap or 0.0)
    return found


def _basis(entry: Entry, numbers: Numbers) -> GrowthBasis | None:
    """Return what was recorded beside the scores, in the order of the images now."""
    if entry.basis is None:
        return None
    return GrowthBasis(
        within=tuple(entry.basis.within),
        without={
            role: tuple(np.array([effects[one.identity] for one in numbers.sets[role].stimuli]).T)
            for role, effects in entry.basis.without.items()
        },
        trials=tuple(tuple(trial) for trial in entry.basis.trials),
    )
