"""Which models are gated, and which only measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_visualbias.spec.effective_settings import growth_base, is_gated, is_random
from pytest_visualbias.spec.model_entries import EmbeddingsModel, FactoryModel, TimmModel, Transform
from pytest_visualbias.spec.parser import parse_spec


@pytest.mark.parametrize(
    ("keys", "random"),
    [
        ({}, False),
        ({"pretrained": True}, False),
        ({"pretrained": False}, True),
        ({"random_init": 2}, True),
        ({"pretrained": True, "random_init": 2}, False),
        ({"checkpoint": "a.pt", "random_init": 2}, False),
        ({"pretrained": False, "random_init": 2}, True),
        ({"checkpoint": "a.pt"}, False),
        ({"checkpoint": "a.pt", "pretrained": False}, False),
    ],
)
def test_timm_models_are_random_without_any_trained_weights(
    keys: dict[str, object], random: bool
) -> None:
    entry = TimmModel.model_validate({"source": "timm", "name": "r", **keys})
    assert is_random(entry) is random


def test_factories_are_random_where_they_say_so() -> None:
    transform = Transform(size=8)
    own = FactoryModel(source="factory", call="a:b", transform=transform)
    assert not is_random(own)
    assert is_random(own.model_copy(update={"random_init": 1}))
    assert not is_random(own.model_copy(update={"random_init": 1, "checkpoint": "a.pt"}))
    assert not is_random(EmbeddingsModel(source="embeddings", path="a.npz"))


def test_limits_gate_all_models_but_references_and_random_controls(valid: str) -> None:
    text = valid.replace(
        "layers:",
        "  other: {source: timm, name: r}\n  chance: {source: timm, name: r, random_init: 2}\n"
        "layers:",
    )
    spec = parse_spec(text, file="s", folder=Path()).spec
    (test,) = spec.tests
    assert growth_base(spec, test, "after") == "before"
    gated = [model for model in spec.models if is_gated(spec, model, test)]
    assert gated == ["after", "other"]
    moved = test.model_copy(update={"growth_from": "after"})
    assert [model for model in spec.models if is_gated(spec, model, moved)] == ["before", "other"]


def test_without_a_model_before_growth_has_no_base(valid: str) -> None:
    text = valid.replace("  before:", "  base:").replace(", max_growth: 0.2", "")
    spec = parse_spec(text, file="s", folder=Path()).spec
    assert growth_base(spec, spec.tests[0], "after") is None
    assert is_gated(spec, "base", spec.tests[0])
