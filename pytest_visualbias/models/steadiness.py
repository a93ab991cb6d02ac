"""Whether a network gives an image the same vector in every pass and in any company."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["check_steady", "leaves", "noise"]

# Far above what another order of additions changes, far below what dropout does.
TOLERANCE = 1e-3
# Other images in a pass move a vector by up to 6 % where int8 takes its scale from the whole pass,
# and by 20 % or more where normalization takes mean and variance from it.
COMPANY = 0.1


def check_steady(
    run: Callable[[np.ndarray], Any],
    prepare: Callable[[Image.Image], np.ndarray],
    *,
    batch: int | None = None,
) -> Any:
    """Run noise, again in another order and in other company; return what came of it first.

    Dropout that is left on makes vectors random, and batch normalization that was saved while
    training makes them depend on the other images of a pass. Nobody would see either in a result.

    Parameters
    ----------
    run : callable
        A batch ``(n, c, h, w)`` to whatever the network returns.
    prepare : callable
        One RGB image to an array ``(c, h, w)``.
    batch : int or None
        How many images a pass takes, where that is fixed.

    Raises
    ------
    EncoderError
        Where an image has another vector in another pass.
    """
    images = np.stack([prepare(image) for image in noise(batch or 2)])
    first = run(images)
    for one, other in zip(leaves(first), leaves(run(images[::-1].copy())), strict=True):
        again = other.flip(0) if _is_by_image(one, images) else other
        if one.is_floating_point() and not _is_close(one, again, TOLERANCE):
            raise EncoderError(
                "the network gives an image another vector in another pass: it is random, or not "
                "in evaluation mode; save it after eval()"
            )
    if len(images) > 1:
        _check_company(run, prepare, images, first)
    return first


def _check_company(
    run: Callable[[np.ndarray], Any],
    prepare: Callable[[Image.Image], np.ndarray],
    images: np.ndarray,
    first: Any,
) -> None:
    """Run the first image beside other ones: in another order a batch has the same statistics."""
    bright = [prepare(image) for image in noise(len(images), seed=1, darkest=1)]
    beside = leaves(run(np.stack([images[0], *bright[1:]])))
    for one, other in zip(leaves(first), beside, strict=True):
        is_vector = one.is_floating_point() and _is_by_image(one, images)
        if is_vector and not _is_close(one[0], other[0], COMPANY):
            raise EncoderError(
                "the network gives an image another vector beside other images: it normalizes by "
                "those of a pass, as while training; save it after eval()"
            )


def noise(count: int, *, seed: int = 0, darkest: int = 3) -> list[Image.Image]:
    """Return images of noise; their means differ, so that normalizing by the batch shows.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the noise.
    darkest : int
        By what the darkest of them is divided; 1 makes all of them equally bright.
    """
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 240, 320, 3), dtype=np.uint8)
    return [Image.fromarray(one // (1 + index % darkest)) for index, one in enumerate(pixels)]


def _is_by_image(one: torch.Tensor, images: np.ndarray) -> bool:
    return one.ndim > 0 and len(one) == len(images)


def _is_close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    largest = float(one.abs().max()) if one.numel() else 0.0
    return bool(torch.allclose(one, other, rtol=tolerance, atol=tolerance * largest))


def leaves(output: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that something holds, however deep."""
    if torch.is_tensor(output):
        yield output
    elif isinstance(output, dict) or hasattr(output, "to_tuple"):
        for value in dict(output).values():
            yield from leaves(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from leaves(value)
