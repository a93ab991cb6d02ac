"""What can be said of recorded results before a model is loaded: which are missing or stale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.baseline.entries import Stimuli, difference, entry_key
from pytest_visualbias.baseline.recording import unclaimed_text
from pytest_visualbias.pipeline.predictions import asked_of
from pytest_visualbias.pipeline.recorded import missing, origin, stale
from pytest_visualbias.spec.counting import counted
from pytest_visualbias.spec.groups import grouped
from pytest_visualbias.spec.layers import layers_of, points_of, test_at
from pytest_visualbias.spec.roles import growth_base, is_gated
from pytest_visualbias.spec.sets import concepts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pytest_visualbias.baseline.entries import Entry, Unlike
    from pytest_visualbias.baseline.sources import Baseline
    from pytest_visualbias.pipeline.preflight import ModelSets
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = ["Foreseen", "claimed", "foreseen"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreseen:
    """What a gate against recorded results would find.

    Attributes
    ----------
    notes : tuple of str
        From where growth would be measured, and of which models; none without recorded results.
    problems : tuple of str
        Sentences about limits on growth that would fail.
    warnings : tuple of str
        Sentences that strictness makes problems of.
    """

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


def foreseen(file: SpecFile, sets: Mapping[str, ModelSets], baseline: Baseline) -> Foreseen:
    """Compare a spec with recorded results as far as no model is needed.

    Preprocessing, precision and scores are looked at when the gate runs.

    Parameters
    ----------
    file : SpecFile
        The spec.
    sets : mapping of str to ModelSets
        Of every model.
    baseline : Baseline
        The results that were recorded of it.
    """
    if not baseline.exists and not baseline.is_explicit:
        return Foreseen()
    claims = list(_claims(file.spec, baseline))
    if not claims:
        return Foreseen(notes=(_unused(file.spec, baseline),))
    if baseline.problem is not None:
        return Foreseen(problems=(baseline.problem,))
    told_of = {
        claim.key: file.sentence(("tests", claim.index), text)
        for claim in claims
        if claim.test.limits.on_growth
        and (text := _problem(file.spec, sets[claim.model], claim, baseline)) is not None
    }
    gone = sorted(baseline.entries.keys() - set(claimed(file.spec)))
    told = [] if baseline.is_report or not gone else [unclaimed_text(baseline.shown, gone)]
    return Foreseen(
        notes=(_note(claims, baseline, told_of.keys() & baseline.entries.keys()),),
        problems=tuple(told_of.values()),
        warnings=tuple(told),
    )


def claimed(spec: BiasSpec) -> Iterator[str]:
    """Yield the keys of all results that can be recorded of a spec."""
    for test in spec.tests:
        for layer in layers_of(spec, test):
            for model in spec.models:
                if is_gated(spec, model, test):
                    yield entry_key(model, test.name, layer)


def _claims(spec: BiasSpec, baseline: Baseline) -> Iterator[_Claim]:
    for index, test in enumerate(spec.tests):
        for layer in layers_of(spec, test):
            for model in spec.models:
                if origin(spec, model, test, baseline) is baseline:
                    judged = test_at(spec, test, layer)
                    yield _Claim(index=index, test=judged, model=model, layer=layer)


def _problem(spec: BiasSpec, sets: ModelSets, claim: _Claim, baseline: Baseline) -> str | None:
    entry = baseline.entries.get(claim.key)
    if entry is None:
        return missing(baseline, claim.model, claim.key)
    unlike = _unlike(spec, sets, claim, entry)
    return f"not_comparable: {stale(baseline, claim.model, claim.key, unlike)}" if unlike else None


def _unlike(spec: BiasSpec, sets: ModelSets, claim: _Claim, entry: Entry) -> list[Unlike]:
    """Return in what an entry is other than it would be now; what is not known counts as it was."""
    test, concepts = claim.test, concepts_of(claim.test)
    points = points_of(spec, spec.models[claim.model].layers)
    point = next(one for one in points if one.name == claim.layer)
    now: dict[str, object] = {
        "kind": test.kind,
        "module": point.module,
        "pooling": point.pooling,
        "prediction": None,
    }
    if test.prediction is not None:
        now["prediction"] = {**(entry.prediction or {}), **asked_of(test.prediction)}
    # What keeps a set from being read is said of itself.
    if all(concept in sets.sets for concept in concepts.values()):
        found = counted(test, {role: sets.sets[name] for role, name in concepts.items()})
        now["stimuli"] = {
            role: Stimuli.of(stimulus.identity for stimulus in grouped(spec, one).stimuli)
            for role, one in found.items()
        }
    return difference(entry, entry.model_copy(update=now), spec.settings.differs)


def _unused(spec: BiasSpec, baseline: Baseline) -> str:
    bases = {growth_base(spec, test, model) for test in spec.tests for model in spec.models}
    names = ", ".join(f"'{name}'" for name in sorted(filter(None, bases)))
    return f"note: {baseline.shown} is not used: growth is measured from {names or 'no model'}"


def _note(claims: list[_Claim], baseline: Baseline, unlike: Collection[str]) -> str:
    there = sum(claim.key in baseline.entries for claim in claims)
    models = ", ".join(dict.fromkeys(f"'{claim.model}'" for claim in claims))
    count = f"{there} of {len(claims)} results"
    stale_ones = f", {len(unlike)} of them not comparable" if unlike else ""
    return f"growth of {models}: from {baseline.shown}, which has {count} of this spec{stale_ones}"
