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
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.table import Trial
    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.measurement import Measurement, MeasurementContext
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

# Distance of unit vectors: above the float32 differences of batches, below those of photographs.
NEAR_DISTANCE = 1e-5

# Cosine of photographs of one burst, or of two crops of one picture.
NEAR_COSINE = 0.999
MAX_SHOWN = 3
READ = "reads different words alike"
REMEDY = "keep one of each, or name it under 'known_duplicates'"

# In fewer dimensions, different images often have the same vector.
MIN_DIMENSION = 16


def alike(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[str]:
    """Return warnings about different files, or words, that have the same vector."""
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
    warnings = []
    for problem, is_word in (("sees one image in different files", False), (READ, True)):
        texts = [
            _as_text(*pair)
            for pair in pairs
            if any(stimulus.prompts for _, stimulus in pair) == is_word
        ]
        if texts:
            more = f" and {len(texts) - MAX_SHOWN} more" if len(texts) > MAX_SHOWN else ""
            warnings.append(f"'{model}' {problem}: {', '.join(texts[:MAX_SHOWN])}{more}; {REMEDY}")
    return warnings


def near_duplicates(
    spec: BiasSpec,
    model: str,
    sets: Mapping[str, StimulusSet],
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[str]:
    """Return warnings about images of one set that are nearly the same."""
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
        if len({row.shape for row in rows}) != 1 or len(rows[0]) < MIN_DIMENSION:
            continue
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            continue  # the test reports it
        cosines = np.triu((units := np.stack(rows) / lengths) @ units.T, k=1)
        pairs += [
            f"{role} {printable(images[first].name)} and {printable(images[second].name)}"
            for first, second in np.argwhere(cosines > NEAR_COSINE)
            if np.linalg.norm(units[first] - units[second]) > NEAR_DISTANCE
        ]
    if not pairs:
        return []
    more = f" and {len(pairs) - MAX_SHOWN} more pairs" if len(pairs) > MAX_SHOWN else ""
    message = (
        f"near-duplicates for '{model}' (cosine over {NEAR_COSINE}): {', '.join(pairs[:MAX_SHOWN])}"
    )
    return [
        f"{message}{more}; if they show the same person or scene, name their groups with 'groups'"
    ]


def _near(
    placed: list[tuple[str, Stimulus]], rows: list[NDArray[np.float64]]
) -> Iterator[tuple[tuple[str, Stimulus], tuple[str, Stimulus]]]:
    """Yield pairs of stimuli with nearly equal vectors, found along one random direction."""
    if len({row.shape for row in rows}) != 1 or len(rows[0]) < MIN_DIMENSION:
        return
    units = np.stack(rows)
    lengths = np.linalg.norm(units, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        return  # the test reports it
    units = units / lengths
    along = np.random.default_rng(0).normal(size=units.shape[1])
    order = np.argsort(units @ along, kind="stable")
    for first, second in itertools.pairwise(order):
        if np.linalg.norm(units[first] - units[second]) <= NEAR_DISTANCE:
            yield placed[first], placed[second]


def _as_text(pair: tuple[str, Stimulus], other: tuple[str, Stimulus]) -> str:
    first, second = sorted(f"{role} {printable(stimulus.name)}" for role, stimulus in (pair, other))
    return f"{first} = {second}"


def duplicate_trials(trials: Sequence[Trial], images: Sequence[str]) -> Iterator[str]:
    """Yield a warning for trials with the same vector for every image."""
    groups: list[list[Trial]] = []
    for trial in trials:
        same = next((group for group in groups if _are_equal(group[0], trial, images)), None)
        if same is None:
            groups.append([trial])
        else:
            same.append(trial)
    for group in groups:
        if len(group) > 1:
            names = printable(" and ".join(trial.label for trial in group))
            yield (
                f"{names} give every image the same vector, so one network counts {len(group)} "
                "times; keep one of them if they hold the same weights"
            )


def _are_equal(trial: Trial, other: Trial, images: Sequence[str]) -> bool:
    """Return whether vectors agree at every layer: finetuning may leave early layers unchanged."""
    return bool(images) and all(
        _are_equal_vectors(table.vectors.get(image), other.tables[layer].vectors.get(image))
        for layer, table in trial.tables.items()
        for image in images
    )


def _are_equal_vectors(vector: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return vector is not None and other is not None and np.array_equal(vector, other)


def collect_warnings(context: MeasurementContext, judged: JudgedTest) -> Iterator[str]:
    """Yield warnings that a reader of a result should know."""
    file, model, module = context.file, context.model.name, context.point.module
    numbers, trials = judged.numbers, context.model.measured.trials
    place = f"{file.file}:{file.test_line(judged.test.name)}"
    if numbers.is_same:
        yield f"{place}: {_same_scores(judged, model)}"
    if isinstance(numbers.effect, ContrastResult):
        yield from (f"{place}: {text}" for text in _single_stimuli(numbers.effect, numbers))
    if file.spec.settings.differs and numbers.differing is not None:
        yield from _unneeded_differs(file, model, {item.name for item in numbers.differing})
    images = [
        stimulus.identity for stimuli in numbers.sets.values() for stimulus in stimuli.stimuli
    ]
    for text in (
        *(duplicate_trials(trials, images) if len(trials) > 1 else ()),
        *unmeasured_limits(file.spec, model, judged.test, numbers),
    ):
        yield file.sentence(("models", model), text)
    if trials[0].read_out.doubt and module == POOLED:
        yield file.sentence(("models", model), trials[0].read_out.doubt)
    if module not in (LOGITS, PROBABILITIES):  # different images often have equal predictions
        vectors = trials[0].tables[context.layer].vectors
        # Random weights map all images close together.
        is_untrained = is_random(file.spec.models[model])
        for check in (alike,) if is_untrained else (alike, near_duplicates):
            for text in check(file.spec, model, numbers.sets, vectors):
                yield f"{place}: {text}"


def _same_scores(judged: JudgedTest, model: str) -> str:
    """Return that two models have the same scores, and what to check."""
    models, prediction = f"'{judged.base}' and '{model}'", judged.test.prediction
    check = "check that they are not the same weights"
    if prediction is None:
        return f"{models} score every image alike, so no growth can be found; {check}"
    if not prediction.is_rate:
        what = f"give every image the same probability of class {prediction.index}"
        return f"{models} {what}, so their gaps are equal; {check}"
    # Different weights may predict the same for every image, so weights were compared.
    return f"{models} have the same weights, so their gaps are equal; name the ones that are meant"


def _single_stimuli(effect: ContrastResult, numbers: Measurement) -> Iterator[str]:
    """Yield a warning for a set with a single stimulus, which is not a sample."""
    for role, size in {"X": effect.n_x, "A": effect.n_a}.items():
        if size == 1:
            yield (
                f"{role} ('{numbers.sets[role].concept}') holds 1 stimulus, so the p-values and "
                "the interval are about this stimulus only; add stimuli to judge the concept"
            )


def _unneeded_differs(file: SpecFile, model: str, differing: set[str]) -> Iterator[str]:
    """Yield a warning for every declared difference that does not exist."""
    for index, name in enumerate(file.spec.settings.differs):
        if name not in differing:
            message = f"'{model}' does not differ in it from what it is compared with; remove it"
            yield file.sentence(("settings", "differs", index), message)
