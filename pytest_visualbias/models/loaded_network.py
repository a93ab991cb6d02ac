"""Hold a network with its input, and read its outputs as vectors."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import ReadOut
from pytest_visualbias.spec.effective_settings import (
    OUTPUT,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

    from pytest_visualbias.spec.schema import LayerPoint


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


def pool(
    output: torch.Tensor,
    layer: LayerPoint,
    *,
    channels_last: bool,
    prefix_tokens: int,
    register_tokens: int = 0,
) -> torch.Tensor:
    """Pool a feature map, tokens or a vector into one float32 vector per image."""
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
    raise EncoderError(f"layer '{layer.name}' is a feature map without a class token", "use mean")


def _pool_tokens(
    output: torch.Tensor, layer: LayerPoint, prefix: int, *, has_class: bool
) -> torch.Tensor:
    if layer.pooling == "cls":
        if not has_class:
            raise EncoderError(f"layer '{layer.name}' has no class token", "use mean")
        return output[:, 0]
    if layer.pooling == "flatten":
        return output.flatten(1)
    patches = output[:, prefix:]
    if layer.pooling == "mean":
        return patches.mean(dim=1, dtype=torch.float32)
    return patches.amax(dim=1)


def two_dimensional(output: Any, layer: LayerPoint) -> torch.Tensor:
    """Return vectors ``(n, dim)``; further axes may have length 1."""
    is_vector = torch.is_tensor(output) and output.ndim > 1 and output.shape[2:].numel() == 1
    if not is_vector:
        shape = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
        raise EncoderError(
            f"layer '{layer.name}' gives {shape} where (n, dim) is needed", "name a module to pool"
        )
    vectors: torch.Tensor = output.flatten(1)
    return vectors


# Texts in every pass, the last one filled up: the last bits of a vector go by the shape of it.
TEXTS_PER_PASS = 4
EXCERPT = 60


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextTower:
    """A text encoder and its tokenizer."""

    module: torch.nn.Module
    tokens: Callable[[Sequence[str]], Mapping[str, torch.Tensor]]
    run: Callable[[Mapping[str, torch.Tensor]], Any]
    tokenizer: str


def read_texts(tower: TextTower, texts: Sequence[str], device: torch.device) -> np.ndarray:
    """Return the vectors ``(n, dim)`` of texts, float32."""
    parts = []
    for start in range(0, len(texts), TEXTS_PER_PASS):
        taken = list(texts[start : start + TEXTS_PER_PASS])
        filled = taken + taken[-1:] * (TEXTS_PER_PASS - len(taken))
        tokens = {name: token.to(device) for name, token in tower.tokens(filled).items()}
        output = tower.run(tokens)
        if not torch.is_tensor(output) or output.ndim != 2 or len(output) != TEXTS_PER_PASS:  # noqa: PLR2004
            raise EncoderError(
                "the network gives no vector for each text", "use a factory of images"
            )
        parts.append(output[: len(taken)].float().cpu().numpy())
    return np.concatenate(parts)


def too_long_error(text: str, length: int) -> EncoderError:
    """Return the error about a text that exceeds the token limit."""
    excerpt = text if len(text) <= EXCERPT else f"{text[:EXCERPT]}..."
    return EncoderError(
        f"'{excerpt}' is longer than the {length} tokens that the model reads", "shorten it"
    )


def digest_of_tokenizer(tokenizer: Any) -> str:
    """Return the digest of a tokenizer's vocabulary and rules."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = "" if backend is None else str(backend.to_str())
    parts = [type(tokenizer).__name__, rules]
    if not rules and hasattr(tokenizer, "get_vocab"):
        parts.append(repr(sorted(tokenizer.get_vocab().items())))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
