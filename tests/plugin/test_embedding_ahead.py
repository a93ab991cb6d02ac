"""Embeddings made ahead by ``visualbias embed``: the gate then loads no model."""

from __future__ import annotations

import errno
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings import cache as caching
from pytest_visualbias.models.encoder import _Shipped
from tests.plugin.conftest import NETWORKS, one_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
CACHE = "--visualbias-cache=ahead"
FACTORY = """
  after: {source: factory, call: "plain:network", transform: {size: 8}}
"""
PLAIN = """
import torch

def network():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
"""
NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="the engine 'ray' is an extra")
BROKEN = "visualbias: 1\nmodles: {}\n"


@pytest.fixture
def embed(networks: Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call ``visualbias embed`` in the project; return its exit code and what it says."""

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main(["embed", *(arguments or (SPEC,)), "--cache", "ahead"])
        return status, capsys.readouterr().out

    return call


def test_the_gate_loads_no_model_afterwards(
    networks: Project, embed: Callable[..., tuple[int, str]]
) -> None:
    status, said = embed()
    assert status == 0
    assert f"{SPEC} :: before: 20 images, 1 network, 1 layer; 20 embedded now" in said
    assert f"{SPEC} :: after: 20 images, 1 network, 1 layer; 20 embedded now" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Shipped, "open", _refuse)
        assert networks.gate(CACHE).ret == 0
    warm = networks.report()["results"]
    assert networks.gate("--visualbias-no-cache").ret == 0
    assert networks.report()["results"] == warm, "as if it had been embedded in the run"


def _refuse(*_: object) -> None:
    raise AssertionError("a model was loaded")


def test_what_is_there_is_not_made_again(embed: Callable[..., tuple[int, str]]) -> None:
    embed()
    _, said = embed()
    assert said.count("; 0 embedded now") == 2


@NEEDS_RAY
def test_where_all_is_there_no_cluster_is_asked(
    embed: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is nobody's: that would be an error, were there something to do."""
    embed()
    monkeypatch.setattr("pytest_visualbias.embeddings.ray_backend.connection", _refuse)
    status, said = embed(SPEC, "--engine", "ray", "--address", "127.0.0.1:9")
    assert status == 0
    assert said.count("; 0 embedded now") == 2


def test_only_the_models_that_are_named(embed: Callable[..., tuple[int, str]]) -> None:
    status, said = embed(SPEC, "--model", "after")
    assert (status, ":: before" in said, ":: after" in said) == (0, False, True)
    assert embed(SPEC, "--model", "nobody")[0] == 2


def test_a_faulty_spec_leaves_the_others(
    networks: Project, embed: Callable[..., tuple[int, str]]
) -> None:
    broken = networks.path / "bias_specs" / "broken.bias.yaml"
    broken.write_text(BROKEN, encoding="utf-8")
    status, said = embed(str(broken), SPEC)
    assert status == 1
    assert "broken.bias.yaml:2:1: modles: " in said
    assert said.count("20 embedded now") == 2


@pytest.mark.parametrize("what", ["set", "image", "checkpoint"])
def test_what_cannot_be_embedded_is_said(
    networks: Project, embed: Callable[..., tuple[int, str]], what: str
) -> None:
    if what == "image":
        (networks.path / "stimuli/x/0.png").write_bytes(b"no image")
    if what == "checkpoint":
        (networks.path / "after.safetensors").write_bytes(b"no checkpoint")
    if what == "set":
        networks.spec(
            one_test("one", "{max_effect: 1.8}", X="gone"),
            head="stimuli: ../stimuli",
            models=NETWORKS,
            concepts="{gone: gone, y: y, a: a, b: b}",
        )
    status, said = embed()
    assert status == 1
    assert {"set": "gone", "image": "0.png", "checkpoint": "after.safetensors"}[what] in said
    assert str(networks.path) not in said, "paths are those of the project"


@pytest.mark.parametrize("fault", ["full disk", "read-only folder", "file in its place"])
def test_a_cache_that_cannot_be_written_is_an_error(
    networks: Project,
    embed: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    """Nobody learns otherwise that the gate will embed again; it does without the cache."""
    place = networks.path / "ahead"
    if fault == "file in its place":
        place.mkdir()
        (place / caching.FORMAT).write_text("no folder")
    else:
        number = errno.ENOSPC if fault == "full disk" else errno.EROFS

        def refuse(path: Path, _content: bytes) -> None:
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(caching, "write_atomically", refuse)
    status = main(["embed", SPEC, "--cache", "ahead"])
    shown = capsys.readouterr()
    assert (status, "embedded now" in shown.out) == (1, False)
    assert len(shown.err.splitlines()) == 1
    assert "ahead" in shown.err
    assert networks.gate(CACHE).ret == 0


ENGINES = ("local", pytest.param("ray", marks=NEEDS_RAY))


@pytest.mark.parametrize("engine", ENGINES)
def test_vectors_that_are_not_kept_are_not_embedded(
    networks: Project, embed: Callable[..., tuple[int, str]], engine: str
) -> None:
    """A factory without a checkpoint: nothing would ask for its vectors. No cluster is asked."""
    (networks.path / "plain.py").write_text(PLAIN)
    networks.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=FACTORY,
        concepts="{x: x, y: y, a: a, b: b}",
    )
    address = ("--address", "127.0.0.1:9") if engine == "ray" else ()
    status, said = embed(SPEC, "--engine", engine, *address)
    assert (status, "embedded now" in said, ":: after: not embedded" in said) == (0, False, True)
    assert not [*(networks.path / "ahead").rglob("*.safetensors")]
