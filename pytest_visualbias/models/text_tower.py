"""The part of a network that reads texts, into the space that its images are in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["TextTower", "digest_of_tokenizer", "read_texts", "too_long"]

# Texts in every pass, the last one filled up: the last bits of a vector go by the shape of it.
PASS = 4
SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextTower:
    """What a source provides to read texts.

    Attributes
    ----------
    module : torch.nn.Module
        With its weights; moved to the device of the images.
    tokens : callable
        Texts to what `run` takes: tensors by name, as long for one text as for another.
    run : callable
        Tokens to vectors ``(n, dim)``.
    tokenizer : str
        Digest of what `tokens` does.
    """

    module: torch.nn.Module
    tokens: Callable[[Sequence[str]], Mapping[str, torch.Tensor]]
    run: Callable[[Mapping[str, torch.Tensor]], Any]
    tokenizer: str


def read_texts(tower: TextTower, texts: Sequence[str], device: torch.device) -> np.ndarray:
    """Return the vectors ``(n, dim)`` of texts, float32.

    Raises
    ------
    EncoderError
        For a text that is too long, and a network that gives no vector for each.
    """
    parts = []
    for start in range(0, len(texts), PASS):
        taken = list(texts[start : start + PASS])
        filled = taken + taken[-1:] * (PASS - len(taken))
        tokens = {name: one.to(device) for name, one in tower.tokens(filled).items()}
        found = tower.run(tokens)
        if not torch.is_tensor(found) or found.ndim != 2 or len(found) != PASS:  # noqa: PLR2004
            raise EncoderError("the network gives no vector for each text; use a factory of images")
        parts.append(found[: len(taken)].float().cpu().numpy())
    return np.concatenate(parts)


def too_long(text: str, length: int) -> EncoderError:
    """Return the error about a text of which only a part would be read."""
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return EncoderError(
        f"'{shown}' is longer than the {length} tokens that the model reads; shorten it"
    )


def digest_of_tokenizer(tokenizer: Any) -> str:
    """Return a digest of the vocabulary and the rules of a tokenizer, as far as it tells them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = "" if backend is None else str(backend.to_str())
    said = [type(tokenizer).__name__, rules]
    if not rules and hasattr(tokenizer, "get_vocab"):
        said.append(repr(sorted(tokenizer.get_vocab().items())))
    return hashlib.sha256("\n".join(said).encode("utf-8", "surrogatepass")).hexdigest()
