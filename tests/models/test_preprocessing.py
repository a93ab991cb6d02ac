"""A declared transform does what torchvision and timm do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torchvision import transforms

from pytest_visualbias.models.preprocessing import make_transform, transform_facts
from pytest_visualbias.spec.model_entries import Transform

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch

PLAIN: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
SIZES = [(64, 64), (100, 67), (67, 100), (301, 90), (33, 257), (31, 32), (17, 5)]
MODES = {
    "nearest": transforms.InterpolationMode.NEAREST,
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "lanczos": transforms.InterpolationMode.LANCZOS,
    "box": transforms.InterpolationMode.BOX,
}


def noise(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(size)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def prepared(image: Image.Image, **keys: Any) -> np.ndarray:  # noqa: ANN401 - of the spec
    return make_transform(Transform.model_validate({**PLAIN, **keys}))(image)


def theirs(image: Image.Image, *steps: Callable[..., Any]) -> np.ndarray:
    tensor: torch.Tensor = transforms.Compose([*steps, transforms.ToTensor()])(image)
    return tensor.numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [32, 33, 224])
def test_center_is_torchvisions_resize_and_center_crop(size: tuple[int, int], side: int) -> None:
    expected = theirs(noise(size), transforms.Resize(side), transforms.CenterCrop(side))
    np.testing.assert_array_equal(prepared(noise(size), size=side), expected)
    np.testing.assert_array_equal(prepared(noise(size), size=side, crop="center"), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.875, 0.9, 0.95, 1.0, 0.5])
def test_a_share_is_what_the_crop_keeps_of_the_resized_image(
    size: tuple[int, int], share: float
) -> None:
    outer = math.floor(64 / share)
    expected = theirs(noise(size), transforms.Resize(outer), transforms.CenterCrop(64))
    np.testing.assert_array_equal(prepared(noise(size), size=64, crop=share), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(32, 32), (32, 48), (50, 20)])
def test_squash_ignores_the_aspect(size: tuple[int, int], shape: tuple[int, int]) -> None:
    expected = theirs(noise(size), transforms.Resize(shape))
    found = prepared(noise(size), size=list(shape), crop="squash")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(32, 48), (50, 20), (40, 40)])
@pytest.mark.parametrize("share", [0.9, 1.0])
def test_any_shape_is_timms_transform(
    size: tuple[int, int], shape: tuple[int, int], share: float
) -> None:
    """Timm pads where rounding makes the resized image a pixel too small; so do we, with black."""
    steps = timm.data.create_transform(
        input_size=(3, *shape), crop_pct=share, interpolation="bilinear", **PLAIN
    )
    found = prepared(noise(size), size=list(shape), crop=share)
    np.testing.assert_allclose(found, steps(noise(size)).numpy(), atol=1e-6)


@pytest.mark.parametrize("interpolation", MODES)
def test_every_interpolation_is_pillows(interpolation: str) -> None:
    resize = transforms.Resize(20, interpolation=MODES[interpolation])
    expected = theirs(noise((50, 40)), resize, transforms.CenterCrop(20))
    found = prepared(noise((50, 40)), size=20, interpolation=interpolation)
    np.testing.assert_array_equal(found, expected)


def test_pixels_are_scaled_to_one_and_normalised_per_channel() -> None:
    image = Image.new("RGB", (10, 10), (0, 51, 255))
    found = prepared(image, size=4, mean=(0.5, 0.2, 0.0), std=(0.5, 1.0, 2.0))
    assert (found.dtype.name, found.shape) == ("float32", (3, 4, 4))
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found[:, 0, 0], [-1.0, 0.0, 0.5], atol=1e-7)
    plain = prepared(noise((40, 30)), size=16)
    assert 0 <= plain.min() < plain.max() <= 1


def test_what_is_not_said_is_imagenets() -> None:
    facts = transform_facts(Transform(size=(8, 16)))
    assert facts == {
        "input_size": [3, 8, 16],
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bilinear",
    }
    expected = theirs(noise((50, 40)), transforms.Resize(8), transforms.CenterCrop(8))
    normalize = transforms.Normalize(facts["mean"], facts["std"])
    found = make_transform(Transform(size=8))(noise((50, 40)))
    np.testing.assert_allclose(found, normalize(torch.from_numpy(expected)).numpy(), atol=1e-6)
