"""Vectors gathered from a network: nothing lost, nothing kept twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_visualbias.embeddings import extraction
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.extraction import LARGEST, CacheWriter, DiskBackedRows
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.effective_settings import parse_layer_point

if TYPE_CHECKING:
    from pathlib import Path

POOLED = parse_layer_point("pooled", "pooled")
FLAT = parse_layer_point("flat", "layer1:flatten")
KEYS = {"pooled": ("1" * 64, "2" * 64), "flat": ("3" * 64, "4" * 64)}


def keeper_of(folder: Path | None, known: tuple[str, ...] = (), **notes: Any) -> CacheWriter:  # noqa: ANN401
    said = {"preprocessing": {}, "description": notes}
    return CacheWriter(
        EmbeddingCache(folder=folder), KEYS, {"pooled": {*known}, "flat": set()}, said
    )


def test_what_is_added_is_there_and_in_the_cache_after_the_end(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path)
    keeper.add(POOLED, ["a", "b"], np.eye(2, 5, dtype=np.float32))
    keeper.add(POOLED, ["c"], np.ones((1, 5), dtype=np.float32))
    keeper.finish()
    assert keeper.vectors["pooled"].keys() == {"a", "b", "c"}
    kept = EmbeddingCache(folder=tmp_path).load(KEYS["pooled"][0]).vectors
    np.testing.assert_array_equal(kept["b"], np.eye(2, 5)[1])
    assert kept.keys() == {"a", "b", "c"}


def test_what_the_cache_has_already_is_not_kept_again(tmp_path: Path) -> None:
    """A second vector of an image, from another batch, may differ in its last bits."""
    keeper = keeper_of(tmp_path, known=("a",))
    keeper.add(POOLED, ["a", "b"], np.eye(2, 5, dtype=np.float32))
    keeper.finish()
    assert keeper.vectors["pooled"].keys() == {"b"}
    assert EmbeddingCache(folder=tmp_path).load(KEYS["pooled"][0]).vectors.keys() == {"b"}


def test_long_work_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the second batch, a run has lost at most what came since the last writing."""
    monkeypatch.setattr(extraction, "FLUSH_INTERVAL_S", -1.0)
    keeper = keeper_of(tmp_path)
    keeper.add(POOLED, ["a"], np.ones((1, 5), dtype=np.float32))
    assert EmbeddingCache(folder=tmp_path).load(KEYS["pooled"][0]).vectors.keys() == {"a"}
    keeper.add(POOLED, ["b"], np.ones((1, 5), dtype=np.float32))
    assert EmbeddingCache(folder=tmp_path).load(KEYS["pooled"][0]).vectors.keys() == {"a", "b"}


def test_what_was_computed_before_an_error_is_kept(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path)
    keeper.add(POOLED, ["a"], np.ones((1, 5), dtype=np.float32))
    keeper.close()
    assert EmbeddingCache(folder=tmp_path).load(KEYS["pooled"][0]).vectors.keys() == {"a"}


def test_a_cache_that_cannot_be_written_loses_nothing_and_is_said(tmp_path: Path) -> None:
    (blocked := tmp_path / "file").touch()
    keeper = keeper_of(blocked, parameters=3)
    keeper.add(POOLED, ["a"], np.ones((1, 5), dtype=np.float32))
    keeper.finish()
    assert keeper.vectors["pooled"].keys() == {"a"}
    assert keeper.unwritten


class TestLargeMaps:
    def test_are_kept_as_vectors_of_as_many_dimensions_as_images(self, tmp_path: Path) -> None:
        rows = np.random.default_rng(0).normal(size=(4, LARGEST + 1)).astype(np.float32)
        keeper = keeper_of(tmp_path)
        keeper.add(FLAT, ["a", "b"], rows[:2])
        keeper.add(FLAT, ["c", "d"], rows[2:])
        keeper.finish()
        keeper.close()
        cache = EmbeddingCache(folder=tmp_path)
        assert cache.load(KEYS["flat"][0]).vectors == {}
        found = cache.load_together(KEYS["flat"][1], ["d", "a"])
        assert found is not None
        assert {vector.shape for vector in found.vectors.values()} == {(4,)}
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        assert found.vectors["a"] @ found.vectors["d"] == pytest.approx(unit[0] @ unit[3], abs=1e-6)

    def test_of_another_set_of_images_are_computed_again(self, tmp_path: Path) -> None:
        """Such vectors say nothing about images that were not among them."""
        keeper = keeper_of(tmp_path)
        keeper.add(FLAT, ["a", "b"], np.ones((2, LARGEST + 1), dtype=np.float32))
        keeper.finish()
        cache = EmbeddingCache(folder=tmp_path)
        assert cache.load_together(KEYS["flat"][1], ["a", "c"]) is None

    def test_at_the_limit_are_kept_as_they_are(self, tmp_path: Path) -> None:
        keeper = keeper_of(tmp_path)
        keeper.add(FLAT, ["a"], np.ones((1, LARGEST), dtype=np.float32))
        keeper.finish()
        vectors = EmbeddingCache(folder=tmp_path).load(KEYS["flat"][0]).vectors
        assert vectors["a"].shape == (LARGEST,)

    def test_that_fit_on_no_disk_are_an_error_in_one_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(DiskBackedRows, "add", refuse)
        keeper = keeper_of(tmp_path)
        with pytest.raises(EncoderError, match=r"layer 'flat' gives 100,001 values .*No space"):
            keeper.add(FLAT, ["a"], np.ones((1, LARGEST + 1), dtype=np.float32))
        keeper.close()

    def test_need_no_cache(self) -> None:
        keeper = keeper_of(None)
        keeper.add(FLAT, ["a", "b"], np.ones((2, LARGEST + 1), dtype=np.float32))
        keeper.finish()
        assert {vector.shape for vector in keeper.vectors["flat"].values()} == {(2,)}
