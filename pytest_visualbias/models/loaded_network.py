"""Hold a network with its input and the layers at which it can be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.models.encoder import ReadOut
from pytest_visualbias.spec.effective_settings import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import torch
    from PIL import Image

    from pytest_visualbias.models.text_encoders import TextTower


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedNetwork:
    """A module with its input and the ways to read its outputs."""

    module: torch.nn.Module
    pooled: Callable[[Any], torch.Tensor] | str | None
    prepare: Callable[[Image.Image], np.ndarray]
    preprocessing: Mapping[str, Any]
    body: Callable[[torch.Tensor], Any] = lambda images: images
    logits: Callable[[Any], torch.Tensor] | str = (
        "the network has none; give one that has, or test embeddings at 'pooled'"
    )
    channels_last: bool = False
    prefix_tokens: int = 0
    register_tokens: int = 0
    unwrap: Callable[[Any], Any] = lambda output: output
    outputs: Mapping[str, Callable[[Any], torch.Tensor]] = field(default_factory=dict)
    closed: str = ""
    batch: int | None = None
    texts: Callable[[], TextTower] | str = "the model reads no texts"
    classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    read_out: ReadOut = field(default_factory=ReadOut)
    notes: Mapping[str, Any]


NO_CLASSIFIER = "the network has no classifier; give one that has, or test embeddings at 'pooled'"


def readers(model: Any, *, no_logits: str = "") -> dict[str, Any]:
    """Return how a network is run and read, as keywords of `LoadedNetwork`."""
    return {
        **_own_readers(model, no_logits),
        "channels_last": getattr(model, "output_fmt", "NCHW") == "NHWC",
        "prefix_tokens": int(getattr(model, "num_prefix_tokens", 0)),
        "register_tokens": int(getattr(model, "num_reg_tokens", None) or 0),
    }


def _own_readers(model: Any, no_logits: str) -> dict[str, Any]:
    if not no_logits and getattr(model, "num_classes", None) == 0:
        no_logits = NO_CLASSIFIER
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        return {
            "body": model.__call__,
            "pooled": None,
            "logits": no_logits or _identity,
            "outputs": {OUTPUT: _identity},
        }

    def pooled(features: torch.Tensor) -> torch.Tensor:
        return model.forward_head(features, pre_logits=True)  # type: ignore[no-any-return]

    return {
        "body": model.forward_features,
        "pooled": pooled,
        "logits": no_logits or model.forward_head,
    }


def _identity(output: torch.Tensor) -> torch.Tensor:
    return output
