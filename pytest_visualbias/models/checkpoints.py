"""Reading checkpoints safely, and fitting them to a network without leaving anything random."""

from __future__ import annotations

import argparse
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Fit", "fit", "read_checkpoint"]

PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "model.", "backbone.")
# The key of the weights, what was taken off their names, and the weights.
Candidate = tuple[str, str, dict[str, "torch.Tensor"]]
# A counter that inference never reads; older checkpoints do not have it.
COUNTER = "num_batches_tracked"
SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How a checkpoint was fitted to a network.

    Attributes
    ----------
    container : str
        The key under which the weights lay, or "" where they lay flat.
    prefix : str
        What was taken off the names.
    left_out : tuple of str
        Names of the checkpoint that the network does not have: its head, and what was ignored.
    """

    container: str
    prefix: str
    left_out: tuple[str, ...]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises
    ------
    EncoderError
        For a file that is damaged, or that holds more than tensors and plain values.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path, device="cpu"))
        with torch.serialization.safe_globals(_inert_types()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise EncoderError(
            f"the checkpoint {path} holds more than tensors and plain values, and was not loaded: "
            "that could run code; save its state dict, best as safetensors"
        ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = error.strerror or str(error)
        raise EncoderError(
            f"the checkpoint {path} cannot be read ({reason}); correct the path"
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises whatever it meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"the checkpoint {path} is damaged or incomplete ({reason}); copy or save it again"
        ) from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise EncoderError(f"the checkpoint {path} holds a {kind}; save its state dict instead")
    return content


def _inert_types() -> list[Any]:
    """Types without behaviour that training scripts leave in checkpoints."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "b1")]
    return [argparse.Namespace, scalar, _scalar_of_numpy_1, np.dtype, *kinds]


def _scalar_of_numpy_1(kind: np.dtype[Any], content: bytes) -> Any:
    """Make a numpy scalar, under the name that numpy 1 wrote for what does so."""
    return np.frombuffer(content, dtype=kind)[0]


# torch knows an allowed function by these; pairs of a name and a function only since 2.6.
_scalar_of_numpy_1.__module__ = "numpy.core.multiarray"
_scalar_of_numpy_1.__name__ = _scalar_of_numpy_1.__qualname__ = "scalar"


def fit(
    network: torch.nn.Module,
    checkpoint: Mapping[str, Any],
    *,
    path: Path,
    head: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
) -> Fit:
    """Load a checkpoint into a network, all of it.

    Every weight of the network must come from the checkpoint, in its shape; every weight of the
    checkpoint must belong to the network, be its head, or start with an ignored prefix.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    checkpoint : mapping
        As read.
    path : Path
        For messages.
    head : tuple of str
        Prefixes of the classifier, which embeddings do not need.
    ignore : tuple of str
        Prefixes that the spec says to leave out.

    Raises
    ------
    EncoderError
        Naming the keys that are missing, unknown or of another shape.
    """
    wanted = network.state_dict()
    candidates = list(_candidates(checkpoint))
    if not candidates:
        raise EncoderError(f"the checkpoint {path} holds no tensors; save a state dict")
    container, prefix, weights = _best(candidates, wanted, path)
    left_out = tuple(
        name for name in weights if name.startswith((*head, *ignore)) and name not in wanted
    )
    faults = list(_faults(wanted, {k: v for k, v in weights.items() if k not in left_out}))
    if faults:
        raise EncoderError(f"the checkpoint {path} does not fit the network: {'; '.join(faults)}")
    network.load_state_dict({name: weights.get(name, own) for name, own in wanted.items()})
    return Fit(container=container, prefix=prefix, left_out=left_out)


def _best(candidates: list[Candidate], wanted: Mapping[str, torch.Tensor], path: Path) -> Candidate:
    """Return the candidate whose names fit best; between two that fit as well, the user chooses.

    Averaged weights beside the last ones are such a pair: which of them is released, nobody but the
    user knows.
    """
    matches = [len(weights.keys() & wanted.keys()) for _, _, weights in candidates]
    best = [one for one, count in zip(candidates, matches, strict=True) if count == max(matches)]
    if max(matches) == 0:
        names = _list(sorted(best[0][2]))
        raise EncoderError(
            f"the checkpoint {path} does not fit the network: none of its names ({names}) is among "
            f"the network's ({_list(list(wanted))}); name the architecture that it was trained with"
        )
    containers = sorted({container for container, _, _ in best})
    if len(containers) > 1:
        raise EncoderError(
            f"the checkpoint {path} has weights under each of {', '.join(containers)}; save those "
            "that you release in a file of their own"
        )
    return best[0]


def _candidates(checkpoint: Mapping[str, Any]) -> Iterator[Candidate]:
    """Yield every container and prefix under which weights lie."""
    for container, content in [("", checkpoint), *checkpoint.items()]:
        if not isinstance(content, dict):
            continue
        tensors = {
            name: value
            for name, value in content.items()
            if isinstance(name, str) and torch.is_tensor(value)
        }
        for prefix in PREFIXES:
            if any(name.startswith(prefix) for name in tensors):
                yield (
                    container,
                    prefix,
                    {name.removeprefix(prefix): tensors[name] for name in tensors},
                )


def _faults(
    wanted: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    missing = [name for name in wanted if name not in weights and not name.endswith(COUNTER)]
    if missing:
        yield f"it lacks {_list(missing)}; name the architecture that it was trained with"
    misfits = [
        f"{name} ({_shape(weights[name])}, the network has {_shape(wanted[name])})"
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if misfits:
        yield f"other shapes: {_list(misfits)}; name the architecture that it was trained with"
    unknown = [name for name in weights if name not in wanted]
    if unknown:
        yield f"the network has no {_list(unknown)}; list what may be left out under 'ignore'"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
