"""Every distinct image once."""

from __future__ import annotations

import itertools

from pytest_visualbias.embeddings.plan import distinct
from pytest_visualbias.spec.stimuli import Stimulus, StimulusSet


def a_set(concept: str, *images: tuple[str, str]) -> StimulusSet:
    stimuli = tuple(Stimulus(name=name, digest=digest, identity=digest) for name, digest in images)
    return StimulusSet(concept=concept, stimuli=stimuli)


SETS = (
    a_set("one", ("b.png", "1"), ("a.png", "2")),
    a_set("two", ("c.png", "1"), ("d.png", "3")),
    a_set("three"),
)


def test_an_image_of_several_sets_stands_once_under_its_first_name() -> None:
    assert [(one.name, one.digest) for one in distinct(SETS)] == [
        ("a.png", "2"),
        ("b.png", "1"),
        ("d.png", "3"),
    ]


def test_the_order_does_not_depend_on_that_of_the_sets() -> None:
    assert len({distinct(sets) for sets in itertools.permutations(SETS)}) == 1


def test_nothing_is_needed_for_no_sets() -> None:
    assert distinct([]) == ()
