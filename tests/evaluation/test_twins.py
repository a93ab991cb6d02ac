"""Trials that are the same network twice are told, and no others."""

from __future__ import annotations

import numpy as np

from pytest_visualbias.embeddings.table import EmbeddingTable, Trial
from pytest_visualbias.evaluation.warnings import duplicate_trials

IMAGES = ("one", "two")


def trial(label: str, *seeds: int) -> Trial:
    """Return a trial with a layer for each seed of its vectors."""
    tables = {
        f"layer{place}": EmbeddingTable(
            vectors=dict(zip(IMAGES, np.random.default_rng(seed).normal(size=(2, 3)), strict=True)),
            failures={},
            preprocessing={},
        )
        for place, seed in enumerate(seeds)
    }
    return Trial(label=label, facts={}, fingerprint=label, tables=tables)


def told(*trials: Trial) -> list[str]:
    return list(duplicate_trials(trials, IMAGES))


def test_networks_with_the_same_vectors_are_named_together() -> None:
    same = (trial("a", 1), trial("b", 2), trial("c\x1b", 1), trial("d", 1))
    (said,) = told(*same)
    assert said.startswith("a and c\\x1b and d ")


def test_different_networks_are_none() -> None:
    assert told(trial("a", 1), trial("b", 2)) == []
    assert told(trial("a", 1)) == []


def test_finetuning_that_left_the_first_layers_makes_other_networks() -> None:
    assert told(trial("a", 1, 2), trial("b", 1, 3)) == []
    assert len(told(trial("a", 1, 2), trial("b", 1, 2))) == 1


def test_where_nothing_was_measured_nothing_is_said() -> None:
    assert list(duplicate_trials((trial("a", 1), trial("b", 1)), ())) == []
