"""Find faults of a spec before any model is loaded."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_visualbias.embeddings.embed_model import _used, stored_sets
from pytest_visualbias.embeddings.request import ModelSets
from pytest_visualbias.errors import (
    EncoderError,
    FetchError,
    SpecError,
    StimulusError,
    StorageError,
)
from pytest_visualbias.evaluation.detectable import hidden_limits, power_findings
from pytest_visualbias.evaluation.judging import waiver_for
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.models.identity import paths_of
from pytest_visualbias.spec.consistency_rules import DEPARTURE
from pytest_visualbias.spec.effective_settings import (
    gated_layers_of,
    gates_all,
    is_gated,
    model_points,
)
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.spec.model_entries import (
    EmbeddingsModel,
    FactoryModel,
    NetworkEntry,
    ProgramModel,
    TimmModel,
    TorchvisionModel,
)
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.spec.urls import Url, is_url
from pytest_visualbias.stimuli.concept_checks import SetFinding, set_findings
from pytest_visualbias.stimuli.manifest import read_manifest
from pytest_visualbias.stimuli.mirror import Mirror
from pytest_visualbias.stimuli.resolve import (
    concept_files,
    resolve_concept,
    resolve_words,
)
from pytest_visualbias.stimuli.transfer import read_ledger

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_visualbias.errors import LocatedFault
    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec, ConceptFiles
    from pytest_visualbias.spec.suites import StimulusRoot
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.stimuli.resolve import StimulusSet
    from pytest_visualbias.stimuli.transfer import Ledger

# These sources have no names of classes.
WITHOUT_CLASS_NAMES = (EmbeddingsModel, FactoryModel, ProgramModel, TimmModel)


def guaranteed_failures(file: SpecFile, today: dt.date) -> Iterator[str]:
    """Yield sentences about tests that fail whatever a model shows, or cannot be measured."""
    for index, test in enumerate(file.spec.tests):
        if (ended := _ended(file.spec, test, today)) is not None:
            yield file.sentence(("tests", index, "accept", "until"), ended)
        for text in _classes(file.spec, test):
            yield file.sentence(("tests", index, "prediction", "class"), text)
    if not any(test.prediction is not None for test in file.spec.tests):
        return
    names = len(file.spec.classes)
    for model, entry in file.spec.models.items():
        count = _count(entry)
        if count is not None and names not in (0, count):
            text = f"is {count}, and 'classes' has {names} names; correct one of them"
            yield file.sentence(("models", model, "arguments", "num_classes"), text)


def _ended(spec: BiasSpec, test: BiasTest, today: dt.date) -> str | None:
    """Return that the waiver of a test has expired, if it applies to a model."""
    places = ((model, layer) for model in spec.models for layer in gated_layers_of(spec, test))
    waivers = (waiver_for(spec, model, test, layer, today) for model, layer in places)
    waiver = next((waiver for waiver in waivers if waiver is not None), None)
    return None if waiver is None else waiver.ended


def _classes(spec: BiasSpec, test: BiasTest) -> Iterator[str]:
    """Yield why the class of a test is unknown or not among the classes of a model."""
    if test.prediction is None:
        return
    asked = test.prediction.index
    if isinstance(asked, str):
        nameless = [f"'{name}'" for name, entry in spec.models.items() if _is_nameless(entry)]
        if nameless and not spec.classes:
            yield (
                f"nothing says which class '{asked}' of {', '.join(nameless)} is; write 'classes' "
                "in the spec, the names in the order of the logits, or the number of the class"
            )
        return
    fewer: dict[int, list[str]] = {}
    for name, entry in spec.models.items():
        count = _count(entry)
        if count is not None and asked >= count:
            fewer.setdefault(count, []).append(f"'{name}'")
    for count, names in fewer.items():
        yield (
            f"there is no class {asked}: 'num_classes' of {', '.join(names)} is {count}, and the "
            "first class is 0; correct one of them"
        )


def _count(entry: ModelEntry) -> int | None:
    """Return how many classes an entry says that its network has."""
    if not isinstance(entry, TimmModel | TorchvisionModel):
        return None
    count = entry.arguments.get("num_classes")
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count or None


def _is_nameless(entry: ModelEntry) -> bool:
    """Return whether a model has no names for its classes."""
    if isinstance(entry, TorchvisionModel):
        # The names are those of published weights.
        return entry.files is not None or entry.random_init is not None
    return isinstance(entry, WITHOUT_CLASS_NAMES)


def unfinished(file: SpecFile, concepts: Iterable[str]) -> dict[str, LocatedFault]:
    """Return the fault of each set that was fetched in part or not at all, by concept."""
    faults: dict[str, LocatedFault] = {}
    ledgers: dict[Path, Ledger | None] = {}
    for concept in concepts:
        home = file.homes.get(concept)
        wanted = file.spec.concepts[concept]
        if home is None or isinstance(wanted, ConceptWords) or not home.folder.is_dir():
            continue
        try:
            if home.folder not in ledgers:
                ledgers[home.folder] = read_ledger(home.folder)
        except FetchError as error:
            sentence = str(error)
        else:
            files = concept_files(wanted)
            sentence = _unfinished(home, ledgers[home.folder], files)
        if sentence:
            faults[concept] = file.fault(("concepts", concept), sentence)
    return faults


def _unfinished(home: StimulusRoot, ledger: Ledger | None, files: ConceptFiles) -> str:
    fetch = f"'visualbias fetch {home.suite}'" if home.can_be_fetched else "'visualbias fetch'"
    if home.can_be_fetched and not (home.folder / files.path).is_dir():
        return f"'{files.path}' is not in {home.folder}; run {fetch} or give 'stimuli'"
    if ledger is None:
        return ""
    # A process killed at the wrong moment has recorded a file that is not there yet.
    paths = [path for path in {*ledger.due, *ledger.files} if _is_of(path, files)]
    present = sum((home.folder / path).is_file() for path in paths)
    if present == len(paths):
        return ""
    return (
        f"{present} of {len(paths)} images are in {home.folder}: the others did not come, or are "
        f"gone; run {fetch} again or give 'stimuli'"
    )


def size_findings(file: SpecFile, sets: Mapping[str, StimulusSet]) -> Iterator[SetFinding]:
    """Yield a warning for each set whose size differs from the published one."""
    homes = {name: file.homes[name] for name in sets if name in file.homes}
    suites = {home.suite for home in homes.values() if home.can_be_fetched}
    counts = {suite: Counter(entry.folder for entry in read_manifest(suite)) for suite in suites}
    for name, home in homes.items():
        wanted = file.spec.concepts[name]
        if isinstance(wanted, ConceptWords):
            continue
        files = concept_files(wanted)
        if not home.can_be_fetched or files.files is not None or files.pattern is not None:
            continue
        published = counts[home.suite][_folder(files)]
        if published not in (0, len(sets[name])):
            message = (
                f"has {len(sets[name])} images, and {published} are published; results differ "
                "from those of the whole set"
            )
            yield SetFinding(path=("concepts", name), message=message, is_fault=False)


def _is_of(path: str, files: ConceptFiles) -> bool:
    """Return whether a file of a manifest belongs to a concept by its name."""
    if files.files is not None:
        return path in {os.path.normpath(f"{files.path}/{name}") for name in files.files}
    return path.rpartition("/")[0] == _folder(files)


def _folder(files: ConceptFiles) -> str:
    return os.path.normpath(files.path).replace(os.sep, "/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """The sets of every model, and warnings by model and test."""

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
    """Resolve the sets of a spec, and check them, its limits and its models."""
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
    suite_sets = {} if images is None or stimuli is not None else images.sets
    unlike = tuple(size_findings(file, suite_sets))
    return Preflight(models=models, warnings=_check(file, models, unlike, strict=strict))


def _first_layer(file: SpecFile) -> str:
    return model_points(file.spec, {})[0].name


def _image_sets(
    file: SpecFile, stimuli: Path | Url | None, digest: Callable[[Path], str], mirror: Mirror
) -> ModelSets:
    sets: dict[str, StimulusSet] = {}
    problems: dict[str, LocatedFault] = {}
    halves = unfinished(file, _used(file)) if stimuli is None else {}
    for concept in _used(file):
        wanted = file.spec.concepts[concept]
        if isinstance(wanted, ConceptWords):
            sets[concept] = resolve_words(concept, wanted)
            continue
        home = file.homes.get(concept) if stimuli is None else None
        if home is not None and not home.folder.is_dir():
            problems[concept] = file.fault(("suite",), *home.missing_stimuli())
            continue
        if concept in halves:
            problems[concept] = halves[concept]
            continue
        spec_root = home.folder if home is not None else _spec_root(file)
        root = stimuli if stimuli is not None else spec_root
        try:
            sets[concept] = resolve_concept(concept, wanted, root, digest=digest, mirror=mirror)
        except (StimulusError, StorageError) as error:
            fault = file.fault(("concepts", concept), str(error))
            problems[concept] = _absence(file, wanted, root) or fault
    return ModelSets(sets=sets, problems=problems)


def _absence(file: SpecFile, concept: str | ConceptFiles, root: Path | Url) -> LocatedFault | None:
    """Return the one fault of all sets where even the folder that they lie in is missing."""
    is_inside = not PurePath(concept_files(concept).path).is_absolute()
    # Path.exists raises about names that no file can have.
    if isinstance(root, Url) or not is_inside or os.path.exists(root):  # noqa: PTH110
        return None
    message = f"the folder {root} does not exist; correct 'stimuli' or fetch them"
    return file.fault(("stimuli",), message)


def _spec_root(file: SpecFile) -> Path | Url:
    stimuli = file.spec.stimuli
    return Url(stimuli) if is_url(stimuli) else file.folder / stimuli


def _check(
    file: SpecFile, models: Mapping[str, ModelSets], unlike: tuple[SetFinding, ...], *, strict: bool
) -> dict[tuple[str, str], tuple[str, ...]]:
    faults: dict[LocatedFault, None] = {}
    warnings: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for model, sets in models.items():
        findings = [
            *set_findings(file.spec, sets.sets),
            *(() if isinstance(file.spec.models[model], EmbeddingsModel) else unlike),
            *_unknown_weights(file, model),
            *_judges_reference(file, model),
            *_departure(file, model),
            *power_findings(file.spec, model, sets.sets),
        ]
        for finding in findings:
            fault = file.fault(finding.path, finding.message)
            if finding.is_fault:
                faults[fault] = None
                continue
            for index, test in enumerate(file.spec.tests):
                if _concerns(finding.path, index, test):
                    warnings[model, test.name][str(fault)] = None
    hidden = hidden_limits(
        file.spec, {model: model_sets.sets for model, model_sets in models.items()}
    )
    if hidden is not None:
        fault = file.fault(hidden.path, hidden.message)
        faults |= {fault: None} if strict else {}
        for key in hidden.tests:
            warnings[key][str(fault)] = None
    if faults:
        raise SpecError(list(faults))
    return {key: tuple(sentences) for key, sentences in warnings.items()}


def _unknown_weights(file: SpecFile, model: str) -> Iterator[SetFinding]:
    """Yield a warning if the weights of a factory's network are unknown."""
    entry = file.spec.models[model]
    if not isinstance(entry, FactoryModel):
        return
    if entry.files is None and entry.random_init is None:
        message = (
            f"no checkpoint: the weights are whatever {entry.call} returns, random ones if it "
            "loads none; add 'checkpoint', or 'random_init: 1' for an untrained network"
        )
        yield SetFinding(path=("models", model), message=message, is_fault=False)


