"""Networks from checkpoints, and back, with a note of what they learned from."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from selection import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

# The old classifier: the networks here end before it.
CLASSIFIERS = ("classifier.", "fc.", "head.", "linear.")
COUNTER = "num_batches_tracked"
NOTE = "finetuned"


def load_network(architecture: str, checkpoint: Path) -> nn.Module:
    """Make the network that ``module:function`` returns, and load all of its weights.

    Parameters
    ----------
    architecture
        As in the spec's ``call``; the module lies on Python's path.
    checkpoint
        Safetensors or PyTorch, flat or under ``state_dict``, with or without ``module.``.

    Raises
    ------
    UserError
        Where there is no such function, or the checkpoint does not fit.
    """
    network = _make(architecture)
    own = network.state_dict()
    # Older checkpoints lack the counters of batches, which only some ways of training read.
    counters = {name: value for name, value in own.items() if name.endswith(COUNTER)}
    weights = counters | {
        name: value
        for name, value in _read(checkpoint).items()
        if name in own or not name.startswith(CLASSIFIERS)
    }
    # With weights left over, a network cut short would be taken for the one that was named.
    if misfits := sorted(own.keys() ^ weights.keys()):
        where = "the network" if misfits[0] in weights else "the checkpoint"
        raise UserError(
            f"{checkpoint} does not fit {architecture}: {where} has no {misfits[0]}; "
            "name the architecture it was trained with"
        )
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise UserError(
            f"{checkpoint} does not fit {architecture}: the shapes of its weights differ; "
            "name the architecture it was trained with"
        ) from None
    return network


def _make(architecture: str) -> nn.Module:
    module, _, function = architecture.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"--architecture {architecture}: {error}; give module:function on Python's path"
        ) from None
    network: nn.Module = make()
    return network


def _read(checkpoint: Path) -> dict[str, torch.Tensor]:
    try:
        if checkpoint.suffix == ".safetensors":
            content: dict[str, Any] = dict(load_file(checkpoint))
        else:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        stored: dict[str, torch.Tensor] = content.get("state_dict", content)
        return {name.removeprefix("module."): value for name, value in stored.items()}
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever it meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{checkpoint} is no checkpoint ({reason}); name another") from None


def save_network(network: nn.Module, path: Path, note: dict[str, Any]) -> None:
    """Write the weights as safetensors, with a note of how they came to be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path, metadata={NOTE: json.dumps(note)})


def read_note(path: Path) -> dict[str, Any]:
    """Return the note that `save_network` left."""
    with safe_open(path, framework="pt") as file:
        note: dict[str, Any] = json.loads(file.metadata()[NOTE])
    return note
