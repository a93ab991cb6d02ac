"""How a network is run and read: its features, its logits, and what its layers return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_visualbias.spec.layers import OUTPUT

if TYPE_CHECKING:
    import torch

__all__ = ["NO_CLASSIFIER", "read_outs"]

NO_CLASSIFIER = "the network has no classifier; give one that has, or test embeddings at 'pooled'"


def read_outs(model: Any, *, no_logits: str = "") -> dict[str, Any]:
    """Return how a network is run and read, as `Network` takes it.

    Parameters
    ----------
    model : torch.nn.Module
        With ``forward_features`` and ``forward_head``, as timm's have, or with neither: then its
        logits are its output, and `final_layer.with_pooled` finds its features.
    no_logits : str
        Why it has no logits, where the caller knows.

    Returns
    -------
    dict
        ``body``, ``pooled`` and ``logits``; the order of its maps; how many of its tokens are none
        of the image.
    """
    return {
        **_own(model, no_logits),
        "channels_last": getattr(model, "output_fmt", "NCHW") == "NHWC",
        "prefix_tokens": int(getattr(model, "num_prefix_tokens", 0)),
        "register_tokens": int(getattr(model, "num_reg_tokens", None) or 0),
    }


def _own(model: Any, no_logits: str) -> dict[str, Any]:
    if not no_logits and getattr(model, "num_classes", None) == 0:
        no_logits = NO_CLASSIFIER
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        return {
            "body": model.__call__,
            "pooled": None,
            "logits": no_logits or _itself,
            "outputs": {OUTPUT: _itself},
        }

    def pooled(features: torch.Tensor) -> torch.Tensor:
        return model.forward_head(features, pre_logits=True)  # type: ignore[no-any-return]

    return {
        "body": model.forward_features,
        "pooled": pooled,
        "logits": no_logits or model.forward_head,
    }


def _itself(output: torch.Tensor) -> torch.Tensor:
    return output