def _judges_reference(file: SpecFile, model: str) -> Iterator[SetFinding]:
    """Yield a warning if growth is measured from the model that limits seem to judge."""
    for index, test in enumerate(file.spec.tests):
        is_turned = model == test.growth_from == "after" and not is_gated(file.spec, model, test)
        if is_turned and test.limits != type(test.limits)():
            message = (
                f"growth is measured from '{model}', so its limits judge the other models and not "
                "this one; name the model before"
            )
            yield SetFinding(path=("tests", index, "growth_from"), message=message, is_fault=False)


def _departure(file: SpecFile, model: str) -> Iterator[SetFinding]:
    """Yield a warning if the preprocessing is not that of the network."""
    entry = file.spec.models[model]
    is_prepared = isinstance(entry, NetworkEntry | ProgramModel)
    if is_prepared and getattr(entry, "preprocess", None) == "ieat":
        yield SetFinding(path=("models", model, "preprocess"), message=DEPARTURE, is_fault=False)


def _concerns(path: tuple[str | int, ...], index: int, test: BiasTest) -> bool:
    if path[0] == "models":
        return True
    if path[0] == "tests":
        return path[1] == index
    return path[1] in concepts_of(test).values()


def judged_together(file: SpecFile, mirror: Mirror | None = None) -> dict[str, int]:
    """Return how many checkpoints of each model are judged together, if they can be listed."""
    context = Context(folder=file.folder, project=file.folder, mirror=mirror or Mirror())
    counts = {}
    for name, entry in file.spec.models.items():
        counts[name] = 1
        checkpoints = entry.checkpoints if isinstance(entry, NetworkEntry) else None
        if checkpoints is not None and gates_all(entry):
            try:
                counts[name] = len(paths_of(checkpoints, context))
            except EncoderError:
                del counts[name]
    return counts
