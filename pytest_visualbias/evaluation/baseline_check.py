"""Check that a baseline holds the entries that a run needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.evaluation.baseline import unclaimed_text
from pytest_visualbias.evaluation.baseline_file import Stimuli, difference, entry_key
from pytest_visualbias.evaluation.classifier_scoring import target_class_of
from pytest_visualbias.evaluation.growth_references import (
    growth_reference,
    missing_entry,
    stale_entry,
)
from pytest_visualbias.spec.effective_settings import (
    growth_base,
    is_gated,
    layers_of,
    model_points,
    test_at,
)
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.stimuli.concept_checks import group_stimuli
from pytest_visualbias.stimuli.resolve import counted_stimuli

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pytest_visualbias.embeddings.request import ModelSets
    from pytest_visualbias.evaluation.baseline import Baseline
    from pytest_visualbias.evaluation.baseline_file import BaselineEntry, Unlike
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineCheck:
    """The notes, problems and warnings of a check against recorded results."""

    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Claim:
    """A test of a model at a layer whose growth is measured from recorded results."""

    index: int
    test: BiasTest
    model: str
    layer: str

    @property
    def key(self) -> str:
        return entry_key(self.model, self.test.name, self.layer)


def check_baseline(
    file: SpecFile, sets: Mapping[str, ModelSets], baseline: Baseline
) -> BaselineCheck:
    """Compare a spec with recorded results without loading a model."""
    if not baseline.exists and not baseline.is_explicit:
        return BaselineCheck()
    claims = list(_claims(file.spec, baseline))
    if not claims:
        return BaselineCheck(notes=(_unused(file.spec, baseline),))
    if baseline.problem is not None:
        return BaselineCheck(problems=(str(baseline.problem),))
    problems = {
        claim.key: file.sentence(("tests", claim.index), text)
        for claim in claims
        if claim.test.limits.on_growth
        and (text := _problem(file.spec, sets[claim.model], claim, baseline)) is not None
    }
    gone = sorted(baseline.entries.keys() - set(expected_entries(file.spec)))
    warnings = [] if baseline.is_report or not gone else [unclaimed_text(baseline.shown, gone)]
    return BaselineCheck(
        notes=(_note(claims, baseline, problems.keys() & baseline.entries.keys()),),
        problems=tuple(problems.values()),
        warnings=tuple(warnings),
    )


def expected_entries(spec: BiasSpec) -> Iterator[str]:
    """Yield the keys of all entries that the tests of a spec can record."""
    for test in spec.tests:
        for layer in layers_of(spec, test):
            for model in spec.models:
                if is_gated(spec, model, test):
                    yield entry_key(model, test.name, layer)


def _claims(spec: BiasSpec, baseline: Baseline) -> Iterator[_Claim]:
    for index, test in enumerate(spec.tests):
        for layer in layers_of(spec, test):
            for model in spec.models:
                if growth_reference(spec, model, test, baseline) is baseline:
                    judged = test_at(spec, test, layer)
                    yield _Claim(index=index, test=judged, model=model, layer=layer)


def _problem(spec: BiasSpec, sets: ModelSets, claim: _Claim, baseline: Baseline) -> str | None:
    entry = baseline.entries.get(claim.key)
    if entry is None:
        return missing_entry(baseline, claim.model, claim.key)
    unlike = _unlike(spec, sets, claim, entry)
    return (
        f"not_comparable: {stale_entry(baseline, claim.model, claim.key, unlike)}"
        if unlike
        else None
    )


def _unlike(spec: BiasSpec, sets: ModelSets, claim: _Claim, entry: BaselineEntry) -> list[Unlike]:
    """Return how an entry differs from one recorded now; facts of a model count as unchanged."""
    test, concepts = claim.test, concepts_of(claim.test)
    points = model_points(spec, spec.models[claim.model].layers)
    point = next(point for point in points if point.name == claim.layer)
    now: dict[str, object] = {
        "kind": test.kind,
        "module": point.module,
        "pooling": point.pooling,
        "prediction": None,
    }
    if test.prediction is not None:
        now["prediction"] = {**(entry.prediction or {}), **target_class_of(test.prediction)}
    # A set that cannot be read has its own error.
    if all(concept in sets.sets for concept in concepts.values()):
        images = counted_stimuli(test, {role: sets.sets[name] for role, name in concepts.items()})
        now["stimuli"] = {
            role: Stimuli.of(stimulus.identity for stimulus in group_stimuli(spec, chosen).stimuli)
            for role, chosen in images.items()
        }
    return difference(entry, entry.model_copy(update=now), spec.settings.differs)


def _unused(spec: BiasSpec, baseline: Baseline) -> str:
    bases = {growth_base(spec, test, model) for test in spec.tests for model in spec.models}
    names = ", ".join(f"'{name}'" for name in sorted(filter(None, bases)))
    return f"note: {baseline.shown} is not used: growth is measured from {names or 'no model'}"


def _note(claims: list[_Claim], baseline: Baseline, unlike: Collection[str]) -> str:
    recorded = sum(claim.key in baseline.entries for claim in claims)
    models = ", ".join(dict.fromkeys(f"'{claim.model}'" for claim in claims))
    count = f"{recorded} of {len(claims)} results"
    stale_ones = f", {len(unlike)} of them not comparable" if unlike else ""
    return f"growth of {models}: from {baseline.shown}, which has {count} of this spec{stale_ones}"
