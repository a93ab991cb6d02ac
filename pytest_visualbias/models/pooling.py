"""From what a layer returns to one vector per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from pytest_visualbias.spec.schema import LayerPoint

__all__ = ["pool", "two_dimensional"]


def pool(
    output: torch.Tensor, layer: LayerPoint, *, channels_last: bool, prefix_tokens: int
) -> torch.Tensor:
    """Make one float32 vector per image from a feature map, a grid of tokens or a vector.

    Parameters
    ----------
    output : torch.Tensor
        ``(n, c, h, w)``, ``(n, tokens, dim)`` or ``(n, dim)``, of any precision.
    layer : LayerPoint
        Which pooling is wanted; vectors are taken as they are.
    channels_last : bool
        Whether feature maps are ``(n, h, w, c)``.
    prefix_tokens : int
        How many tokens before the patches are not patches: left out of mean and max.

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
        if channels_last:
            output = output.permute(0, 3, 1, 2)
        pooled = _pool_map(output, layer)
    elif output.ndim == 3:  # noqa: PLR2004 - tokens
        pooled = _pool_tokens(output, layer, prefix_tokens)
    else:
        pooled = two_dimensional(output, layer)
    # What follows may work in place, as ReLU often does, on the very tensor that was pooled.
    return pooled.to(torch.float32, copy=True)


def _pool_map(output: torch.Tensor, layer: LayerPoint) -> torch.Tensor:
    if layer.pooling == "mean":
        return output.mean(dim=(2, 3), dtype=torch.float32)
    if layer.pooling == "max":
        return output.amax(dim=(2, 3))
    if layer.pooling == "flatten":
        return output.flatten(1)
    raise EncoderError(f"layer '{layer.name}' is a feature map without a class token; use mean")


def _pool_tokens(output: torch.Tensor, layer: LayerPoint, prefix: int) -> torch.Tensor:
    if layer.pooling == "cls":
        if prefix == 0:
            raise EncoderError(f"layer '{layer.name}' has no class token; use mean")
        return output[:, 0]
    if layer.pooling == "flatten":
        return output.flatten(1)
    patches = output[:, prefix:]
    if layer.pooling == "mean":
        return patches.mean(dim=1, dtype=torch.float32)
    return patches.amax(dim=1)


def two_dimensional(output: Any, layer: LayerPoint) -> torch.Tensor:
    """Pass on vectors ``(n, dim)``.

    Raises
    ------
    EncoderError
        For anything else.
    """
    if not torch.is_tensor(output) or output.ndim != 2:  # noqa: PLR2004 - (n, dim)
        shape = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
        raise EncoderError(
            f"layer '{layer.name}' gives {shape} where (n, dim) is needed; name a module to pool"
        )
    vectors: torch.Tensor = output
    return vectors
