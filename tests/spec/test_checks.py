"""What goes together in a spec; what does not is in `test_faults.py`."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.consistency import SOURCES_GROUP
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.schema import BiasSpec
from tests.spec.conftest import VALID

if TYPE_CHECKING:
    from collections.abc import Callable

AFTER = "{source: timm, name: test_resnet, checkpoint: after.safetensors}"
BEFORE = "{source: timm, name: test_resnet}\n"
LIMITS = "{max_effect: 0.5, max_growth: 0.2}"
TAGS = "    tags:"
FACTORY = "{{source: factory, call: 'a:b', checkpoint: a.pt, {0}}}"
TIMM = "{{source: timm, name: r, checkpoint: a.pt, {0}}}"
STORED = "{source: embeddings, path: a.npz}"


def after(entry: str) -> BiasSpec:
    return parse_spec(VALID.replace(AFTER, entry), file="s.yaml", folder=Path()).spec


@pytest.mark.parametrize(
    "changes",
    [
        [(BEFORE, "{source: timm, name: r, pretrained: false, checkpoint: a.pt}\n")],
        [(BEFORE, "{source: timm, name: r, pretrained: false, random_init: 3}\n")],
        # One layer needs no prefix, and a prefix with the layer serves several.
        [(AFTER, STORED)],
        [("[pooled]", "[l1, l2]"), (AFTER, STORED.replace("}", ", prefix: 'm_{layer}/'}"))],
        [("  before:", "  base:"), (TAGS, f"    growth_from: base\n{TAGS}")],
        [(LIMITS, "{max_gap: 0.1}"), ("{alpha: 0.05}", "{evidence: interval}")],
        [(LIMITS, "{max_gap: 0.1}"), ("{alpha: 0.05}", "{evidence: equivalence}")],
        [(LIMITS, "{max_gap: 0.1}"), (TAGS, f"    evidence: interval\n{TAGS}")],
        [(LIMITS, "{max_gap: 0.1}"), (TAGS, f"    evidence: equivalence\n{TAGS}")],
        [
            (LIMITS, "{max_gap: 0.1}"),
            ("{alpha: 0.05}", "{evidence: interval}"),
            (TAGS, f"    evidence: point\n{TAGS}"),
        ],
        # Without limits a reference alone is enough.
        [(f"before: {BEFORE}  after: {AFTER}", f"before: {AFTER}"), (LIMITS, "{}")],
        [(LIMITS, "{min_effect: 0.5}\n    control: positive\n    scope: model")],
    ],
)
def test_what_goes_together_is_accepted(
    changes: list[tuple[str, str]], change: Callable[..., str]
) -> None:
    parse_spec(change(*changes), file="s.yaml", folder=Path())


def test_a_source_of_an_installed_package_is_known_with_its_own_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def entry_points(*, group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
        assert group == SOURCES_GROUP
        return (importlib.metadata.EntryPoint("coreml", "theirs:Source", group),)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    entry = after("{source: coreml, anything: [1, 2]}").models["after"]
    assert entry.model_extra == {"anything": [1, 2]}


@pytest.mark.parametrize("entry", [FACTORY, TIMM])
@pytest.mark.parametrize("keys", ["", ", transform: {size: 32}", ", transform: {size: [32, 32]}"])
def test_preparing_as_ieat_did_goes_with_a_size(entry: str, keys: str) -> None:
    model: Any = after(entry.format(f"preprocess: ieat{keys}")).models["after"]
    assert model.preprocess == "ieat"


@pytest.mark.parametrize(
    ("keys", "is_sound"),
    [
        ({}, False),
        ({"preprocess": "own"}, False),
        ({"preprocess": "ieat"}, True),
        ({"transform": {"size": 8}}, True),
        ({"preprocess": "ieat", "transform": {"size": 8}}, True),
    ],
)
def test_the_json_schema_asks_a_factory_how_images_are_prepared(
    keys: dict[str, Any], is_sound: bool
) -> None:
    schema = BiasSpec.model_json_schema()
    part = {"$ref": "#/$defs/FactoryModel", "$defs": schema["$defs"]}
    entry = {"source": "factory", "call": "a:b", **keys}
    assert jsonschema.Draft202012Validator(part).is_valid(entry) is is_sound


def test_arguments_of_a_network_are_plain_values_and_lists_of_them() -> None:
    given = "{zero: false, classes: 7, drop_rate: 0.5, act: gelu, img_size: [64, 128]}"
    expected = {
        "zero": False,
        "classes": 7,
        "drop_rate": 0.5,
        "act": "gelu",
        "img_size": (64, 128),
    }
    model: Any = after(TIMM.format(f"arguments: {given}")).models["after"]
    assert model.arguments == expected
    assert [type(value) for value in model.arguments.values()] == [
        type(value) for value in expected.values()
    ]


VALUES = ("", "null", "[]", "{}", "true", "big", "-1", "0", "1.5", ".nan", ".inf", "[1]")
LISTS = ("[1, x, 1]", "[0, 0, 0, 0]", "{a: 1}", "2020-01-01", "[[1], 2, 3]")


@pytest.mark.parametrize("entry", [FACTORY, TIMM])
@pytest.mark.parametrize(
    "key", ["size", "crop", "mean", "std", "interpolation", "channels", "sizes", ""]
)
def test_no_fault_of_a_transform_is_a_text_of_pydantic(key: str, entry: str) -> None:
    accepted = {"null", "", "1.5", "true", "0", "-1", "[]"}
    for value in (*VALUES, *LISTS):
        size = "" if key == "size" else "size: 8, "
        transform = f"{{{size}{key}: {value}}}" if key else value or "7"
        try:
            after(entry.format(f"transform: {transform}"))
        except SpecError as error:
            for fault in error.faults:
                assert fault.place.startswith("models.after.transform"), value
                for word in ("pydantic", "validation", "Input should", "type=", "For further"):
                    assert word not in fault.text
        else:
            assert value in accepted or key in ("size", "crop", "")


@pytest.mark.parametrize(
    ("keys", "is_valid"),
    [
        ('checkpoints: "run/*.pt", series: epoch', True),
        ('checkpoints: "run/*.pt", series: epoch, gate: last', True),
        ("checkpoints: run/*.pt", False),
        ("series: epoch", False),
        ("checkpoint: a.pt, gate: all", False),
    ],
)
@pytest.mark.parametrize("source", ["timm, name: x", 'factory, call: "m:f", transform: {size: 8}'])
def test_the_json_schema_knows_which_keys_of_a_series_go_together(
    keys: str, is_valid: bool, source: str, change: Callable[..., str]
) -> None:
    spec = yaml.safe_load(change((AFTER, f"{{source: {source}, {keys}}}")))
    editor = jsonschema.Draft202012Validator(BiasSpec.model_json_schema())
    assert editor.is_valid(spec) == is_valid
