"""A linear probe of embeddings, and the labelled folder that it is asked about."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.cli.probe import (
    STRENGTHS,
    Probe,
    labelled_sets,
    probe,
    require_sklearn,
    standardise,
)
from pytest_visualbias.embeddings.request import ModelSets
from pytest_visualbias.embeddings.table import EmbeddingTable, Trial
from pytest_visualbias.errors import StimulusError, UsageError
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

pytestmark = pytest.mark.slow


def measured(blocks: Mapping[str, Rows]) -> tuple[Trial, ModelSets]:
    """Return a trial and its sets, of vectors ``(n, dim)`` by class."""
    pytest.importorskip("sklearn")
    sets: dict[str, StimulusSet] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    for name, rows in blocks.items():
        names = [f"{name}/{index}" for index in range(len(rows))]
        stimuli = tuple(Stimulus(name=one, digest=one, identity=one) for one in names)
        sets[name] = StimulusSet(concept=name, stimuli=stimuli)
        vectors |= dict(zip(names, rows.astype(np.float32), strict=True))
    table = EmbeddingTable(vectors=vectors, failures={}, preprocessing={})
    trial = Trial(label="t", facts={}, fingerprint="f", tables={"pooled": table})
    return trial, ModelSets(sets=sets, problems={})


def apart(distance: float, dim: int = 8, n: int = 30) -> dict[str, Rows]:
    """Return two classes whose means differ in one direction; the scales of features differ."""
    random = np.random.default_rng(0)
    scale = np.geomspace(1e-3, 1e3, dim)
    return {
        name: (random.normal(size=(n, dim)) + shift * distance * (np.arange(dim) == 1)) * scale
        for name, shift in (("a", -0.5), ("b", 0.5))
    }


def probed(blocks: Mapping[str, Rows], *, folds: int = 5, seed: int = 0) -> Probe:
    trial, sets = measured(blocks)
    return probe(trial, "pooled", sets, folds=folds, seed=seed)


def test_classes_that_lie_apart_are_told_apart_whatever_the_scale_of_features() -> None:
    found = probed(apart(20))
    assert (found.correct, found.n, found.accuracy) == (60, 60, 1.0)
    assert found.ci_low < 1 == found.ci_high
    assert found.has_converged
    assert len(found.strengths) == 5
    assert set(found.strengths) <= set(STRENGTHS)


def test_classes_that_are_alike_are_guessed() -> None:
    """Were the images of the test among those of the training, more would be right."""
    found = probed(apart(0, dim=200, n=60))
    assert found.ci_low < 0.5 < found.ci_high


def test_the_same_images_give_the_same_numbers_in_any_order() -> None:
    blocks = apart(1)
    trial, sets = measured(blocks)
    turned = ModelSets(sets=dict(reversed(list(sets.sets.items()))), problems={})
    first = probe(trial, "pooled", sets, folds=2)
    assert probe(trial, "pooled", sets, folds=2) == first
    assert probe(trial, "pooled", turned, folds=2).n == first.n
    assert probe(trial, "pooled", sets, folds=2, seed=1) != first


def test_more_features_than_images_are_turned_without_changing_inner_products() -> None:
    random = np.random.default_rng(1)
    train, test = random.normal(size=(12, 9000)) * 3 + 1, random.normal(size=(5, 9000))
    mean, std = train.mean(axis=0), train.std(axis=0)
    whole = [(rows - mean) / std for rows in (train, test)]
    turned = standardise(train, test)
    assert turned[0].shape[1] <= 12
    for one, other in zip(whole, turned, strict=True):
        np.testing.assert_allclose(other @ turned[0].T, one @ whole[0].T, atol=1e-6)


def test_a_feature_that_is_constant_says_nothing() -> None:
    train, test = np.ones((4, 2), np.float32), np.full((2, 2), 7, np.float32)
    train[:, 1] = [1, 2, 3, 4]
    for rows in standardise(train, test):
        assert (rows[:, 0] == 0).all()
        assert np.isfinite(rows).all()


def test_an_image_that_could_not_be_embedded_is_said() -> None:
    trial, sets = measured(apart(1))
    table = trial.tables["pooled"]
    broken = EmbeddingTable(
        vectors=table.vectors, failures={"a/3": "a/3 is damaged"}, preprocessing={}
    )
    trial = Trial(label="t", facts={}, fingerprint="f", tables={"pooled": broken})
    with pytest.raises(StimulusError, match="a/3 is damaged"):
        probe(trial, "pooled", sets, folds=5)


def test_without_sklearn_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'pytest-visualbias\[probe\]'"):
        require_sklearn()


def labelled(folder: Path, classes: Mapping[str, str]) -> Path:
    """Write a folder of classes, a file for each letter."""
    for name, letters in classes.items():
        (folder / name).mkdir()
        for index, letter in enumerate(letters):
            (folder / name / f"{index}.png").write_text(letter)
    return folder


def test_every_subfolder_is_a_class_and_equal_images_count_once(tmp_path: Path) -> None:
    folder = labelled(tmp_path, {"dog": "abca", "cat": "xyz", ".hidden": "q"})
    (folder / "notes.txt").touch()
    sets = labelled_sets(folder, digest=digest_of_file, folds=3).sets
    assert {name: [one.name for one in found.stimuli] for name, found in sets.items()} == {
        "cat": ["cat/0.png", "cat/1.png", "cat/2.png"],
        "dog": ["dog/0.png", "dog/1.png", "dog/2.png"],
    }


@pytest.mark.parametrize(
    ("classes", "places"),
    [
        ({"a": "xyz"}, [""]),
        ({"a": "xyz", "b": "pqq"}, ["/b", "2", "3"]),
        ({"a": "xyz", "b": "pqx"}, ["a/0.png", "b/2.png"]),
    ],
)
def test_a_folder_that_cannot_be_probed_is_refused(
    tmp_path: Path, classes: dict[str, str], places: list[str]
) -> None:
    with pytest.raises(StimulusError) as refused:
        labelled_sets(labelled(tmp_path, classes), digest=digest_of_file, folds=3)
    assert str(refused.value).startswith(str(tmp_path))
    assert all(place in str(refused.value) for place in places)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="is not a folder"):
        labelled_sets(tmp_path / "none", digest=digest_of_file, folds=3)
