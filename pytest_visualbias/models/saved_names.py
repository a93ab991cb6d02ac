"""Checkpoints of transformers' networks, under the names of modules or under those of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers.core_model_loading import revert_weight_conversion

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.fitting import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_visualbias.spec.schema import Network

__all__ = ["fit_saved"]


class _Incompatible(NamedTuple):
    """What torch says about weights, of loading that is not strict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class _AsSaved:
    """A network whose weights have the names that they have in a file of transformers.

    A file keeps the names that the library once published; the modules of today have others.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by their names in a file."""
        return dict(revert_weight_conversion(self.model, self.model.state_dict()))

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool) -> Any:  # noqa: ARG002 - what is missing is returned
        """Take weights by these names; transformers gives them those of the modules."""
        kind, config, own = type(self.model), self.model.config, self.state_dict()
        self.model, found = kind.from_pretrained(
            None,
            config=config,
            state_dict={name: state_dict.get(name, value) for name, value in own.items()},
            output_loading_info=True,
            dtype=torch.float32,
        )
        if any(found[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            raise EncoderError(f"transformers cannot name the weights of {kind.__name__}: {found}")
        return _Incompatible(
            missing_keys=[name for name in own if name not in state_dict],
            unexpected_keys=[name for name in state_dict if name not in own],
        )


def fit_saved(
    model: Any, entry: Network, path: Path, heads: tuple[str, ...]
) -> tuple[Any, dict[str, Any], str]:
    """Load a checkpoint under whichever names it has.

    Parameters
    ----------
    model : PreTrainedModel
        The network; it may be changed in place.
    entry : Network
        Of the spec.
    path : Path
        Of the checkpoint.
    heads : tuple of str
        What classifiers are called.

    Returns
    -------
    tuple
        The network, facts for the report, and why there are no logits, or nothing.

    Raises
    ------
    EncoderError
        For a checkpoint that cannot be read or does not fit.
    """
    saved = _AsSaved(model)
    if set(saved.state_dict()) == set(model.state_dict()):
        return model, *load(model, entry, path, head=_prefixes(model, heads))
    try:
        facts, no_logits = load(saved, entry, path, head=_prefixes(saved, heads))
    except EncoderError as error:
        try:
            return model, *load(model, entry, path, head=_prefixes(model, heads))
        except EncoderError:
            raise error from None
    return saved.model, {**facts, "names": "files of transformers"}, no_logits


def _prefixes(network: Any, heads: tuple[str, ...]) -> tuple[str, ...]:
    starts = {name.partition(".")[0] for name in network.state_dict()}
    return next(((f"{head}.",) for head in heads if head in starts), ())
