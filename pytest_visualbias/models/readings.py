"""Where networks of transformers are read: what they give, and what none of an image is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.heads import head_outs
from pytest_visualbias.models.readouts import NO_CLASSIFIER, read_outs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HEADS", "first_tensor", "head_of", "read_outs_of", "tokens_of"]

# What the classifier of a network is called, in its order of preference.
HEADS = ("classifier", "head", "score")
CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")


def head_of(model: Any) -> str:
    """Return the name of a classifier, or nothing where a network has none."""
    inner = getattr(model, "timm_model", None)
    if inner is not None:
        names = (getattr(inner, "pretrained_cfg", None) or {}).get("classifier") or ""
        return f"timm_model.{names}" if isinstance(names, str) and names else ""
    if type(model).__name__.endswith("ForImageClassification"):
        for name in HEADS:
            if isinstance(getattr(model, name, None), torch.nn.Module):
                return name
        raise EncoderError(
            f"nothing says where the classifier of {type(model).__name__} begins; use a factory"
        )
    return ""


def read_outs_of(model: Any, unlearned: str) -> dict[str, Any]:
    """Return how a model is run and read."""
    if (inner := getattr(model, "timm_model", None)) is not None:
        left_out = (head_of(model),) if unlearned else ()
        return {**read_outs(inner, no_logits=unlearned), "left_out": left_out}
    if head := head_of(model):
        return head_outs(
            model,
            head,
            run=lambda images: first_tensor(model(pixel_values=images)),
            no_logits=unlearned,
        )
    run: Callable[[torch.Tensor], Any]
    if hasattr(model, "get_image_features"):
        run = lambda images: model.get_image_features(pixel_values=images)  # noqa: E731
    else:
        run = lambda images: model(pixel_values=images)  # noqa: E731
    has_class = _class_tokens(model) > 0

    def pooled(output: Any) -> torch.Tensor:
        return _pooled(output, is_pooled=not unlearned, has_class=has_class)

    return {"body": run, "pooled": pooled, "logits": NO_CLASSIFIER}


def _pooled(output: Any, *, is_pooled: bool, has_class: bool) -> torch.Tensor:
    """Return the vectors of an output: its own, else the class token, else the mean."""
    for name in ("image_embeds", "pooler_output"):
        found = getattr(output, name, None)
        if torch.is_tensor(found) and is_pooled:
            return found.flatten(1) if found.shape[2:].numel() == 1 else _mean(found)
    found = output if torch.is_tensor(output) else getattr(output, "last_hidden_state", None)
    if not torch.is_tensor(found):
        kind = type(output).__name__
        raise EncoderError(f"the model gives {kind} without a vector for each image; use a factory")
    if found.ndim == 3 and has_class:  # noqa: PLR2004 - tokens
        return found[:, 0]
    return _mean(found)


def _mean(found: torch.Tensor) -> torch.Tensor:
    if found.ndim == 4:  # noqa: PLR2004 - a map
        return found.mean(dim=(2, 3))
    return found.mean(dim=1) if found.ndim == 3 else found  # noqa: PLR2004 - tokens


def first_tensor(output: Any) -> Any:
    """Return the first tensor of what a layer gives: its states, before its attention."""
    if isinstance(output, tuple | list) and output:
        return output[0]
    if hasattr(output, "to_tuple"):
        return output.to_tuple()[0]
    return output


def _class_tokens(model: Any) -> int:
    names = (name for name, _ in model.named_parameters())
    return sum(name.endswith(CLASS_TOKENS) for name in names)


def tokens_of(model: Any, config: Any) -> dict[str, Any]:
    """Return how many tokens are none of the image."""
    vision = getattr(config, "vision_config", config)
    registers = int(getattr(vision, "num_register_tokens", 0) or 0)
    own = _class_tokens(model)
    return {"prefix_tokens": own + registers, "register_tokens": registers + max(0, own - 1)}
