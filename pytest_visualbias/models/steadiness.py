"""Check that a network gives the same vector for an image in every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Far above what another order of additions changes, far below what dropout does.
TOLERANCE = 1e-3

# Other images in a pass move a vector by up to 6 % where int8 takes its scale from the whole pass,
# and by 20 % or more where normalization takes mean and variance from it.
BATCH_TOLERANCE = 0.1

# Divides by the batches of most programs, so that few passes are filled up.
IMAGES = 8


def check_determinism(
    encode: Callable[[Sequence[np.ndarray]], Mapping[str, np.ndarray]],
    prepare: Callable[[Image.Image], np.ndarray],
    *,
    batch: int | None = None,
) -> None:
    """Embed noise, in another order and with other images; raise if vectors differ."""
    # In another order the same images share a pass.
    count = batch if batch is not None and IMAGES % batch else IMAGES
    images = [prepare(image) for image in noise(count)]
    first, again = encode(images), encode(images[::-1])
    for layer, rows in first.items():
        if deviation(rows, again[layer][::-1]) > TOLERANCE:
            raise EncoderError(
                f"the network gives an image another vector in another pass (layer '{layer}'): it "
                "is random, or not in evaluation mode",
                "turn dropout and random masks off, or save it after eval()",
            )
    # In another order a batch has the same statistics.
    bright = [prepare(image) for image in noise(count, seed=1, darkest=1)]
    beside = encode([images[0], *bright[1:]])
    for layer, rows in first.items():
        if deviation(rows[:1], beside[layer][:1]) > BATCH_TOLERANCE:
            raise EncoderError(
                "the network gives an image another vector beside other images (layer "
                f"'{layer}'): it takes statistics or attention from the whole batch",
                "save it after eval(), or compute them per image",
            )


def deviation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference of two arrays relative to the largest value."""
    largest = float(np.abs(first).max(initial=0))
    difference = float(np.abs(first - second).max(initial=0))
    return difference / largest if largest else difference


def noise(count: int, *, seed: int = 0, darkest: int = 3) -> list[Image.Image]:
    """Return noise images with different means, so that batch normalization shows."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 240, 320, 3), dtype=np.uint8)
    return [Image.fromarray(pixel // (1 + index % darkest)) for index, pixel in enumerate(pixels)]
