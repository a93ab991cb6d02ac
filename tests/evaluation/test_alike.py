"""What a model cannot tell apart is told: of images in files, of words, and where it means much."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pytest_visualbias.evaluation.warnings import MIN_DIMENSION, alike, near_duplicates
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

SPEC = BiasSpec.model_construct(known_duplicates=("known*",))


def images(*names: str) -> StimulusSet:
    made = (Stimulus(name=name, digest=name, identity=name, path=Path(name)) for name in names)
    return StimulusSet(concept="x", stimuli=tuple(made))


def words(*names: str) -> StimulusSet:
    made = (Stimulus(name=name, digest=name, identity=name, prompts=(name,)) for name in names)
    return StimulusSet(concept="a", stimuli=tuple(made), templates=("{}",))


def told(sets: dict[str, StimulusSet], *, dim: int = MIN_DIMENSION) -> list[str]:
    """Return what is said where the vector of a stimulus is by the first letter of its name."""
    names = [one.name for stimuli in sets.values() for one in stimuli.stimuli]
    vectors = {
        name: np.random.default_rng(ord(name[0].lower())).normal(size=dim).astype(np.float32)
        for name in names
    }
    return alike(SPEC, "after", sets, vectors)


def test_words_are_called_words_where_they_stand_beside_images() -> None:
    (said,) = told({"X": images("b.png", "q.png"), "A": words("Scientist", "scientist", "poet")})
    assert said.startswith("'after' ")
    assert "words" in said
    assert ": A Scientist = A scientist;" in said


def test_files_are_called_files_and_both_are_told() -> None:
    sets = {"X": images("b.png", "b2.png", "q.png", "known.png", "k.png"), "A": words("S", "s")}
    files, read = told(sets)
    assert "files: X b.png = X b2.png;" in files
    assert ": A S = A s;" in read


def test_in_few_dimensions_equal_vectors_mean_little() -> None:
    """As logits of three classes are, where a program is rounded to int8."""
    assert told({"X": images("b.png", "b2.png")}, dim=MIN_DIMENSION - 1) == []


def test_images_of_one_set_that_are_nearly_the_same_are_named() -> None:
    random = np.random.default_rng(2)
    one, other = random.normal(size=(2, MIN_DIMENSION))
    near = one + 0.005 * random.normal(size=MIN_DIMENSION)
    vectors = {
        name: row.astype(np.float32)
        for name, row in {"a.png": one, "b.png": other, "c.png": near, "known.png": near}.items()
    }
    apart = {"X": images("a.png", "b.png"), "Y": images("c.png")}
    assert near_duplicates(SPEC, "after", apart, vectors) == []
    together = {"X": images("a.png", "b.png", "c.png", "known.png")}
    (message,) = near_duplicates(SPEC, "after", together, vectors)
    assert "X a.png and c.png" in message
    assert "known" not in message
    same = {"X": images("c.png", "d.png")}
    equal = vectors | {"d.png": vectors["c.png"]}
    assert near_duplicates(SPEC, "after", same, equal) == []  # `alike` names those
    assert near_duplicates(SPEC, "after", together, {n: v[:-1] for n, v in vectors.items()}) == []
