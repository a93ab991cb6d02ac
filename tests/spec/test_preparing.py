"""What an entry may say of its network and its preprocessing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.schema import BiasSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    Spoilt = Callable[..., list[str]]

AFTER = "{source: timm, name: test_resnet, checkpoint: after.safetensors}"
OWN = "{{source: factory, call: 'a:b', checkpoint: a.pt, {0}}}"
TIMM = "{{source: timm, name: r, checkpoint: a.pt, {0}}}"


@pytest.mark.parametrize("entry", [OWN, TIMM])
class TestIeat:
    @pytest.mark.parametrize(
        "keys", ["", ", transform: {size: 32}", ", transform: {size: [32, 32]}"]
    )
    def test_goes_with_a_size(self, entry: str, keys: str, valid: str) -> None:
        text = valid.replace(AFTER, entry.format(f"preprocess: ieat{keys}"))
        model: Any = parse_spec(text, file="s.yaml", folder=Path()).spec.models["after"]
        assert model.preprocess == "ieat"

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("crop", "center"),
            ("mean", "[0, 0, 0]"),
            ("std", "[1, 1, 1]"),
            ("interpolation", "box"),
        ],
    )
    def test_leaves_nothing_else_to_say(
        self, entry: str, key: str, value: str, spoilt: Spoilt
    ) -> None:
        keys = f"preprocess: ieat, transform: {{size: 32, {key}: {value}}}"
        (fault,) = spoilt((AFTER, entry.format(keys)))
        said = f"models.after.transform.{key}: 'preprocess: ieat' says it already; remove it"
        assert fault.endswith(said)

    def test_is_square(self, entry: str, spoilt: Spoilt) -> None:
        (fault,) = spoilt((AFTER, entry.format("preprocess: ieat, transform: {size: [8, 9]}")))
        said = "models.after.transform.size: 'preprocess: ieat' cuts a square; write one number"
        assert fault.endswith(said)

    def test_is_spelt_so(self, entry: str, spoilt: Spoilt) -> None:
        found = spoilt((AFTER, entry.format("preprocess: ieats, transform: {size: 8}")))
        assert found[0].endswith(
            "models.after.preprocess: 'ieats' is not one of 'own' or 'ieat'; did you mean 'ieat'?"
        )


@pytest.mark.parametrize("keys", ["", "preprocess: own"])
def test_a_factory_without_it_needs_a_transform(keys: str, spoilt: Spoilt) -> None:
    (fault,) = spoilt((AFTER, OWN.format(keys)))
    assert fault.endswith("models.after.transform: is missing; add it")


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
def test_the_json_schema_says_so_too(keys: dict[str, Any], is_sound: bool) -> None:
    schema = BiasSpec.model_json_schema()
    part = {"$ref": "#/$defs/FactoryModel", "$defs": schema["$defs"]}
    entry = {"source": "factory", "call": "a:b", **keys}
    assert jsonschema.Draft202012Validator(part).is_valid(entry) is is_sound


class TestArguments:
    def test_are_plain_values(self, valid: str) -> None:
        given = "arguments: {zero_init_last: false, num_classes: 7, drop_rate: 0.5, act: gelu}"
        text = valid.replace(AFTER, TIMM.format(given))
        model: Any = parse_spec(text, file="s.yaml", folder=Path()).spec.models["after"]
        assert model.arguments == {
            "zero_init_last": False,
            "num_classes": 7,
            "drop_rate": 0.5,
            "act": "gelu",
        }
        assert [type(value) for value in model.arguments.values()] == [bool, int, float, str]

    def test_may_be_lists(self, valid: str) -> None:
        text = valid.replace(AFTER, TIMM.format("arguments: {img_size: [64, 128]}"))
        model: Any = parse_spec(text, file="s.yaml", folder=Path()).spec.models["after"]
        assert model.arguments == {"img_size": (64, 128)}

    @pytest.mark.parametrize("value", ["[[1, 2]]", "{a: 1}"])
    def test_are_nothing_else(self, value: str, spoilt: Spoilt) -> None:
        (fault,) = spoilt((AFTER, TIMM.format(f"arguments: {{img_size: {value}}}")))
        assert "models.after.arguments.img_size" in fault
        assert "must be text, but " in fault

    @pytest.mark.parametrize(
        "name", ["pretrained", "pretrained_cfg", "pretrained_strict", "checkpoint_path"]
    )
    def test_do_not_say_which_weights(self, name: str, spoilt: Spoilt) -> None:
        (fault,) = spoilt((AFTER, TIMM.format(f"arguments: {{{name}: no}}")))
        assert fault.endswith(
            f"models.after.arguments.{name}: says which weights are loaded; say it with the keys "
            "of the model"
        )

    def test_do_not_say_what_is_read(self, spoilt: Spoilt) -> None:
        (fault,) = spoilt((AFTER, TIMM.format("arguments: {features_only: true}")))
        assert fault.endswith("changes what the network returns; name what you want under 'layers'")


VALUES = (
    "",
    "null",
    "[]",
    "{}",
    "true",
    "big",
    "-1",
    "0",
    "1.5",
    ".nan",
    ".inf",
    "[1]",
    "[1, x, 1]",
)


@pytest.mark.parametrize("entry", [OWN, TIMM])
@pytest.mark.parametrize("value", [*VALUES, "[0, 0, 0, 0]", "{a: 1}", "2020-01-01", "[[1], 2, 3]"])
@pytest.mark.parametrize(
    "key", ["size", "crop", "mean", "std", "interpolation", "channels", "sizes", ""]
)
def test_no_fault_of_a_transform_is_a_text_of_pydantic(
    key: str, value: str, entry: str, valid: str
) -> None:
    """Each is one line with the place of the key, and what to do behind a semicolon."""
    size = "" if key == "size" else "size: 8, "
    transform = f"{{{size}{key}: {value}}}" if key else value or "7"
    text = valid.replace(AFTER, entry.format(f"transform: {transform}"))
    try:
        parse_spec(text, file="s.yaml", folder=Path())
    except SpecError as error:
        for line in str(error).splitlines():
            assert re.match(r"s\.yaml:\d+:\d+: models\.after\.transform", line), line
            assert "; " in line
            for word in ("pydantic", "validation", "Input should", "type=", "For further"):
                assert word not in line
    else:
        assert value in ("null", "", "1.5", "true", "0", "-1", "[]") or key in ("size", "crop", "")
