"""From the text of a layer to points of a network."""

from __future__ import annotations

import pytest

from pytest_visualbias.spec.effective_settings import (
    POOLINGS,
    expand_layers,
    layer_points,
    parse_layer_point,
)
from pytest_visualbias.spec.schema import LayerPoint


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("layer3", ["layer3"]),
        ("blocks.{0..2}", ["blocks.0", "blocks.1", "blocks.2"]),
        ("blocks.{9..11}:cls", ["blocks.9:cls", "blocks.10:cls", "blocks.11:cls"]),
        ("a.{0..1}.b.{2..3}", ["a.0.b.2", "a.0.b.3", "a.1.b.2", "a.1.b.3"]),
        ("a.{4..4}", ["a.4"]),
        ("a.{x..y}", ["a.{x..y}"]),
    ],
)
def test_ranges_are_expanded_in_order(text: str, layers: list[str]) -> None:
    assert list(expand_layers(text)) == layers


@pytest.mark.parametrize("text", ["a.{3..1}", "a.{0..1000}", "a.{0..99}.{0..99}"])
def test_a_range_names_one_to_a_thousand_layers(text: str) -> None:
    with pytest.raises(ValueError, match="names no layer, or more than 1000"):
        expand_layers(text)
    assert len(expand_layers("a.{0..999}")) == 1000


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pooling_stands_after_a_colon(pooling: str) -> None:
    point = parse_layer_point("n", f"layer3:{pooling}")
    assert (point.name, point.module, point.pooling) == ("n", "layer3", pooling)


def test_mean_is_the_default() -> None:
    assert parse_layer_point("layer3", "layer3").pooling == "mean"


def test_a_model_moves_layers_by_their_names_and_keeps_their_pooling() -> None:
    layers = ("pooled", "layer3:max", LayerPoint(name="mid", module="layer2", pooling="flatten"))
    points = layer_points(layers, {"mid": "blocks.8", "layer3:max": "blocks.4:cls"})
    assert points == (
        LayerPoint(name="pooled", module="pooled"),
        LayerPoint(name="layer3:max", module="blocks.4", pooling="cls"),
        LayerPoint(name="mid", module="blocks.8", pooling="flatten"),
    )


@pytest.mark.parametrize("name", ["pooled", "logits", "probabilities"])
def test_what_the_network_makes_itself_takes_no_pooling(name: str) -> None:
    with pytest.raises(ValueError, match="one vector of the network itself") as caught:
        parse_layer_point("x", f"{name}:mean")
    assert caught.value.args[1] == f"write '{name}' alone"
    assert parse_layer_point("x", name).module == name
