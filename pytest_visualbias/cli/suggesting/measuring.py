"""Measure a model for suggestions, with the same cache as a gate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.cli.suggesting.basis import basis_of, is_corrected
from pytest_visualbias.errors import UsageError
from pytest_visualbias.evaluation.preflight import Preflight
from pytest_visualbias.evaluation.training_run import judged_together
from pytest_visualbias.spec.effective_settings import (
    BEFORE,
    gated_layers_of,
    growth_base,
    is_random,
)
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.model_entries import NetworkEntry
from pytest_visualbias.spec.suites import find_suite, read_suite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.cli.suggesting.basis import Basis
    from pytest_visualbias.evaluation.model_embedder import LoadedSpec
    from pytest_visualbias.evaluation.run import EvaluationRun
    from pytest_visualbias.results import ResultRecord
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest

UNTRAINED = "untrained"

# Outcomes without usable scores.
UNMEASURED = ("error", "invalid")


@dataclass(frozen=True, kw_only=True, slots=True)
class SuggestionBasis:
    """Measurements of a spec that suggestions are derived from."""

    model: str
    bases: Mapping[str, tuple[Basis, ...]]
    grows: frozenset[str]
    notes: tuple[str, ...]
    controls: frozenset[str] = frozenset()


def chosen_model(spec: BiasSpec, named: str | None) -> str:
    """Return the model to derive limits from: the named one, else the base model."""
    if named is not None and named not in spec.models:
        raise UsageError(f"--model: there is no model '{named}'", did_you_mean(named, spec.models))
    trained = [name for name, entry in spec.models.items() if not is_random(entry)]
    if named is not None and named not in trained:
        raise UsageError(
            f"--model: '{named}' is untrained", "name a model that has learned something"
        )
    if named is not None:
        return named
    if not trained:
        raise UsageError(
            "every model of the spec is untrained, and limits come from one that has learned "
            "something",
            "add it",
        )
    starts = [BEFORE, *(model.growth_from for model in spec.models.values())]
    return next((name for name in starts if name in trained), trained[0])


def measure(
    session: EvaluationRun, loaded: LoadedSpec, model: str, *, seeds: int
) -> SuggestionBasis:
    """Measure a model, its comparison models, and untrained networks of its architecture."""
    widened, random, notes = _with_untrained(loaded, model, seeds)
    spec = widened.file.spec
    trained = [name for name, entry in spec.models.items() if not is_random(entry)]
    other_models = [name for name in trained if name != model]
    grows = frozenset(test.name for test in spec.tests if _is_base(spec, test, model, other_models))
    controls = _idle_controls(loaded.file)
    count = sum(
        is_corrected(spec, test)
        * (3 if test.name in grows else 1)
        * len(gated_layers_of(spec, test))
        for test in spec.tests
        if test.name not in controls
    ) * max(judged_together(loaded.file, session.embedder.mirror).values(), default=1)
    bases_by_test: dict[str, tuple[Basis, ...]] = {}
    for test in spec.tests:
        bases = []
        for layer in gated_layers_of(spec, test):
            ground = random if _compares_untrained(test) else None
            untrained = _row(session, widened, ground, test, layer) if ground else None
            if untrained is not None and untrained.outcome == "error":
                notes.append(f"no untrained network: {'; '.join(untrained.reasons)}")
                untrained = None
            others = [
                row
                for name in (other_models if test.name in grows else ())
                if growth_base(spec, test, name) == model
                and (row := _row(session, widened, name, test, layer)).outcome not in UNMEASURED
            ]
            record = _row(session, widened, model, test, layer)
            bases.append(
                basis_of(spec, test, record, untrained=untrained, others=others, count=count)
            )
        bases_by_test[test.name] = tuple(bases)
    return SuggestionBasis(
        model=model,
        bases=bases_by_test,
        grows=grows,
        notes=tuple(dict.fromkeys(notes)),
        controls=controls,
    )


def _idle_controls(file: SpecFile) -> frozenset[str]:
    """Return the suite's controls that have no minimum effect."""
    choice = file.spec.suite
    if choice is None:
        return frozenset()
    name = choice if isinstance(choice, str) else choice.name
    source = find_suite(name, folder=file.folder, shown_in="")
    if source is None:
        return frozenset()
    suite = read_suite(source[0], file=name).suite
    controls = {test.name for test in suite.tests if test.is_positive}
    # With `control: none` in the spec, the test has the key.
    tests = file.document.data["tests"]
    idle = {test["name"] for test in tests if test.get("control", "idle") == "idle"}
    return frozenset(controls & idle)


def _is_base(spec: BiasSpec, test: BiasTest, model: str, others: list[str]) -> bool:
    """Return whether growth is, or will be, measured from a model."""
    if not others:
        return model == (test.growth_from or BEFORE)
    return any(growth_base(spec, test, name) == model for name in others)


def _row(
    session: EvaluationRun, loaded: LoadedSpec, model: str, test: BiasTest, layer: str
) -> ResultRecord:
    nodeid = f"{loaded.file.file}::{model}::{test.name}[{layer}]"
    return session.result(loaded, model, test.name, layer, nodeid=nodeid)


def _with_untrained(
    loaded: LoadedSpec, model: str, seeds: int
) -> tuple[LoadedSpec, str | None, list[str]]:
    """Return a spec with an untrained model, that model's name, and notes if there is none."""
    spec = loaded.file.spec
    if not any(map(_compares_untrained, spec.tests)):
        return loaded, None, []
    existing = next((name for name, entry in spec.models.items() if is_random(entry)), None)
    if existing is not None:
        return loaded, existing, []
    entry = _untrained(spec.models[model], seeds) if seeds else None
    if entry is None:
        why = "none is asked for" if not seeds else f"'{model}' has no architecture to make one of"
        return loaded, None, [f"no untrained network: {why}"]
    name = UNTRAINED
    while name in spec.models:
        name += "'"
    widened = spec.model_copy(update={"models": {**spec.models, name: entry}})
    checked = loaded.preflight
    sets = {**checked.models, name: checked.models[model]}
    return (
        dataclasses.replace(
            loaded,
            file=dataclasses.replace(loaded.file, spec=widened),
            preflight=Preflight(models=sets, warnings=checked.warnings),
        ),
        name,
        [],
    )


def _compares_untrained(test: BiasTest) -> bool:
    """Return whether an untrained network is a meaningful comparison for a test."""
    return test.prediction is None


def _untrained(entry: ModelEntry, seeds: int) -> ModelEntry | None:
    """Return an entry of the same architecture with random weights."""
    if not isinstance(entry, NetworkEntry):
        return None
    changes: dict[str, object] = {"checkpoint": None, "container": None, "prefix": None}
    changes |= {"ignore": (), "random_init": seeds, "labels": {}, "growth_from": None}
    if hasattr(entry, "adapter"):
        changes["adapter"] = None
    # A pretrained tag stays, because it names the preprocessing.
    if not isinstance(getattr(entry, "pretrained", ""), str):
        changes["pretrained"] = False
    return entry.model_copy(update=changes)
