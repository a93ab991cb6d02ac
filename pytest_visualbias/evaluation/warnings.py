"""Collect the warnings of a result: near-duplicate images, duplicate trials, uncompared limits."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import printable
from pytest_visualbias.evaluation.judging import unmeasured_limits
from pytest_visualbias.spec.effective_settings import LOGITS, POOLED, PROBABILITIES, is_random
from pytest_visualbias.statistics.association import ContrastResult
from pytest_visualbias.stimuli.concept_checks import is_listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.table import Trial
    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.measurement import EmbeddedModel, Measurement
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

# Of vectors of length 1: more than batches change in float32, less than two photographs differ by.
NEAR = 1e-5

# Cosine of images of one burst, or of one picture cut twice.
NEARLY = 0.999
SHOWN = 3
READ = "reads different words alike"
REMEDY = "keep one of each, or name it under 'known_duplicates'"

# In a space of less, and in one of logits, different images often come to one place.
FEWEST = 16


def alike(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[str]:
    """Return what there is to say about files, or words, that differ and have the same vector."""
    placed = {
        stimulus.identity: (role, stimulus)
        for role, stimuli in sets.items()
        for stimulus in stimuli.stimuli
        if (stimulus.path is not None or stimulus.prompts) and stimulus.identity in vectors
    }
    rows = [np.asarray(vectors[identity], np.float64).ravel() for identity in placed]
    pairs = [
        pair
        for pair in _near(list(placed.values()), rows)
        if not any(is_listed(spec, image) for _, image in pair)
    ]
    found = []
    for same, is_read in (("sees one image in different files", False), (READ, True)):
        told = [_said(*pair) for pair in pairs if any(one.prompts for _, one in pair) == is_read]
        if told:
            more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
            found.append(f"'{model}' {same}: {', '.join(told[:SHOWN])}{more}; {REMEDY}")
    return found


def near_duplicates(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[str]:
    """Return what there is to say about images of one set that are nearly the same."""
    pairs: list[str] = []
    for role, stimuli in sets.items():
        images = [
            stimulus
            for stimulus in stimuli.stimuli
            if stimulus.path is not None
            and stimulus.identity in vectors
            and not is_listed(spec, stimulus)
        ]
        rows = [np.asarray(vectors[image.identity], np.float64).ravel() for image in images]
        if len({row.shape for row in rows}) != 1 or len(rows[0]) < FEWEST:
            continue
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            continue  # said by the test itself
        cosines = np.triu((units := np.stack(rows) / lengths) @ units.T, k=1)
        pairs += [
            f"{role} {printable(images[one].name)} and {printable(images[other].name)}"
            for one, other in np.argwhere(cosines > NEARLY)
            if np.linalg.norm(units[one] - units[other]) > NEAR
        ]
    if not pairs:
        return []
    more = f" and {len(pairs) - SHOWN} more pairs" if len(pairs) > SHOWN else ""
    message = f"near-duplicates for '{model}' (cosine over {NEARLY}): {', '.join(pairs[:SHOWN])}"
    return [
        f"{message}{more}; if they show the same person or scene, name their groups with 'groups'"
    ]


def _near(
    placed: list[tuple[str, Stimulus]], rows: list[NDArray[np.float64]]
) -> Iterator[tuple[tuple[str, Stimulus], tuple[str, Stimulus]]]:
    """Yield neighbours along one direction that are neighbours along all."""
    if len({row.shape for row in rows}) != 1 or len(rows[0]) < FEWEST:
        return
    units = np.stack(rows)
    lengths = np.linalg.norm(units, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        return  # said by the test itself
    units = units / lengths
    along = np.random.default_rng(0).normal(size=units.shape[1])
    order = np.argsort(units @ along, kind="stable")
    for one, other in itertools.pairwise(order):
        if np.linalg.norm(units[one] - units[other]) <= NEAR:
            yield placed[one], placed[other]


def _said(one: tuple[str, Stimulus], other: tuple[str, Stimulus]) -> str:
    first, second = sorted(
        (f"{role} {printable(stimulus.name)}" for role, stimulus in (one, other))
    )
    return f"{first} = {second}"


def duplicate_trials(trials: Sequence[Trial], images: Iterable[str]) -> Iterator[str]:
    """Yield a sentence about trials that give every image the same vectors."""
    looked = list(images)
    groups: list[list[Trial]] = []
    for trial in trials:
        same = next((group for group in groups if _are_one(group[0], trial, looked)), None)
        if same is None:
            groups.append([trial])
        else:
            same.append(trial)
    for group in groups:
        if len(group) > 1:
            names = printable(" and ".join(one.label for one in group))
            yield (
                f"{names} give every image the same vector, so one network counts {len(group)} "
                "times; keep one of them if they hold the same weights"
            )


def _are_one(trial: Trial, other: Trial, images: Sequence[str]) -> bool:
    """Whether vectors are the same at every layer: finetuning may have left the first ones."""
    return bool(images) and all(
        _same_network(table.vectors.get(image), other.tables[layer].vectors.get(image))
        for layer, table in trial.tables.items()
        for image in images
    )


def _same_network(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def collect_warnings(
    file: SpecFile, subject: EmbeddedModel, layer: str, judged: JudgedTest
) -> Iterator[str]:
    """Yield sentences about what a reader of the result should know."""
    numbers, model, trials = judged.numbers, subject.name, subject.measured.trials
    place = f"{file.file}:{file.test_line(judged.test.name)}"
    if numbers.is_same:
        yield f"{place}: {_same(judged, model)}"
    yield from (f"{place}: {text}" for text in _lone(numbers))
    yield from _idle(file, model, numbers)
    images = (
        stimulus.identity for stimuli in numbers.sets.values() for stimulus in stimuli.stimuli
    )
    for text in (
        *duplicate_trials(trials, images),
        *unmeasured_limits(file.spec, model, judged.test, numbers),
    ):
        yield file.sentence(("models", model), text)
    if trials[0].read_out.doubt and POOLED in _modules(subject, layer):
        yield file.sentence(("models", model), trials[0].read_out.doubt)
    if not _modules(subject, layer) & {LOGITS, PROBABILITIES}:  # equal predictions are nothing rare
        vectors = trials[0].tables[layer].vectors
        # Random weights map all images close together.
        is_untrained = is_random(file.spec.models[model])
        for look in (alike,) if is_untrained else (alike, near_duplicates):
            for text in look(file.spec, model, numbers.sets, vectors):
                yield f"{place}: {text}"


def _modules(subject: EmbeddedModel, layer: str) -> set[str]:
    return {point.module for point in subject.measured.points if point.name == layer}


def _same(judged: JudgedTest, model: str) -> str:
    """Say that two models cannot be told apart, and what that means."""
    models, asked = f"'{judged.base}' and '{model}'", judged.test.prediction
    check = "check that they are not the same weights"
    if asked is None:
        return f"{models} score every image alike, so no growth can be found; {check}"
    if not asked.is_rate:
        what = f"give every image the same probability of class {asked.index}"
        return f"{models} {what}, so their gaps are equal; {check}"
    # Other weights may well predict the same of every image; only the same ones are told.
    return f"{models} have the same weights, so their gaps are equal; name the ones that are meant"


def _lone(numbers: Measurement) -> Iterator[str]:
    """Yield a warning if a set is a single stimulus, which no p takes for a sample."""
    if not isinstance(numbers.effect, ContrastResult):
        return
    sizes = {"X": numbers.effect.n_x, "A": numbers.effect.n_a}
    for role, size in sizes.items():
        if size == 1:
            yield (
                f"{role} ('{numbers.sets[role].concept}') holds 1 stimulus, so the p-values and "
                "the interval are about this stimulus only; add stimuli to judge the concept"
            )


def _idle(file: SpecFile, model: str, numbers: Measurement) -> Iterator[str]:
    """Yield a warning for every declared difference that is none."""
    if numbers.differing is None:
        return
    found = {one.name for one in numbers.differing}
    for index, name in enumerate(file.spec.settings.differs):
        if name not in found:
            message = f"'{model}' does not differ in it from what it is compared with; remove it"
            yield file.sentence(("settings", "differs", index), message)
