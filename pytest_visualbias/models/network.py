"""What a source of torch networks provides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.models.encoder import ReadOut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import torch
    from PIL import Image

    from pytest_visualbias.models.text_tower import TextTower

__all__ = ["Network"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """What a source provides: the module, its input, and its own pooled features.

    Attributes
    ----------
    module : torch.nn.Module
        With its weights.
    pooled : callable, str or None
        What `body` gives to the vectors ``(n, dim)`` before any classifier, or why there are none.
        None lets `final_layer.with_pooled` find them by one pass.
    body : callable
        Images ``(n, c, h, w)`` to what `pooled` and `logits` start from; without it, the images.
    logits : callable or str
        What `body` gives to the logits ``(n, classes)``, or why there are none.
    prepare : callable
        One RGB image to an array ``(c, h, w)``.
    preprocessing : mapping
        What `prepare` does, as plain values.
    channels_last : bool
        Whether feature maps are ``(n, h, w, c)``.
    prefix_tokens : int
        How many tokens before the patches are not patches, such as the class token.
    register_tokens : int
        How many of those are registers.
    unwrap : callable
        What a module returns to the tensor that is meant.
    outputs : mapping of str to callable
        Layers besides the modules: their names, and what `body` gives to their tensors.
    closed : str
        Why no module can be read, where that is so.
    batch : int or None
        How many images every pass takes, where that is fixed.
    texts : callable or str
        Loads what reads texts into the space of `pooled`, or why there is nothing that does.
    classes : tuple of str
        What it calls its classes, in the order of its logits, where it says it.
    left_out : tuple of str
        Layers of the classifier, if its weights were not loaded; `logits` says why.
    read_out : ReadOut
        Where `pooled` is read, if the network's library does not define it.
    notes : mapping
        Facts for the report.
    """

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
