"""Embed texts with the text towers of image-text models."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.steadiness import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

# Texts in every pass, the last one filled up: the last bits of a vector go by the shape of it.
PASS = 4
SHOWN = 60


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
    for start in range(0, len(texts), PASS):
        taken = list(texts[start : start + PASS])
        filled = taken + taken[-1:] * (PASS - len(taken))
        tokens = {name: token.to(device) for name, token in tower.tokens(filled).items()}
        output = tower.run(tokens)
        if not torch.is_tensor(output) or output.ndim != 2 or len(output) != PASS:  # noqa: PLR2004
            raise EncoderError(
                "the network gives no vector for each text", "use a factory of images"
            )
        parts.append(output[: len(taken)].float().cpu().numpy())
    return np.concatenate(parts)


def too_long_error(text: str, length: int) -> EncoderError:
    """Return the error about a text that exceeds the token limit."""
    excerpt = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
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


# Far above what another order of additions changes in a cosine.
TOLERANCE = 1e-4


def text_tower(
    model: Any,
    tokenizer: Any,
    *,
    see: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[Image.Image], np.ndarray],
) -> TextTower:
    """Return the text tower of a model that shares a space with its images."""
    length = _token_length(model, tokenizer)

    def tokens(texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        for text, ids in zip(texts, tokenizer(list(texts))["input_ids"], strict=True):
            if len(ids) > length:
                raise too_long_error(text, length)
        encoding = tokenizer(
            list(texts), padding="max_length", max_length=length, return_tensors="pt"
        )
        return {
            name: encoding[name] for name in ("input_ids", "attention_mask") if name in encoding
        }

    def run(given: Mapping[str, torch.Tensor]) -> Any:
        text_features = model.get_text_features(**given)
        return (
            text_features
            if torch.is_tensor(text_features)
            else getattr(text_features, "pooler_output", None)
        )

    tower = TextTower(
        module=model, tokens=tokens, run=run, tokenizer=digest_of_tokenizer(tokenizer)
    )
    _check_space(model, tower, see, prepare)
    return tower


def _token_length(model: Any, tokenizer: Any) -> int:
    """Return the number of tokens of a padded text."""
    config = getattr(model.config, "text_config", model.config)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        raise EncoderError(
            f"nothing says how many tokens {type(model).__name__} reads",
            "store vectors of the words, and use 'embeddings'",
        )
    return int(min(positions, tokenizer.model_max_length))


def _check_space(
    model: Any,
    tower: TextTower,
    see: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[Image.Image], np.ndarray],
) -> None:
    """Raise unless the vectors are those that the model itself compares."""
    device = next(model.parameters()).device
    images = torch.from_numpy(np.stack([prepare(image) for image in noise(2)])).to(device)
    tokens = {name: token.to(device) for name, token in tower.tokens(["a photo", "text"]).items()}
    with torch.inference_mode():
        output = model(pixel_values=images, **tokens)
        pairs = ((see(images), "image_embeds"), (tower.run(tokens), "text_embeds"))
        for vectors, name in pairs:
            compared = getattr(output, name, None)
            if not (
                torch.is_tensor(compared)
                and torch.is_tensor(vectors)
                and _are_equal(vectors, compared)
            ):
                raise EncoderError(
                    f"{type(model).__name__} does not compare images and texts at 'pooled'",
                    "store vectors of the words, and use 'embeddings'",
                )


def _are_equal(vectors: torch.Tensor, compared: torch.Tensor) -> bool:
    if vectors.shape != compared.shape:
        return False
    cosines = torch.nn.functional.cosine_similarity(vectors.float(), compared.float())
    return bool((cosines > 1 - TOLERANCE).all())
