"""What is said of a test that was judged, besides its verdict: warnings, each with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.alike import alike, near_duplicates
from pytest_visualbias.pipeline.judging import unmeasured
from pytest_visualbias.pipeline.twins import twins
from pytest_visualbias.spec.layers import LOGITS, POOLED, PROBABILITIES
from pytest_visualbias.spec.roles import is_random
from pytest_visualbias.statistics import ContrastResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.pipeline.family import Judged
    from pytest_visualbias.pipeline.numbers import Numbers, Subject
    from pytest_visualbias.spec.parsing import SpecFile

__all__ = ["remarks"]


def remarks(file: SpecFile, subject: Subject, layer: str, judged: Judged) -> Iterator[str]:
    """Yield sentences about what a reader of the result should know.

    Parameters
    ----------
    file : SpecFile
        The spec.
    subject : Subject
        The model.
    layer : str
        The name of the layer.
    judged : Judged
        The test.
    """
    numbers, model, trials = judged.numbers, subject.name, subject.measured.trials
    place = f"{file.file}:{file.test_line(judged.test.name)}"
    if numbers.is_same:
        yield f"{place}: {_same(judged, model)}"
    yield from (f"{place}: {text}" for text in _lone(numbers))
    yield from _idle(file, model, numbers)
    images = (one.identity for stimuli in numbers.sets.values() for one in stimuli.stimuli)
    for text in (*twins(trials, images), *unmeasured(file.spec, model, judged.test, numbers)):
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


def _modules(subject: Subject, layer: str) -> set[str]:
    return {point.module for point in subject.measured.points if point.name == layer}


def _same(judged: Judged, model: str) -> str:
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


def _lone(numbers: Numbers) -> Iterator[str]:
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


def _idle(file: SpecFile, model: str, numbers: Numbers) -> Iterator[str]:
    """Yield a warning for every declared difference that is none."""
    if numbers.differing is None:
        return
    found = {one.name for one in numbers.differing}
    for index, name in enumerate(file.spec.settings.differs):
        if name not in found:
            message = f"'{model}' does not differ in it from what it is compared with; remove it"
            yield file.sentence(("settings", "differs", index), message)
