"""The console script probes the embeddings of a spec's models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings import extraction
from pytest_visualbias.reports.document import read_accuracies

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.slow]
SPEC = """visualbias: 1
models:
  stored: {source: embeddings, path: stored.safetensors, prefix: '{layer}/'}
  network: {source: timm, name: test_resnet, pretrained: false}
  twice: {source: timm, name: test_resnet, random_init: 2}
layers: [layer1, pooled]
concepts: {x: x, y: y, a: a, b: b}
tests:
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""
N = 12
Output = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec, and images of red and of blue things."""
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    for place, name in enumerate(("red", "blue")):
        home = tmp_path / "data" / name
        home.mkdir(parents=True)
        for index in range(N):
            pixels = random.integers(0, 90, size=(32, 32, 3), dtype=np.uint8)
            pixels[..., 2 * place] += 160
            Image.fromarray(pixels).save(home / f"{index}.png")
    (tmp_path / "x.bias.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISUALBIAS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(*arguments: str) -> int:
    return main(["probe", "x.bias.yaml", "--data", "data", "--device", "cpu", *arguments])


def test_it_tells_the_accuracy_of_each_model_and_layer_and_writes_it(
    folder: Path, capsys: Output
) -> None:
    assert run("--folds", "3", "--json", "out/accuracy.json") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == ("data: 24 images of 2 classes, 50.0% of them of the largest one; 3 folds")
    assert lines[2] == "100.0%   86.2% 100.0%  network [layer1]"
    assert len(lines) == 8
    assert said.err == "stored: stored vectors embed no other images, left out\n"
    found = read_accuracies(folder / "out/accuracy.json")
    assert [(one.model, one.layer) for one in found] == [
        ("network", "layer1"),
        ("network", "pooled"),
        *[("twice", "layer1"), ("twice", "pooled")] * 2,
    ]
    assert {one.n for one in found} == {24}
    assert len({one.fingerprint for one in found if one.model == "twice"}) == 2
    stored = json.loads((folder / "out/accuracy.json").read_text())
    assert stored["data"]["classes"] == {"blue": N, "red": N}
    assert stored["method"]["folds"] == 3


def test_embeddings_come_from_the_cache_the_second_time(
    folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--model", "network") == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(extraction, "extract", pytest.fail)
    monkeypatch.setattr("pytest_visualbias.embeddings.embed_model.extract", pytest.fail)
    assert run("--model", "network") == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--model", "netwrk"], 2, "x.bias.yaml has no model 'netwrk'; did you mean 'network'?"),
        (["--model", "stored"], 1, "x.bias.yaml: no model is left to probe; name one of a network"),
    ],
)
def test_a_model_that_cannot_be_probed_is_said(
    folder: Path, capsys: Output, arguments: list[str], status: int, said: str
) -> None:
    assert run(*arguments) == status
    assert capsys.readouterr().err.splitlines()[-1] == said


def test_too_few_folds_are_refused(folder: Path, capsys: Output) -> None:
    with pytest.raises(SystemExit):
        run("--folds", "2")
    assert "'2' is not a number of 3 or more" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_said(folder: Path, capsys: Output) -> None:
    (folder / "file").touch()
    assert run("--model", "network", "--json", "file/accuracy.json") == 2
    assert "file/accuracy.json cannot be written" in capsys.readouterr().err
