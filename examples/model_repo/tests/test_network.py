"""The repository's own tests: `pytest` alone runs these, `pytest --visualbias` the gate as well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shapes.drawing import GROUNDS, SHAPES, scene
from shapes.network import SIDE, backbone
from shapes.training import preprocess


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_scene_can_be_embedded(shape: str, ground: str) -> None:
    drawn = scene(np.random.default_rng(0), shape=shape, ground=ground)
    with torch.inference_mode():
        features = backbone().eval()(preprocess([drawn]))
    assert drawn.size == (SIDE, SIDE)
    assert features.shape == (1, 64)
    assert torch.isfinite(features).all()


def test_inputs_lie_between_minus_one_and_one() -> None:
    drawn = scene(np.random.default_rng(0), shape="disc", ground="warm")
    inputs = preprocess([drawn])
    assert inputs.shape == (1, 3, SIDE, SIDE)
    assert -1 <= inputs.min() < inputs.max() <= 1
