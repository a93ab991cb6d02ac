"""From what a layer returns to one vector per image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from pytest_visualbias.spec.schema import LayerPoint

__all__ = ["pool", "two_dimensional"]


def pool(
    output: torch.Tensor,
    layer: LayerPoint,
    *,
    channels_last: bool,
    prefix_tokens: int,
    register_tokens: int = 0,
) -> torch.Tensor:
    """Make one float32 vector per image from a feature map, a grid of tokens or a vector.

    Parameters
    ----------
    output : torch.Tensor
        ``(n, c, h, w)``, ``(n, tokens, dim)`` or ``(n, dim)``, of any precision.
    layer : LayerPoint
        Which pooling is wanted; vectors are taken as they are.
    channels_last : bool
        Whether the network's own feature maps are ``(n, h, w, c)``. Modules inside of it may have
        theirs the other way round: where two sides of a map are equal, they are its height and
        width.
    prefix_tokens : int
        How many tokens before the patches are not patches, left out of mean and max: where without
        them the patches make up a square, or where no number of them does.
    register_tokens : int
        How many of those are registers. They come last: without a class token, they are first.

    Returns
    -------
    torch.Tensor
        ``(n, dim)`` in memory of its own.

    Raises
    ------
    EncoderError
        Where the output has another shape, or no class token.
    """
    if output.ndim == 4:  # noqa: PLR2004 - a feature map
        if _is_channels_last(output, declared=channels_last):
            output = output.permute(0, 3, 1, 2)
        pooled = _pool_map(output, layer)
    elif output.ndim == 3:  # noqa: PLR2004 - tokens
        has_prefix = _is_square(output.shape[1] - prefix_tokens) or not _is_square(output.shape[1])
        prefix = prefix_tokens if has_prefix else 0
        pooled = _pool_tokens(output, layer, prefix, has_class=prefix > register_tokens)
    else:
        pooled = two_dimensional(output, layer)
    # What follows may work in place, as ReLU often does, on the very tensor that was pooled.
    return pooled.to(torch.float32, copy=True)


def _is_channels_last(output: torch.Tensor, *, declared: bool) -> bool:
    first, second, third = output.shape[1:]
    if first == second != third:
        return True
    if second == third != first:
        return False
    return declared


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _pool_map(output: torch.Tensor, layer: LayerPoint) -> torch.Tensor:
    if layer.pooling == "mean":
        return output.mean(dim=(2, 3), dtype=torch.float32)
    if layer.pooling == "max":
        return output.amax(dim=(2, 3))
    if layer.pooling == "flatten":
        return output.flatten(1)
    raise EncoderError(f"layer '{layer.name}' is a feature map without a class token; use mean")


def _pool_tokens(
    output: torch.Tensor, layer: LayerPoint, prefix: int, *, has_class: bool
) -> torch.Tensor:
    if layer.pooling == "cls":
        if not has_class:
            raise EncoderError(f"layer '{layer.name}' has no class token; use mean")
        return output[:, 0]
    if layer.pooling == "flatten":
        return output.flatten(1)
    patches = output[:, prefix:]
    if layer.pooling == "mean":
        return patches.mean(dim=1, dtype=torch.float32)
    return patches.amax(dim=1)


def two_dimensional(output: Any, layer: LayerPoint) -> torch.Tensor:
    """Return vectors ``(n, dim)``; further axes may have length 1.

    Raises
    ------
    EncoderError
        For anything else.
    """
    is_vector = torch.is_tensor(output) and output.ndim > 1 and output.shape[2:].numel() == 1
    if not is_vector:
        shape = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
        raise EncoderError(
            f"layer '{layer.name}' gives {shape} where (n, dim) is needed; name a module to pool"
        )
    vectors: torch.Tensor = output.flatten(1)
    return vectors
