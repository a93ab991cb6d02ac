"""The preprocessing of iEAT (Steed & Caliskan, 2021), which SB-SSL took over.

A square whose side is the image's shorter one, from its top left; scaled by the average over areas
(OpenCV's ``INTER_AREA``); divided by 255, and not normalised. Pillow's ``BOX`` and torch's ``area``
are not that average: the one takes whole pixels by their centres, the other whole pixels by their
edges, each with the same weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

    from pytest_visualbias.spec.schema import Transform

__all__ = ["area_average", "ieat_facts", "ieat_input"]

SIZE: Final = 224


def _side(transform: Transform | None) -> int:
    size = SIZE if transform is None else transform.size
    return size if isinstance(size, int) else size[0]


def ieat_facts(transform: Transform | None) -> Mapping[str, Any]:
    """Return everything that is done, as plain values, by the keys of a declared transform."""
    return {
        "size": [_side(transform)] * 2,
        "crop": "top left",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "interpolation": "area",
    }


def ieat_input(transform: Transform | None) -> Callable[[Image.Image], np.ndarray]:
    """Return the function that prepares an image as iEAT did.

    Parameters
    ----------
    transform : Transform or None
        Only its size counts; 224 without it.

    Returns
    -------
    callable
        An RGB image to float32 ``(3, size, size)`` in [0, 1].
    """
    side = _side(transform)

    def prepare(image: Image.Image) -> np.ndarray:
        short = min(image.size)
        pixels = np.asarray(image.crop((0, 0, short, short)))
        average = area_average(pixels, side)
        # OpenCV gives whole numbers; it rounds a half to the even one, but averages of 2 x 2 up.
        whole = np.floor(average + 0.5) if short == 2 * side else np.rint(average)
        return whole.astype(np.float32) / np.float32(255)

    return prepare


def area_average(pixels: np.ndarray, size: int) -> np.ndarray:
    """Average a square over `size` times `size` equal squares, parts of pixels by their share.

    Parameters
    ----------
    pixels : ndarray
        ``(n, n, c)`` of whole numbers.
    size : int
        It may be larger than `n`.

    Returns
    -------
    ndarray
        ``(c, size, size)``, float64; where an average is a half of a whole number, it is exactly.
    """
    count = len(pixels)
    shares = _shares(count, size).astype(np.float64)
    sums = [shares @ pixels[..., channel] @ shares.T for channel in range(pixels.shape[2])]
    average: np.ndarray = np.stack(sums) / count**2
    return average


def _shares(count: int, size: int) -> np.ndarray:
    """How much of each of `count` pixels lies in each of `size` stretches, in 1 / `size`."""
    starts, pixels = np.arange(size)[:, None] * count, np.arange(count) * size
    ends = np.minimum(starts + count, pixels + size)
    shares: np.ndarray = np.maximum(ends - np.maximum(starts, pixels), 0)
    return shares
