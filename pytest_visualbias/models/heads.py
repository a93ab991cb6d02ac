"""Networks that end in a classifier of their own: what it is given, and what it makes of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["head_outs"]


def head_outs(
    model: torch.nn.Module,
    head: str,
    *,
    run: Callable[[torch.Tensor], Any] | None = None,
    no_logits: str = "",
) -> dict[str, Any]:
    """Return how a network is run and read, as `Network` takes it.

    Its pooled features are what its classifier is given, whether that has learned anything or not.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    head : str
        The name of its classifier, or of the last layer of that.
    run : callable, optional
        Images to logits, where calling the network is not enough.
    no_logits : str
        Why there are no logits.
    """
    classifier = model.get_submodule(head)

    def body(images: torch.Tensor) -> tuple[torch.Tensor, Any]:
        given: list[torch.Tensor] = []
        handle = classifier.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            output = (run or model)(images)
        finally:
            handle.remove()
        if len(given) != 1:
            raise EncoderError(f"the classifier '{head}' ran {len(given)} times in a pass")
        return _flat(given[0]), output

    return {
        "body": body,
        "pooled": lambda seen: seen[0],
        "logits": no_logits or (lambda seen: seen[1]),
        "left_out": (head,) if no_logits else (),
    }


def _flat(features: torch.Tensor) -> torch.Tensor:
    """Return vectors: of a map, the mean over its positions."""
    is_map = features.ndim == 4  # noqa: PLR2004 - (n, c, h, w)
    # What follows may work in place on the very tensor.
    return features.mean(dim=(2, 3)) if is_map else features.clone()
