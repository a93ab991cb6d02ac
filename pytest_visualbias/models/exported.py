"""The source ``export``: programs that torch.export saved (``.pt2``)."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.archives import check_archive
from pytest_visualbias.models.devices import choose_device
from pytest_visualbias.models.factory import declared_input
from pytest_visualbias.models.programs import (
    LAST_HINT,
    check_precision,
    check_shape,
    is_channels_last,
    named_outputs,
    output_outs,
    unreadable,
)
from pytest_visualbias.models.steadiness import noise
from pytest_visualbias.models.torch_encoder import Network, TorchEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.schema import ProgramModel

__all__ = ["open_exported"]

KIND = "program of torch.export"
CLOSED = "the modules of this program cannot be told apart; return what is wanted as an output"
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def open_exported(entry: ProgramModel, identity: Identity, context: Context) -> TorchEncoder:
    """Load an exported program and make an encoder of it, with its modules where it has them.

    Raises
    ------
    EncoderError
        For a file that is none or could run code while it is loaded, and a program that takes
        something else than a batch of images.
    """
    check_precision(context)
    path = identity.checkpoint
    assert path is not None  # noqa: S101 - an entry names a file
    exported = _loaded(path)
    device = choose_device(context.device, context.worker)
    if device.type != "cpu":
        exported = move_to_device_pass(exported, str(device))
    shape, dtype = _input(exported, path)
    own = declared_input(entry, is_whole=dtype == torch.uint8)
    is_last = is_channels_last(shape)
    order = (shape[3], *shape[1:3]) if is_last else shape[1:]
    check_shape(order, own["prepare"](noise(1)[0]).shape)
    batch = shape[0] if isinstance(shape[0], int) else None
    module, closed = _modules(exported)

    def run(images: torch.Tensor) -> dict[str, torch.Tensor]:
        laid = images.permute(0, 2, 3, 1).contiguous() if is_last else images
        return named_outputs(module(_converted(laid, dtype)))

    network = Network(
        module=module,
        body=run,
        closed=closed,
        batch=batch,
        notes={"architecture": path.stem, "program": path.name},
        **output_outs(_names(run, own["prepare"], batch, device)),
        **own,
    )
    return TorchEncoder.within(dataclasses.replace(context, device=str(device)), network)


def _loaded(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), _weights_only():
            warnings.simplefilter("ignore")
            reader = torch._C.PyTorchFileReader(str(path))  # noqa: SLF001 - what loads reads so
            check_archive(path, reader.get_all_records(), reader.get_record)
            exported = torch.export.load(path)
    except EncoderError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever it meets
        raise unreadable(path, KIND, error) from None
    exported._guards_code = []  # noqa: SLF001 - they are Python that a module would run
    return exported


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Let torch unpickle tensors and nothing else, and tell of it only by raising."""
    before, silent = os.environ.get(WEIGHTS_ONLY), logging.root.manager.disable
    os.environ[WEIGHTS_ONLY] = "1"
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(silent)
        if before is None:
            del os.environ[WEIGHTS_ONLY]
        else:
            os.environ[WEIGHTS_ONLY] = before


def _input(exported: Any, path: Path) -> tuple[tuple[Any, ...], torch.dtype]:
    """Return the shape of the one input, of which what is free is no number, and its type."""
    names = exported.graph_signature.user_inputs
    nodes = [node for node in exported.graph.nodes if node.op == "placeholder"]
    values = [node.meta.get("val") for node in nodes if node.name in names]
    is_batch = [torch.is_tensor(one) and one.ndim == 4 for one in values]  # noqa: PLR2004
    is_sound = is_batch == [True] and (
        values[0].is_floating_point() or values[0].dtype == torch.uint8
    )
    if not is_sound:
        raise EncoderError(
            f"{path} takes {len(names)} inputs or no images; export a program of one batch "
            "(n, 3, height, width) in floating point or uint8"
        )
    return tuple(values[0].shape), values[0].dtype


def _modules(exported: Any) -> tuple[Any, str]:
    """Return a module that runs the program, and why none inside of it can be read, if so."""
    try:
        # What was one module is one again, and can be read by its name.
        return torch.export.unflatten(exported).eval(), ""
    except Exception:  # noqa: BLE001 - not every graph can be taken apart
        return _Flat(exported), CLOSED


class _Flat(torch.nn.Module):
    """A program in one piece; it has no mode, and refuses to be asked for one."""

    def __init__(self, exported: Any) -> None:
        super().__init__()
        # Where there is no such parameter, torch makes no guards.
        has_guards = "check_guards" in inspect.signature(exported.module).parameters
        self.run = [exported.module(**({"check_guards": False} if has_guards else {}))]
        for index, (_, value) in enumerate(sorted(exported.state_dict.items())):
            self.register_buffer(f"weight_{index}", value)

    def forward(self, images: torch.Tensor) -> Any:
        """Return what the program gives."""
        return self.run[0](images)


def _converted(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return images in the type that a program takes; pixels are whole numbers but for rounding."""
    return images.round().to(dtype) if dtype == torch.uint8 else images.to(dtype)


def _names(
    run: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    prepare: Any,
    batch: int | None,
    device: torch.device,
) -> list[str]:
    images = torch.from_numpy(np.stack([prepare(image) for image in noise(batch or 2)]))
    try:
        with torch.inference_mode():
            return list(run(images.to(device)))
    except Exception as error:  # noqa: BLE001 - the program is somebody else's
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncoderError(
            f"the program does not take the images that 'transform' makes ({reason}); correct it, "
            f"or {LAST_HINT}"
        ) from None
