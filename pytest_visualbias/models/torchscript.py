"""The source ``torchscript``: programs that torch.jit saved."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.factory import declared_input
from pytest_visualbias.models.programs import (
    check_precision,
    named_outputs,
    output_outs,
    unreadable,
)
from pytest_visualbias.models.steadiness import noise
from pytest_visualbias.models.torch_encoder import Network, TorchEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.schema import ProgramModel

__all__ = ["open_torchscript"]

# Images of the first pass, if the program takes more than one.
SEVERAL = 2
CLOSED = "an inner layer of a TorchScript program cannot be read; return it as an output"


def open_torchscript(entry: ProgramModel, identity: Identity, context: Context) -> TorchEncoder:
    """Load a TorchScript program and make an encoder of it.

    Raises
    ------
    EncoderError
        For a file that is none, and a program that takes something else than a batch of images.
    """
    check_precision(context)
    path = identity.checkpoint
    assert path is not None  # noqa: S101 - an entry names a file
    program = _loaded(path)
    own = declared_input(entry)
    batch, dtype, names = _probed(program, own["prepare"], path)
    network = Network(
        module=program,
        body=lambda images: named_outputs(program(images.to(dtype))),
        closed=CLOSED,
        batch=batch,
        notes={"architecture": str(program.original_name), "program": path.name},
        **output_outs(names),
        **own,
    )
    return TorchEncoder.within(context, network)


def _loaded(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Torch wants no new ones to be made; those that are there are what is measured.
            warnings.simplefilter("ignore")
            return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever it meets
        raise unreadable(path, "TorchScript program", error) from None


def _probed(
    program: Any, prepare: Callable[[Any], np.ndarray], path: Path
) -> tuple[int | None, torch.dtype, list[str]]:
    """Return how many images a pass takes, where that is fixed, their type, and the outputs."""

    def run(dtype: torch.dtype, batch: int) -> list[str]:
        images = torch.from_numpy(np.stack([prepare(image) for image in noise(batch)]))
        with torch.inference_mode():
            found = named_outputs(program(images.to(dtype)))
        if any(one.ndim == 0 or len(one) != batch for one in found.values()):
            raise ValueError(f"its outputs are not one for each of {batch} images")
        return list(found)

    faults = []
    for dtype, batch in itertools.product(_kinds(program), (None, 1)):
        try:
            return batch, dtype, run(dtype, batch or SEVERAL)
        except Exception as error:  # noqa: BLE001 - the program is somebody else's
            text = [line for line in str(error).splitlines() if line.strip()]
            faults.append(text[-1] if text else type(error).__name__)
    raise EncoderError(
        f"{path} does not take the images that 'transform' makes ({faults[-1]}); correct its size"
    )


def _kinds(program: Any) -> list[torch.dtype]:
    """Return what images may be given as: a program says it by its weights at the most."""
    own = (one.dtype for one in program.parameters() if one.is_floating_point())
    return list(dict.fromkeys([torch.float32, next(own, torch.float32)]))
