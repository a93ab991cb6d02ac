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


def check_steady(
    run: Callable[[np.ndarray], Any],
    prepare: Callable[[Image.Image], np.ndarray],
    *,
    batch: int | None = None,
) -> Any:
    """Run noise twice, the second time in another order, and return what came of the first.

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
        Where the two differ.
    """
    images = np.stack([prepare(image) for image in noise(batch or 2)])
    first = run(images)
    pairs = zip(leaves(first), leaves(run(images[::-1].copy())), strict=True)
    for one, other in pairs:
        is_by_image = one.ndim > 0 and len(one) == len(images)
        if one.is_floating_point() and not _is_close(one, other.flip(0) if is_by_image else other):
            raise EncoderError(
                "the network gives an image another vector in another pass: it is random, or not "
                "in evaluation mode; save it after eval()"
            )
    return first


def noise(count: int) -> list[Image.Image]:
    """Return images of noise; their means differ, so that normalizing by the batch shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 240, 320, 3), dtype=np.uint8)
    return [Image.fromarray(one // (1 + index % 3)) for index, one in enumerate(pixels)]


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    largest = float(one.abs().max()) if one.numel() else 0.0
    return bool(torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * largest))


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
