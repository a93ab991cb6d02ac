"""Models from the command line: every row of the option table that is about them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from pytest_visualbias.errors import UsageError
from pytest_visualbias.spec.model_entries import MODEL_SOURCES, SHIPPED_SOURCES, ModelEntry
from pytest_visualbias.spec.overrides import Override, apply_overrides, parse_override

TRANSFORM = {"size": 32}
OWN = {
    "source": "factory",
    "call": "nets:make",
    "checkpoint": "old.pt",
    "transform": TRANSFORM,
    "layers": {"mid": "layer2"},
    "ignore": ["head."],
}
TIMM = {"source": "timm", "name": "r", "pretrained": True, "transform": TRANSFORM}
STORED = {"source": "embeddings", "path": "old.npz", "prefix": "m/", "layers": {"mid": "l8"}}


def applied(
    models: dict[str, Any], name: str, what: str, source: str | None = None
) -> dict[str, Any]:
    data = {"visualbias": 1, "models": models}
    before = copy.deepcopy(data)
    result = apply_overrides(data, (Override(name=name, source=source, what=what),), "s.yaml")
    assert data == before, "the data of the spec was changed in place"
    assert result["visualbias"] == 1
    found: dict[str, Any] = result["models"]
    return found


@pytest.mark.parametrize("name", ["before", "after", "candidate"])
class TestABarePath:
    def test_replaces_the_checkpoint_and_keeps_the_entry(self, name: str) -> None:
        models = applied({name: OWN, "else": TIMM}, name, "/new.pt")
        assert models == {name: {**OWN, "checkpoint": "/new.pt"}, "else": TIMM}

    @pytest.mark.parametrize(
        "weights", [{"pretrained": True}, {"random_init": 3}, {"checkpoint": ["a", "b"]}]
    )
    def test_takes_the_place_of_whatever_weights_the_entry_had(
        self, name: str, weights: dict[str, Any]
    ) -> None:
        entry = {"source": "timm", "name": "r", **weights}
        assert applied({name: entry}, name, "/new.pt") == {
            name: {"source": "timm", "name": "r", "checkpoint": "/new.pt"}
        }

    def test_replaces_the_path_of_embeddings(self, name: str) -> None:
        assert applied({name: STORED}, name, "/new.npz") == {name: {**STORED, "path": "/new.npz"}}


@pytest.mark.parametrize(
    ("source", "key"), [("timm", "name"), ("factory", "call"), ("embeddings", "path")]
)
def test_a_source_replaces_the_entry(source: str, key: str) -> None:
    """What the entry says of images and layers holds for the model in its place, too."""
    (entry,) = applied({"after": OWN}, "after", "what", source).values()
    kept = {"layers": OWN["layers"]}
    if source != "embeddings":
        kept["transform"] = TRANSFORM
    assert entry == {"source": source, key: "what", **kept}


def test_other_stored_vectors_lie_under_the_same_prefix() -> None:
    (entry,) = applied({"after": STORED}, "after", "/new.npz", "embeddings").values()
    assert entry == {**STORED, "path": "/new.npz"}


@pytest.mark.parametrize(("given", "missing"), [("before", "after"), ("after", "before")])
class TestOneOfThePair:
    def test_is_copied_from_the_other(self, given: str, missing: str) -> None:
        models = applied({given: OWN}, missing, "/new.pt")
        assert models == {given: OWN, missing: {**OWN, "checkpoint": "/new.pt"}}

    def test_keeps_the_others_layers_where_a_source_is_named(
        self, given: str, missing: str
    ) -> None:
        models = applied({given: OWN}, missing, "resnet50", "timm")
        assert models[missing] == {
            "source": "timm",
            "name": "resnet50",
            "transform": TRANSFORM,
            "layers": OWN["layers"],
        }

    def test_grows_from_what_growth_is_measured_from_without_a_key(
        self, given: str, missing: str
    ) -> None:
        """A copied `growth_from` could make a model its own start."""
        entry = {**OWN, "growth_from": "base"}
        models = applied({given: entry, "base": OWN}, missing, "/new.pt")
        assert models[given] == entry
        assert "growth_from" not in models[missing]


def test_what_is_put_in_a_models_place_grows_from_where_it_did() -> None:
    entry = {**OWN, "growth_from": "base"}
    for source in ("timm", "embeddings"):
        replaced = applied({"tuned": entry, "base": OWN}, "tuned", "other", source)["tuned"]
        assert (replaced["source"], replaced["growth_from"]) == (source, "base")


def test_a_model_that_is_there_is_not_copied_from_the_other() -> None:
    models = applied({"before": OWN, "after": TIMM}, "after", "/new.pt")
    assert models["after"]["source"] == "timm"


@pytest.mark.parametrize("source", SHIPPED_SOURCES)
def test_every_source_of_the_table_replaces_a_model(source: str) -> None:
    target = "nets:make" if source == "factory" else "target"
    assert parse_override("after", f"{source}:{target}", Path("/home/ada")).source == source
    entry = applied({"after": OWN}, "after", target, source)["after"]
    assert type(TypeAdapter(ModelEntry).validate_python(entry)) is MODEL_SOURCES[source].entry


@pytest.mark.parametrize("reference", ["new:x", "tim:resnet18", "in-memory:x"])
def test_a_source_that_is_not_in_the_table_is_a_usage_error(reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_override("after", reference, Path("/home/ada"))
    assert {*caught.value.remedy.split()} >= {"timm,", "onnx,"}
    assert f"'{reference.partition(':')[0]}'" in str(caught.value)


def test_a_file_with_a_colon_in_its_name_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "epoch:3").touch()
    assert parse_override("after", "epoch:3", tmp_path).what == str(tmp_path / "epoch:3")


def test_an_unknown_name_with_a_bare_path_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        applied({"candidate": OWN}, "candidat", "/new.pt")
    assert "'candidat'" in str(caught.value)
    assert "'candidate'" in str(caught.value)


@pytest.mark.parametrize("name", ["before", "after"])
def test_neither_of_the_pair_with_a_bare_path_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}'"):
        applied({"candidate": OWN}, name, "/new.pt")


def test_an_unknown_name_with_a_source_is_a_new_model() -> None:
    models = applied({"after": OWN}, "other", "resnet50", "timm")
    assert models == {"after": OWN, "other": {"source": "timm", "name": "resnet50"}}


def test_several_are_applied_in_their_order() -> None:
    overrides = (
        Override(name="after", source="timm", what="resnet50"),
        Override(name="after", source=None, what="/new.pt"),
        Override(name="before", source=None, what="/old.pt"),
    )
    models = apply_overrides({"models": {"after": STORED}}, overrides, "s.yaml")["models"]
    timm = {"source": "timm", "name": "resnet50", "layers": {"mid": "l8"}}
    assert models == {
        "after": {**timm, "checkpoint": "/new.pt"},
        "before": {**timm, "checkpoint": "/old.pt"},
    }


@pytest.mark.parametrize("data", [None, [], "text", {}, {"models": None}, {"models": [1]}])
def test_what_is_no_spec_is_left_to_the_checks(data: object) -> None:
    override = Override(name="after", source=None, what="/new.pt")
    assert apply_overrides(data, (override,), "s.yaml") == data


def test_an_entry_that_is_no_mapping_stays_a_fault_of_the_spec() -> None:
    assert applied({"after": 3}, "after", "/new.pt") == {"after": 3}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("open_clip:local-dir:clip", {"source": "open_clip", "name": "local-dir:/home/ada/clip"}),
        (
            "open_clip:ViT-B-32/laion2b_s34b_b79k",
            {"source": "open_clip", "name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"},
        ),
        ("open_clip:hf-hub:org/clip", {"source": "open_clip", "name": "hf-hub:org/clip"}),
        ("torchvision:resnet18", {"source": "torchvision", "name": "resnet18"}),
        ("transformers:org/vit", {"source": "transformers", "name": "org/vit"}),
        ("transformers:./vit", {"source": "transformers", "path": "/home/ada/vit"}),
        ("transformers:/far/vit", {"source": "transformers", "path": "/far/vit"}),
        ("torchscript:net.ts", {"source": "torchscript", "path": "/home/ada/net.ts"}),
        ("export:net.pt2", {"source": "export", "path": "/home/ada/net.pt2"}),
        ("onnx:net.onnx", {"source": "onnx", "path": "/home/ada/net.onnx"}),
    ],
)
def test_every_source_can_take_the_place_of_a_model(
    reference: str, expected: dict[str, str]
) -> None:
    override = parse_override("after", reference, Path("/home/ada"))
    data = {"models": {"after": {"source": "timm", "name": "r", "checkpoint": "a.pt"}}}
    assert apply_overrides(data, (override,), "s.yaml")["models"]["after"] == expected


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"source": "onnx", "path": "a.onnx"}, "path"),
        ({"source": "transformers", "path": "a"}, "path"),
        ({"source": "transformers", "path": "a", "checkpoint": "a.pt"}, "checkpoint"),
        ({"source": "transformers", "name": "org/vit"}, "checkpoint"),
        ({"source": "open_clip", "name": "ViT-B-32", "pretrained": "openai"}, "checkpoint"),
    ],
)
def test_a_bare_path_replaces_what_holds_the_weights(entry: dict[str, str], key: str) -> None:
    """A tag stays: beside a checkpoint it says how images are prepared."""
    override = parse_override("after", "b", Path("/home/ada"))
    found = apply_overrides({"models": {"after": entry}}, (override,), "s.yaml")["models"]["after"]
    assert found == {**entry, key: "/home/ada/b"}
