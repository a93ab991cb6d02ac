"""What shows of a checkpoint at a glance is a sentence, and a sound one has no flaw."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

from pytest_visualbias.models import weight_files
from pytest_visualbias.models.encoder import Identity
from pytest_visualbias.models.weight_files import describe_weights, find_flaw, find_flaws
from pytest_visualbias.spec.model_entries import EmbeddingsModel, TimmModel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), dtype=np.float32)}, path)
    return path


def archive(path: Path, *names: str) -> bytes:
    with zipfile.ZipFile(path, "w") as written:
        for name in names:
            written.writestr(name, b"0" * 1000)
    return path.read_bytes()


def test_sound_files_have_no_flaw(stored: Path, tmp_path: Path) -> None:
    assert find_flaw(stored) is None
    archive(tmp_path / "a.pt", "archive/data.pkl", "archive/data/0")
    (tmp_path / "legacy.pth").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    assert find_flaw(tmp_path / "a.pt") is None
    assert find_flaw(tmp_path / "legacy.pth") is None


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_has_no_flaw(tmp_path: Path, zipped: bool) -> None:
    import torch

    path = tmp_path / "a.pt"
    torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    assert find_flaw(path) is None


@pytest.mark.parametrize("name", ["notes.txt", "model.pth", "model.safetensors"])
@pytest.mark.parametrize("text", ["epoch 1\tloss 0.3\n", "é" * 400])
def test_a_text_is_told_as_what_it_is(tmp_path: Path, name: str, text: str) -> None:
    """Also one whose last letter is cut where it is looked at."""
    path = tmp_path / name
    path.write_text("x" + text, encoding="utf-8")
    said = "is a text file and holds no weights; name the file that does"
    assert find_flaw(path) == f"the checkpoint {path} {said}"
    path.write_bytes(b"\x93" + text.encode())
    assert said not in (find_flaw(path) or "")


def test_safetensors_that_break_off_are_told(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:-1])
    said = find_flaw(stored) or ""
    assert said.startswith(f"the checkpoint {stored} is damaged or incomplete (")
    assert said.endswith("; copy or save it again")


def test_safetensors_without_a_tensor_are_told(stored: Path) -> None:
    save_file({}, stored)
    assert find_flaw(stored) == f"the checkpoint {stored} holds no tensors; save the weights again"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a file that torch saves; name"),
        (b"<html>404", "is a text file and holds no weights; name the file that does"),
        (b"\x00\x01cd", "is not a file that torch saves; name"),
        (b"\x10" + bytes(7) + b'{"w": 1}', "is not a file that torch saves; name"),
        (b"PK\x03\x04 and no end", "is damaged or incomplete (File is not a zip file); copy"),
    ],
)
def test_other_files_are_told_by_how_they_begin(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    assert f"the checkpoint {path} {said}" in (find_flaw(path) or "")


def test_an_archive_of_something_else_is_told(tmp_path: Path) -> None:
    archive(tmp_path / "a.pt", "x.npy")
    assert "is not a file that torch saves" in (find_flaw(tmp_path / "a.pt") or "")


def test_every_checkpoint_of_a_list_is_looked_at(stored: Path, tmp_path: Path) -> None:
    empty = tmp_path / "b.safetensors"
    empty.write_bytes(b"")
    entry = TimmModel(source="timm", name="test_resnet", checkpoint=("a", "b"))
    trials = [Identity(label=one.name, facts={}, checkpoint=one) for one in (stored, empty)]
    (said,) = find_flaws(entry, trials)
    assert f"{empty} is damaged or incomplete" in said


def test_stored_vectors_are_no_checkpoints(stored: Path) -> None:
    entry = EmbeddingsModel(source="embeddings", path="x.npz")
    assert list(find_flaws(entry, [])) == []


@pytest.mark.parametrize("name", ["test_resnet", "resnet50", "resnet50.a1_in1k", "hf-hub:me/mine"])
def test_a_name_of_timm_is_known_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """To import it means to import torch, and that takes longer than all else that is checked."""
    asked: list[str] = []
    monkeypatch.setattr(importlib, "import_module", asked.append)
    assert list(find_flaws(TimmModel(source="timm", name=name), [])) == []
    assert asked == []


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tst_resnet", "timm has no model 'tst_resnet'; did you mean 'test_resnet'?"),
        ("resnet50.a1_in2k", "timm has no weights 'resnet50.a1_in2k'; did you mean"),
    ],
)
def test_a_name_that_timm_does_not_have_is_told_with_the_nearest(name: str, said: str) -> None:
    (found,) = find_flaws(TimmModel(source="timm", name=name), [])
    assert found.startswith(said)


def test_without_timm_its_names_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    weight_files._timm_text.cache_clear()
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert list(find_flaws(TimmModel(source="timm", name="tst_resnet"), [])) == []
    weight_files._timm_text.cache_clear()


@pytest.mark.torch
def test_the_weights_of_a_torch_file_are_described(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"layer.weight": torch.zeros(2, 3)}, tmp_path / "a.pt")
    (text,) = describe_weights(tmp_path / "a.pt")
    assert {"layer.weight", "torch.float32"} <= {*text.split()}
