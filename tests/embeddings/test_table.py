"""Vectors with the identity of what produced them."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_visualbias.embeddings.table import EmbeddingTable
from pytest_visualbias.errors import EncoderError, StimulusError
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

STIMULI = StimulusSet(
    concept="c",
    stimuli=tuple(Stimulus(name=f"{i}.png", digest=i, identity=i) for i in "bac"),
)
VECTORS = {i: np.full(2, ord(i), dtype=np.float32) for i in "abcd"}


def test_rows_are_in_the_order_of_the_set_and_as_precise_as_they_were() -> None:
    """The statistics tell what varies by rounding alone from the precision of the numbers."""
    table = EmbeddingTable(vectors=VECTORS, failures={}, preprocessing={})
    rows = table.rows(STIMULI)
    assert (rows.dtype.name, rows[:, 0].tolist()) == ("float32", [98.0, 97.0, 99.0])


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({"a": "a fails"}, "a fails"),
        ({"c": "c fails", "a": "a fails", "d": "d"}, "a fails (and 1 more of 'c')"),
    ],
)
def test_a_set_with_a_failure_has_no_rows(failures: dict[str, str], expected: str) -> None:
    """An unreadable image is never dropped from its set."""
    table = EmbeddingTable(vectors=VECTORS, failures=failures, preprocessing={})
    with pytest.raises(StimulusError) as caught:
        table.rows(STIMULI)
    assert str(caught.value) == expected


def test_failures_of_other_images_do_not_matter() -> None:
    table = EmbeddingTable(vectors=VECTORS, failures={"d": "d fails"}, preprocessing={})
    assert table.rows(STIMULI).shape == (3, 2)


def test_what_the_model_is_at_fault_for_is_said_of_the_model() -> None:
    unread = EmbeddingTable(vectors={}, failures={}, preprocessing={}, problem="no such layer")
    wordless = EmbeddingTable(vectors={}, failures={}, preprocessing={}, faults={"a": "no texts"})
    for table, said in ((unread, "no such layer"), (wordless, "no texts")):
        with pytest.raises(EncoderError, match=said):
            table.rows(STIMULI)
        assert table.messages == (said,)
