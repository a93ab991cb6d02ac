"""Every distinct image once."""

from __future__ import annotations

import itertools

from pytest_visualbias.embeddings.request import EmbeddingRequest, distinct_requests, merge_requests
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet


def a_set(concept: str, *images: tuple[str, str]) -> StimulusSet:
    stimuli = tuple(Stimulus(name=name, digest=digest, identity=digest) for name, digest in images)
    return StimulusSet(concept=concept, stimuli=stimuli)


SETS = (
    a_set("one", ("b.png", "1"), ("a.png", "2")),
    a_set("two", ("c.png", "1"), ("d.png", "3")),
    a_set("three"),
)


def test_an_image_of_several_sets_stands_once_under_its_first_name() -> None:
    assert [(one.name, one.digest) for one in distinct_requests(SETS)] == [
        ("a.png", "2"),
        ("b.png", "1"),
        ("d.png", "3"),
    ]


def test_the_order_does_not_depend_on_that_of_the_sets() -> None:
    assert len({distinct_requests(sets) for sets in itertools.permutations(SETS)}) == 1


def test_nothing_is_needed_for_no_sets() -> None:
    assert distinct_requests([]) == ()


def a_want(images: str, *layers: tuple[str, str]) -> EmbeddingRequest:
    stimuli = distinct_requests([a_set("one", *((f"{one}.png", one) for one in images))])
    return EmbeddingRequest(
        stimuli=stimuli, points=tuple(parse_layer_point(name, at) for name, at in layers)
    )


class TestSeveralSpecs:
    OWN = a_want("ab", ("pooled", "pooled"), ("mid", "layer3"))

    def test_their_images_and_layers_are_taken_together(self) -> None:
        other = a_want("bc", ("pooled", "pooled"), ("late", "layer4:max"))
        want = merge_requests(self.OWN, [other])
        assert [one.digest for one in want.stimuli] == [*"abc"]
        places = [(point.module, point.pooling) for point in want.points]
        assert places == [("pooled", "mean"), ("layer3", "mean"), ("layer4", "max")]

    def test_own_layers_keep_their_names_and_no_two_share_one(self) -> None:
        """'mid' of the other spec is another place."""
        other = a_want("c", ("mid", "layer2"), ("middle", "layer3"))
        want = merge_requests(self.OWN, [other])
        assert want.points[:2] == self.OWN.points
        names = [point.name for point in want.points]
        assert len({*names}) == len(names) == 3

    def test_alone_a_want_stays_as_it_is(self) -> None:
        assert merge_requests(self.OWN, []) == self.OWN
        assert merge_requests(self.OWN, [self.OWN]) == self.OWN
