"""A declared transform, done with Pillow and numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_visualbias.spec.schema import Transform

__all__ = ["MEAN", "as_facts", "channel_facts", "declared", "reordered"]

# ImageNet's channel statistics, the field's default where a spec names none.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def as_facts(transform: Transform) -> Mapping[str, Any]:
    """Return everything that a transform does, defaults filled in, as plain values.

    They have the names that timm gives to them, so that a network of timm and one that is not
    compare as what they are where their images are prepared alike.
    """
    size = transform.size
    height, width = (size, size) if isinstance(size, int) else size
    is_share = isinstance(transform.crop, float)
    return {
        "input_size": [3, height, width],
        "interpolation": transform.interpolation or "bilinear",
        "mean": list(transform.mean or MEAN),
        "std": list(transform.std or STD),
        "crop_pct": transform.crop if is_share else 1.0,
        "crop_mode": "squash" if transform.crop == "squash" else "center",
        **channel_facts(transform),
    }


def channel_facts(transform: Transform | None) -> dict[str, Any]:
    """Return the order of channels, if it is not that of images."""
    is_bgr = transform is not None and transform.channels == "bgr"
    return {"channels": "bgr"} if is_bgr else {}


def reordered(prepared: np.ndarray, transform: Transform | None) -> np.ndarray:
    """Return a prepared image ``(3, height, width)`` with its channels in the order of a spec."""
    return np.ascontiguousarray(prepared[::-1]) if channel_facts(transform) else prepared


def declared(transform: Transform) -> Callable[[Image.Image], np.ndarray]:
    """Return the function that does a transform.

    The image is resized so that the crop just fits (or to the size itself for ``squash``), cropped
    in the middle, scaled to [0, 1], and normalised per channel. It rounds as torchvision's
    ``Resize`` and ``CenterCrop`` and timm's transforms do: networks were trained with these.

    Returns
    -------
    callable
        An RGB image to float32 ``(3, height, width)``.
    """
    facts = as_facts(transform)
    _, height, width = facts["input_size"]
    mean = np.array(facts["mean"], dtype=np.float32)
    std = np.array(facts["std"], dtype=np.float32)
    resample = Image.Resampling[str(facts["interpolation"]).upper()]

    def prepare(image: Image.Image) -> np.ndarray:
        resized = _fit(image, (height, width), transform.crop or "center", resample)
        pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
        ready = np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))
        return reordered(ready, transform)

    return prepare


def _fit(
    image: Image.Image, size: tuple[int, int], crop: str | float, resample: Image.Resampling
) -> Image.Image:
    height, width = size
    if crop == "squash":
        return image.resize((width, height), resample)
    share = 1.0 if isinstance(crop, str) else crop
    inner = math.floor(height / share), math.floor(width / share)
    resized = image.resize(_around(image, *inner), resample)
    left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
    return resized.crop((left, top, left + width, top + height))


def _around(image: Image.Image, height: int, width: int) -> tuple[int, int]:
    """Return the width and height to which an image is resized so that a box just fits in."""
    if height == width:
        short = min(image.size)
        across, down = (int(height * side / short) for side in image.size)
        return across, down
    ratio = min(image.height / height, image.width / width)
    return round(image.width / ratio), round(image.height / ratio)
