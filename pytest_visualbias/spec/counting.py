"""Which images of a test's sets count: all, or of predictions those with or without a label."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_visualbias.spec.kinds import BiasTest
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["by_label", "counted", "unlabelled"]


def counted(test: BiasTest, sets: Mapping[str, StimulusSet]) -> dict[str, StimulusSet]:
    """Return the images of each role that count."""
    asked = test.prediction
    if asked is None:
        return dict(sets)
    return {role: _chosen(one, asked.counts) for role, one in sets.items()}


def by_label(
    test: BiasTest, sets: Mapping[str, StimulusSet]
) -> tuple[list[StimulusSet], list[StimulusSet]]:
    """Return the images that are of the class, and the others, as sets of which none is empty."""
    asked = test.prediction
    if asked is None or not asked.labels:
        return [], []
    inside = [_chosen(one, asked.is_positive) for one in sets.values()]
    outside = [_chosen(one, lambda name: not asked.is_positive(name)) for one in sets.values()]
    return [one for one in inside if len(one)], [one for one in outside if len(one)]


def _chosen(one: StimulusSet, is_chosen: Callable[[str], bool]) -> StimulusSet:
    chosen = tuple(stimulus for stimulus in one.stimuli if is_chosen(stimulus.name))
    return dataclasses.replace(one, stimuli=chosen)


def unlabelled(test: BiasTest, sets: Mapping[str, StimulusSet]) -> Iterator[tuple[str, str]]:
    """Yield the role and the sentence of sets that lack the images that a rate counts."""
    asked = test.prediction
    if asked is None or not asked.labels:
        return
    folders = " or ".join(f"'{label}'" for label in asked.labels)
    names = [stimulus.name for one in sets.values() for stimulus in one.stimuli]
    if not any(map(asked.is_positive, names)):
        message = f"no image lies in a folder {folders}; correct 'label', or the sets"
        yield "label", message
        return
    for role, one in counted(test, sets).items():
        if not len(one):
            lies = "lies in" if asked.rate == "tpr" else "lies outside"
            message = (
                f"no image of '{one.concept}' {lies} a folder {folders}, so it has no "
                f"{asked.what}; add images or correct 'label'"
            )
            yield role, message
