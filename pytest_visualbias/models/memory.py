"""Networks that Python code holds, such as the one that it has just trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.factory import declared_input
from pytest_visualbias.models.readouts import read_outs
from pytest_visualbias.models.timm import own_input
from pytest_visualbias.models.torch_encoder import Network, TorchEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity, InMemory
    from pytest_visualbias.spec.schema import InMemoryModel

__all__ = ["open_in_memory"]


def open_in_memory(entry: InMemoryModel, _identity: Identity, context: Context) -> TorchEncoder:
    """Make an encoder of a copy of the network, so that training can go on with the original.

    Raises
    ------
    EncoderError
        Where it is no network, cannot be copied, or nothing says how its images are prepared.
    """
    held = context.modules[entry.key]
    if not isinstance(held.module, torch.nn.Module):
        kind = type(held.module).__name__
        raise EncoderError(f"'{entry.key}' is a {kind}; give a torch.nn.Module")
    try:
        module = copy.deepcopy(held.module)
    except Exception as error:
        raise EncoderError(
            f"the module '{entry.key}' cannot be copied ({type(error).__name__}: {error}); give "
            "one whose tensors are parameters or buffers"
        ) from error
    network = Network(
        module=module,
        notes={"architecture": type(held.module).__name__},
        **read_outs(module),
        **_input(entry, held, module),
    )
    return TorchEncoder.within(context, network)


def _input(entry: InMemoryModel, held: InMemory, module: Any) -> dict[str, Any]:
    """Return what prepares images: a function of the caller's, the spec, or the network itself."""
    if held.transform is not None:
        # Two functions that print alike are taken for the same one: growth between them is allowed.
        return {
            "prepare": _checked(held.transform, entry.key),
            "preprocessing": {"transform": repr(held.transform)},
        }
    if getattr(module, "pretrained_cfg", None):
        return own_input(module, entry)
    if entry.transform is not None or entry.preprocess == "ieat":
        return declared_input(entry)
    raise EncoderError(
        f"nothing says how images are prepared for '{entry.key}'; give "
        "Model(module, transform=...), or a 'transform' under its name in the spec"
    )


def _checked(transform: Callable[[Image.Image], Any], key: str) -> Callable[[Any], np.ndarray]:
    def prepare(image: Image.Image) -> np.ndarray:
        try:
            found = np.asarray(transform(image), dtype=np.float32)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise EncoderError(f"the transform of '{key}' fails: {reason}") from error
        if found.ndim != 3:  # noqa: PLR2004 - channels, height, width
            raise EncoderError(
                f"the transform of '{key}' gives {found.shape}; it must give one image as "
                "(channels, height, width)"
            )
        return np.ascontiguousarray(found)

    return prepare
