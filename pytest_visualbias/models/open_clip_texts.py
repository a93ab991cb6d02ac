"""The text tower of an open_clip model, with the tokenizer that the library has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.fitting import load
from pytest_visualbias.models.misfits import MisfitError
from pytest_visualbias.models.text_tower import TextTower, digest_of_tokenizer, too_long

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.spec.schema import OpenClipModel

__all__ = ["text_tower"]


def text_tower(
    model: Any, entry: OpenClipModel, checkpoint: Path | None, tokenizer: Any
) -> TextTower:
    """Return the part of a whole model that reads texts, with the weights of a checkpoint.

    Raises
    ------
    EncoderError
        Where the checkpoint lacks it: published weights beside an image tower that was finetuned
        would be another model.
    """
    try:
        load(model, entry, checkpoint)
    except MisfitError as error:
        remedy = "save all of the model, 'model.state_dict()', and name that file"
        raise EncoderError(
            "no texts can be read, for the whole model is needed, not its image tower alone: "
            f"{f'{error.what}; {remedy}' if error.missing else error}"
        ) from None
    length = int(tokenizer.context_length)

    def tokens(texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        found = tokenizer(list(texts), context_length=length)
        longer = tokenizer(list(texts), context_length=length + 1)
        # What is too long is cut by the library without a word, and its end mark put elsewhere.
        for text, own, other in zip(texts, found, longer, strict=True):
            # Padded at the one end or at the other.
            if not (torch.equal(own, other[:length]) or torch.equal(own, other[1:])):
                raise too_long(text, length)
        return {"text": found}

    del model.visual  # of images there is another one
    digest = digest_of_tokenizer(getattr(tokenizer, "tokenizer", tokenizer))
    return TextTower(
        module=model, tokens=tokens, run=lambda given: model.encode_text(**given), tokenizer=digest
    )
