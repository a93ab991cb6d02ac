"""The text tower of a model of transformers that compares images with texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.steadiness import noise
from pytest_visualbias.models.text_tower import TextTower, digest_of_tokenizer, too_long

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

__all__ = ["text_tower"]

# Far above what another order of additions changes in a cosine.
TOLERANCE = 1e-4


def text_tower(
    model: Any,
    tokenizer: Any,
    *,
    see: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[Image.Image], np.ndarray],
) -> TextTower:
    """Return the text tower of a model, once it is known to share a space with its images.

    Parameters
    ----------
    model : PreTrainedModel
        One with `get_text_features`.
    tokenizer : PreTrainedTokenizer
        Its own.
    see : callable
        Images ``(n, c, h, w)`` to the vectors that are read of them.
    prepare : callable
        One RGB image to an array ``(c, h, w)``.

    Raises
    ------
    EncoderError
        Where the model itself compares other vectors.
    """
    length = _length(model, tokenizer)

    def tokens(texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        for text, ids in zip(texts, tokenizer(list(texts))["input_ids"], strict=True):
            if len(ids) > length:
                raise too_long(text, length)
        found = tokenizer(list(texts), padding="max_length", max_length=length, return_tensors="pt")
        return {name: found[name] for name in ("input_ids", "attention_mask") if name in found}

    def run(given: Mapping[str, torch.Tensor]) -> Any:
        found = model.get_text_features(**given)
        return found if torch.is_tensor(found) else getattr(found, "pooler_output", None)

    tower = TextTower(
        module=model, tokens=tokens, run=run, tokenizer=digest_of_tokenizer(tokenizer)
    )
    _check_space(model, tower, see, prepare)
    return tower


def _length(model: Any, tokenizer: Any) -> int:
    """Return how many tokens a text has, filled up: what the model was made for."""
    config = getattr(model.config, "text_config", model.config)
    most = getattr(config, "max_position_embeddings", None)
    if most is None:
        raise EncoderError(
            f"nothing says how many tokens {type(model).__name__} reads; store vectors of the "
            "words, and use 'embeddings'"
        )
    return int(min(most, tokenizer.model_max_length))


def _check_space(
    model: Any,
    tower: TextTower,
    see: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[Image.Image], np.ndarray],
) -> None:
    """Make sure that the vectors which are read are those that the model itself compares."""
    device = next(model.parameters()).device
    images = torch.from_numpy(np.stack([prepare(image) for image in noise(2)])).to(device)
    tokens = {name: one.to(device) for name, one in tower.tokens(["a photo", "text"]).items()}
    with torch.inference_mode():
        output = model(pixel_values=images, **tokens)
        pairs = ((see(images), "image_embeds"), (tower.run(tokens), "text_embeds"))
        for own, name in pairs:
            compared = getattr(output, name, None)
            if not (torch.is_tensor(compared) and torch.is_tensor(own) and _is_one(own, compared)):
                raise EncoderError(
                    f"{type(model).__name__} does not compare images and texts at 'pooled'; store "
                    "vectors of the words, and use 'embeddings'"
                )


def _is_one(own: torch.Tensor, compared: torch.Tensor) -> bool:
    if own.shape != compared.shape:
        return False
    cosines = torch.nn.functional.cosine_similarity(own.float(), compared.float())
    return bool((cosines > 1 - TOLERANCE).all())
