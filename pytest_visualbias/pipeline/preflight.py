"""Everything that can be known about a run before a model is loaded."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import SpecError, StimulusError, StorageError
from pytest_visualbias.models.precomputed import open_vectors
from pytest_visualbias.pipeline.hidden import hidden_limits
from pytest_visualbias.pipeline.power import power_findings
from pytest_visualbias.pipeline.published import size_findings, unfinished
from pytest_visualbias.remote.mirror import Mirror
from pytest_visualbias.remote.urls import Url, is_url
from pytest_visualbias.spec.digests import digest_of_file
from pytest_visualbias.spec.groups import grouped
from pytest_visualbias.spec.layers import LOGITS, PROBABILITIES, points_of
from pytest_visualbias.spec.mirrored import brought
from pytest_visualbias.spec.preparing import DEPARTURE
from pytest_visualbias.spec.roles import is_gated
from pytest_visualbias.spec.schema import (
    ConceptWords,
    EmbeddingsModel,
    FactoryModel,
    Network,
    ProgramModel,
)
from pytest_visualbias.spec.sets import Finding, concepts_of, set_findings
from pytest_visualbias.spec.stimuli import concept_files, resolve_concept, resolve_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, ConceptFiles
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["ModelSets", "Preflight", "preflight", "stored_sets"]

# Layers whose rows are scores of classes.
CLASSES = (LOGITS, PROBABILITIES)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSets:
    """The sets that a model is measured on.

    Attributes
    ----------
    sets : mapping of str to StimulusSet
        By concept.
    problems : mapping of str to str
        Why there is no set, by concept.
    """

    sets: Mapping[str, StimulusSet]
    problems: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """The sets of every model, and what is worth knowing, by test and model."""

    models: Mapping[str, ModelSets]
    warnings: Mapping[tuple[str, str], tuple[str, ...]]


def preflight(
    file: SpecFile,
    *,
    stimuli: Path | Url | None,
    strict: bool = False,
    digest: Callable[[Path], str] = digest_of_file,
    mirror: Mirror | None = None,
) -> Preflight:
    """Resolve the sets of a spec and check what they can show.

    Parameters
    ----------
    file : SpecFile
        The spec.
    stimuli : Path, Url or None
        Root of relative stimulus paths, in place of the spec's own.
    strict : bool
        Whether a test that its family hides is a fault.
    digest : callable
        Returns the sha256 of a file.
    mirror : Mirror, optional
        Brings what lies at URLs; without one, copies are kept for this call only.

    Raises
    ------
    SpecError
        For empty sets, overlaps, and tests that could never fail. A set that is *missing* is no
        fault of the spec: its tests err when they run.
    """
    spec = file.spec
    mirror = mirror if mirror is not None else Mirror()
    images: ModelSets | None = None
    models: dict[str, ModelSets] = {}
    for name, entry in spec.models.items():
        if isinstance(entry, EmbeddingsModel):
            models[name], _ = stored_sets(
                file, name, entry, layer=_first_layer(file), mirror=mirror
            )
        else:
            images = images or _image_sets(file, stimuli, digest, mirror)
            models[name] = images
    own = {} if images is None or stimuli is not None else images.sets
    unlike = tuple(size_findings(file, own))
    return Preflight(models=models, warnings=_check(file, models, unlike, strict=strict))


def _first_layer(file: SpecFile) -> str:
    return points_of(file.spec, {})[0].name


def _used(file: SpecFile) -> list[str]:
    """Return the concepts that tests use, in the order of the spec."""
    used = {concept for test in file.spec.tests for concept in concepts_of(test).values()}
    return [concept for concept in file.spec.concepts if concept in used]


def _image_sets(
    file: SpecFile, stimuli: Path | Url | None, digest: Callable[[Path], str], mirror: Mirror
) -> ModelSets:
    sets: dict[str, StimulusSet] = {}
    problems: dict[str, str] = {}
    halves = unfinished(file, _used(file)) if stimuli is None else {}
    for concept in _used(file):
        wanted = file.spec.concepts[concept]
        if isinstance(wanted, ConceptWords):
            sets[concept] = resolve_words(concept, wanted)
            continue
        home = file.homes.get(concept) if stimuli is None else None
        if home is not None and not home.folder.is_dir():
            problems[concept] = file.sentence(("suite",), home.absence())
            continue
        if concept in halves:
            problems[concept] = halves[concept]
            continue
        own = home.folder if home is not None else _own_root(file)
        root = stimuli if stimuli is not None else own
        try:
            folder = brought(wanted, root, mirror)
            sets[concept] = resolve_concept(concept, wanted, folder, digest=digest)
        except (StimulusError, StorageError) as error:
            own_sentence = file.sentence(("concepts", concept), str(error))
            problems[concept] = _absence(file, wanted, root) or own_sentence
    return ModelSets(sets=sets, problems=problems)


def _absence(file: SpecFile, concept: str | ConceptFiles, root: Path | Url) -> str | None:
    """Return what is said once of all sets, where not even the folder that they lie in is there."""
    is_inside = not PurePath(concept_files(concept).path).is_absolute()
    # Path.exists raises about names that no file can have.
    if isinstance(root, Url) or not is_inside or os.path.exists(root):  # noqa: PTH110
        return None
    message = f"the folder {root} does not exist; correct 'stimuli' or fetch them"
    return file.sentence(("stimuli",), message)


def _own_root(file: SpecFile) -> Path | Url:
    said = file.spec.stimuli
    return Url(said) if is_url(said) else file.folder / said


def stored_sets(
    file: SpecFile, model: str, entry: EmbeddingsModel, *, layer: str, mirror: Mirror
) -> tuple[ModelSets, dict[str, np.ndarray]]:
    """Return the sets of a model of stored vectors and their vectors ``(n, dim)``, by concept."""
    sets: dict[str, StimulusSet] = {}
    vectors: dict[str, np.ndarray] = {}
    problems: dict[str, str] = {}
    try:
        is_remote = is_url(entry.path)
        path = mirror.file(Url(entry.path)) if is_remote else file.folder / entry.path
        stored = open_vectors(path)
    except (StimulusError, StorageError) as error:
        sentence = file.sentence(("models", model, "path"), str(error))
        return ModelSets(sets={}, problems=dict.fromkeys(_used(file), sentence)), {}
    prefix = entry.prefix.replace("{layer}", entry.layers.get(layer, layer))
    for concept in _used(file):
        try:
            found = stored.select(
                concept, file.spec.concepts[concept], prefix, are_classes=layer in CLASSES
            )
        except StimulusError as error:
            problems[concept] = file.sentence(("concepts", concept), str(error))
        else:
            sets[concept], vectors[concept] = found
    return ModelSets(sets=sets, problems=problems), vectors


def _check(
    file: SpecFile, models: Mapping[str, ModelSets], unlike: tuple[Finding, ...], *, strict: bool
) -> dict[tuple[str, str], tuple[str, ...]]:
    faults: dict[str, None] = {}
    warnings: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for model, sets in models.items():
        found = [
            *set_findings(file.spec, sets.sets),
            *(() if isinstance(file.spec.models[model], EmbeddingsModel) else unlike),
            *_unsaid_weights(file, model),
            *_turned_round(file, model),
            *_departure(file, model),
            *power_findings(file.spec, model, _grouped(file.spec, sets.sets)),
        ]
        for finding in found:
            sentence = file.sentence(finding.path, finding.message)
            if finding.is_fault:
                faults[sentence] = None
                continue
            for index, test in enumerate(file.spec.tests):
                if _concerns(finding.path, index, test):
                    warnings[model, test.name][sentence] = None
    hidden = hidden_limits(file.spec, {model: one.sets for model, one in models.items()})
    if hidden is not None:
        sentence = file.sentence(hidden.path, hidden.message)
        faults |= {sentence: None} if strict else {}
        for key in hidden.tests:
            warnings[key][sentence] = None
    if faults:
        raise SpecError(list(faults))
    return {key: tuple(sentences) for key, sentences in warnings.items()}


def _grouped(spec: BiasSpec, sets: Mapping[str, StimulusSet]) -> dict[str, StimulusSet]:
    return {concept: grouped(spec, stimuli) for concept, stimuli in sets.items()}


def _unsaid_weights(file: SpecFile, model: str) -> Iterator[Finding]:
    """Yield a warning where nothing says which weights a factory's network has."""
    entry = file.spec.models[model]
    if not isinstance(entry, FactoryModel):
        return
    if entry.files is None and entry.random_init is None:
        message = (
            f"no checkpoint: the weights are whatever {entry.call} returns, random ones if it "
            "loads none; add 'checkpoint', or 'random_init: 1' for an untrained network"
        )
        yield Finding(path=("models", model), message=message, is_fault=False)


def _turned_round(file: SpecFile, model: str) -> Iterator[Finding]:
    """Yield a warning where a test lets a model's limits hold for what came before it."""
    for index, test in enumerate(file.spec.tests):
        is_turned = model == test.growth_from == "after" and not is_gated(file.spec, model, test)
        if is_turned and test.limits != type(test.limits)():
            message = (
                f"growth is measured from '{model}', so its limits judge the other models and not "
                "this one; name the model before"
            )
            yield Finding(path=("tests", index, "growth_from"), message=message, is_fault=False)


def _departure(file: SpecFile, model: str) -> Iterator[Finding]:
    """Yield a warning where images are not prepared as for the network."""
    entry = file.spec.models[model]
    is_prepared = isinstance(entry, Network | ProgramModel)
    if is_prepared and getattr(entry, "preprocess", None) == "ieat":
        yield Finding(path=("models", model, "preprocess"), message=DEPARTURE, is_fault=False)


def _concerns(path: tuple[str | int, ...], index: int, test: BiasTest) -> bool:
    if path[0] == "models":
        return True
    if path[0] == "tests":
        return path[1] == index
    return path[1] in concepts_of(test).values()
