"""Sources are found by their names, and imported when they are used."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path

import pytest

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models import encoder
from pytest_visualbias.models.encoder import Identity, find_source
from pytest_visualbias.spec.model_entries import MODEL_SOURCES


def provide(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    def entry_points(*, group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
        return (importlib.metadata.EntryPoint("theirs", value, group),)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_a_source_of_another_package_is_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, "pathlib:Path")
    found = find_source("theirs")
    assert getattr(found, "source", None) is Path


def test_a_source_that_cannot_be_imported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, "not_installed_at_all:Source")
    with pytest.raises(EncoderError, match=r"the source 'theirs' \(not_installed_at_all:Source\)"):
        find_source("theirs")


def test_an_unknown_source_is_an_error() -> None:
    with pytest.raises(EncoderError, match="'unheard'"):
        find_source("unheard")


def test_a_whole_identity_does_not_depend_on_loaded_weights() -> None:
    identity = Identity(label="x", facts={"a": "1"})
    assert identity.fingerprint() == identity.fingerprint("weights")
    assert identity.fingerprint() != Identity(label="x", facts={"a": "2"}).fingerprint()
    assert identity.fingerprint() == Identity(label="y", facts={"a": "1"}).fingerprint()


@pytest.mark.parametrize("key", ["weights", "checkpoint", "folder", "loaded_weights"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_every_fact_is_part_of_the_fingerprint(key: str, *, is_whole: bool) -> None:
    """Also one that has the name under which the digest of loaded weights joins them."""
    identities = [Identity(label="x", facts={key: value}, is_whole=is_whole) for value in "ab"]
    assert identities[0].fingerprint("w") != identities[1].fingerprint("w")
    assert (identities[0].fingerprint("v") == identities[0].fingerprint("w")) is is_whole


@pytest.mark.parametrize("name", MODEL_SOURCES)
def test_the_functions_of_a_source_exist(name: str) -> None:
    source = MODEL_SOURCES[name]
    if not source.open:
        assert name == "embeddings", "its vectors are stored: no network is opened"
        return
    for place in (source.identify, source.open):
        module, _, function = place.partition(":")
        path = Path(encoder.__file__).with_name(f"{module}.py")
        tree = ast.parse(path.read_text("utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
