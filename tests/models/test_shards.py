"""Checkpoints of several files: folders that trainers save, and indices of shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.weight_files import digest_of_weights, find_weight_files
from pytest_visualbias.spec.hashing import digest_of_file

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

INDEX = "model.safetensors.index.json"
WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two weights in two shards, as Accelerate and transformers save them."""
    names = {"a.weight": "model-00001-of-00002.safetensors"}
    names["b.weight"] = "model-00002-of-00002.safetensors"
    for name, file in names.items():
        safetensors.torch.save_file({name: WEIGHTS[name]}, tmp_path / file)
    index = {"metadata": {"total_size": 40}, "weight_map": names}
    (tmp_path / INDEX).write_text(json.dumps(index))
    return tmp_path


@pytest.mark.parametrize("place", [".", INDEX])
def test_a_folder_and_an_index_are_all_shards(folder: Path, place: str) -> None:
    found = read_checkpoint(folder / place)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def test_whole_weights_go_before_an_index(folder: Path) -> None:
    safetensors.torch.save_file({"c": torch.ones(1)}, folder / "model.safetensors")
    assert read_checkpoint(folder).keys() == {"c"}


def test_another_shard_is_another_checkpoint(folder: Path) -> None:
    before = {place: digest_of_weights(folder / place, digest_of_file) for place in (".", INDEX)}
    last = folder / "model-00002-of-00002.safetensors"
    safetensors.torch.save_file({"b.weight": torch.zeros(4)}, last)
    for place, digest in before.items():
        assert digest_of_weights(folder / place, digest_of_file) != digest


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"'model-00002.+'"):
        digest_of_weights(folder, digest_of_file)


def test_an_index_reaches_no_file_elsewhere(folder: Path) -> None:
    (folder / "inner").mkdir()
    index = folder / "inner" / INDEX
    index.write_text(json.dumps({"weight_map": {"a": "../model-00001-of-00002.safetensors"}}))
    with pytest.raises(EncoderError, match="beside it"):
        find_weight_files(index)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "\x00"])
def test_an_index_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(EncoderError, match="index"):
        read_checkpoint(tmp_path / INDEX)
