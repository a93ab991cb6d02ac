"""Open compiled networks: the sources `export` and `torchscript`."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import foreign_errors
from pytest_visualbias.models.factory import declared_input
from pytest_visualbias.models.loaded_network import LoadedNetwork
from pytest_visualbias.models.preprocessing import noise
from pytest_visualbias.models.program_check import check_archive
from pytest_visualbias.models.torch_encoder import TorchEncoder, choose_device
from pytest_visualbias.spec.effective_settings import LOGITS, OUTPUT, POOLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.model_entries import ProgramModel

COLOURS = 3
LAST_HINT = (
    "if the program takes channels last (n, height, width, 3), export it so that its input states "
    "this shape"
)


def check_precision(context: Context) -> None:
    """Raise for another precision than the program's own."""
    if context.precision != "fp32":
        raise EncoderError(
            f"a compiled program computes in its own precision, not in {context.precision}",
            "leave --visualbias-precision out, and give networks a 'precision' in the spec",
        )


def check_shape(wanted: tuple[Any, ...], prepared: tuple[int, ...]) -> None:
    """Raise if the transform does not make the input shape of a program."""
    fixed = [size if isinstance(size, int) and size > 0 else None for size in wanted]
    pairs = zip(fixed, prepared, strict=False)
    if len(fixed) == len(prepared) and all(size in (None, given) for size, given in pairs):
        return
    expected, given = ("x".join(str(size or "?") for size in sizes) for sizes in (fixed, prepared))
    raise EncoderError(
        f"the program takes images of {expected} and 'transform' makes {given}",
        "write the size that it was compiled for",
    )


def is_channels_last(shape: Sequence[Any]) -> bool:
    """Return whether a program's input is ``(n, height, width, 3)``."""
    return bool(shape[3] == COLOURS != shape[1])


def unreadable_error(path: Any, kind: str, error: Exception) -> EncoderError:
    """Return the error for a file that cannot be loaded."""
    # What torch's reader of archives adds to its first sentence helps nobody.
    text = str(error).strip().partition(". ")[0] or type(error).__name__
    reason = text.splitlines()[0]
    return EncoderError(
        f"{path} is no {kind} that can be loaded here, or is damaged ({reason})",
        "copy or save it again",
    )


def named_outputs(output: Any) -> dict[str, torch.Tensor]:
    """Return the floating point outputs of a program by name."""
    return dict(_leaves(output, OUTPUT))


def _leaves(output: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if torch.is_tensor(output):
        if output.is_floating_point():
            yield name, output
        return
    parts: Any = ()
    if isinstance(output, tuple | list):
        parts = enumerate(output)
    elif isinstance(output, dict):
        parts = output.items()
    for key, value in parts:
        yield from _leaves(value, f"{name}.{key}")


def output_readers(names: list[str]) -> dict[str, Any]:
    """Return how the outputs of a program are read, as keywords of `LoadedNetwork`."""
    if not names:
        raise EncoderError("the program gives no tensor", "compile one that does")
    read: dict[str, Any] = {}
    for wanted in (POOLED, LOGITS):
        called = [name for name in names if name.rpartition(".")[2] == wanted]
        meant = called[0] if called else names[0]
        if called or len(names) == 1:
            read[wanted] = None if wanted == POOLED and not called else _reader(meant)
        else:
            read[wanted] = (
                f"the program has {len(names)} outputs; say which one is meant, such as "
                f"'layers: {{{wanted}: {names[0]}}}' at the model"
            )
    outputs = {name: _reader(name) for name in names}
    if len(names) == 1:
        outputs[OUTPUT] = _reader(names[0])
    return {**read, "outputs": outputs}


def _reader(name: str) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    return lambda seen: seen[name]


KIND = "program of torch.export"
CLOSED_EXPORT = (
    "the modules of this program cannot be told apart; return what is wanted as an output"
)
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def open_exported(entry: ProgramModel, identity: Identity, context: Context) -> TorchEncoder:
    """Load an exported program, and return an encoder of it."""
    check_precision(context)
    path = identity.checkpoint
    assert path is not None  # noqa: S101 - an entry names a file
    exported = _load_export(path)
    device = choose_device(context.device, context.worker)
    if device.type != "cpu":
        exported = move_to_device_pass(exported, str(device))
    shape, dtype = _input(exported, path)
    images = declared_input(entry, is_whole=dtype == torch.uint8)
    is_last = is_channels_last(shape)
    order = (shape[3], *shape[1:3]) if is_last else shape[1:]
    check_shape(order, images["prepare"](noise(1)[0]).shape)
    batch = shape[0] if isinstance(shape[0], int) else None
    module, closed = _modules(exported)

    def run(images: torch.Tensor) -> dict[str, torch.Tensor]:
        laid = images.permute(0, 2, 3, 1).contiguous() if is_last else images
        return named_outputs(module(_convert(laid, dtype)))

    network = LoadedNetwork(
        module=module,
        body=run,
        closed=closed,
        batch=batch,
        notes={"architecture": path.stem, "program": path.name},
        **output_readers(_names(run, images["prepare"], batch, device)),
        **images,
    )
    return TorchEncoder.within(dataclasses.replace(context, device=str(device)), network)


def _load_export(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), _weights_only():
            warnings.simplefilter("ignore")
            reader = torch._C.PyTorchFileReader(str(path))  # noqa: SLF001 - what loads reads so
            check_archive(path, reader.get_all_records(), reader.get_record)
            exported = torch.export.load(path)
    except EncoderError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever it meets
        raise unreadable_error(path, KIND, error) from None
    exported._guards_code = []  # noqa: SLF001 - they are Python that a module would run
    return exported


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Let torch unpickle tensors only, without logging."""
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
    """Return the shape and dtype of the only input; free sizes are not integers."""
    names = exported.graph_signature.user_inputs
    nodes = [node for node in exported.graph.nodes if node.op == "placeholder"]
    values = [node.meta.get("val") for node in nodes if node.name in names]
    is_batch = [torch.is_tensor(value) and value.ndim == 4 for value in values]  # noqa: PLR2004
    is_sound = is_batch == [True] and (
        values[0].is_floating_point() or values[0].dtype == torch.uint8
    )
    if not is_sound:
        raise EncoderError(
            f"{path} takes {len(names)} inputs or no images",
            "export a program of one batch (n, 3, height, width) in floating point or uint8",
        )
    return tuple(values[0].shape), values[0].dtype


def _modules(exported: Any) -> tuple[Any, str]:
    """Return a module that runs the program, and why its layers cannot be read, if so."""
    try:
        # What was one module is one again, and can be read by its name.
        return torch.export.unflatten(exported).eval(), ""
    except Exception:  # noqa: BLE001 - not every graph can be taken apart
        return _Flat(exported), CLOSED_EXPORT


class _Flat(torch.nn.Module):
    """A program in one piece; it has no training mode and raises if one is set."""

    def __init__(self, exported: Any) -> None:
        super().__init__()
        # Where there is no such parameter, torch makes no guards.
        has_guards = "check_guards" in inspect.signature(exported.module).parameters
        self.run = [exported.module(**({"check_guards": False} if has_guards else {}))]
        for index, (_, value) in enumerate(sorted(exported.state_dict.items())):
            self.register_buffer(f"weight_{index}", value)

    def forward(self, images: torch.Tensor) -> Any:
        """Run the program."""
        return self.run[0](images)


def _convert(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return images in the dtype of a program."""
    return images.round().to(dtype) if dtype == torch.uint8 else images.to(dtype)


def _names(
    run: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    prepare: Any,
    batch: int | None,
    device: torch.device,
) -> list[str]:
    images = torch.from_numpy(np.stack([prepare(image) for image in noise(batch or 2)]))
    problem = "the program does not take the images that 'transform' makes"
    with foreign_errors(problem, f"correct it, or {LAST_HINT}"), torch.inference_mode():
        return list(run(images.to(device)))


# Images of the first pass, if the program takes more than one.
PROBE_IMAGES = 2
CLOSED_TORCHSCRIPT = (
    "an inner layer of a TorchScript program cannot be read; return it as an output"
)


def open_torchscript(entry: ProgramModel, identity: Identity, context: Context) -> TorchEncoder:
    """Load a TorchScript program, and return an encoder of it."""
    check_precision(context)
    path = identity.checkpoint
    assert path is not None  # noqa: S101 - an entry names a file
    program = _load_torchscript(path)
    preparation = declared_input(entry)
    batch, dtype, names = _probe(program, preparation["prepare"], path)
    network = LoadedNetwork(
        module=program,
        body=lambda images: named_outputs(program(images.to(dtype))),
        closed=CLOSED_TORCHSCRIPT,
        batch=batch,
        notes={"architecture": str(program.original_name), "program": path.name},
        **output_readers(names),
        **preparation,
    )
    return TorchEncoder.within(context, network)


def _load_torchscript(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Torch wants no new ones to be made; those that are there are what is measured.
            warnings.simplefilter("ignore")
            return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever it meets
        raise unreadable_error(path, "TorchScript program", error) from None


def _probe(
    program: Any, prepare: Callable[[Any], np.ndarray], path: Path
) -> tuple[int | None, torch.dtype, list[str]]:
    """Return the fixed batch size if any, the input dtype, and the output names."""

    def run(dtype: torch.dtype, batch: int) -> list[str]:
        images = torch.from_numpy(np.stack([prepare(image) for image in noise(batch)]))
        with torch.inference_mode():
            outputs = named_outputs(program(images.to(dtype)))
        if any(output.ndim == 0 or len(output) != batch for output in outputs.values()):
            raise ValueError(f"its outputs are not one for each of {batch} images")
        return list(outputs)

    faults = []
    for dtype, batch in itertools.product(_candidate_dtypes(program), (None, 1)):
        try:
            return batch, dtype, run(dtype, batch or PROBE_IMAGES)
        except Exception as error:  # noqa: BLE001 - the program is somebody else's
            text = [line for line in str(error).splitlines() if line.strip()]
            faults.append(text[-1] if text else type(error).__name__)
    raise EncoderError(
        f"{path} does not take the images that 'transform' makes ({faults[-1]})", "correct its size"
    )


def _candidate_dtypes(program: Any) -> list[torch.dtype]:
    """Return the dtypes to try for images: float32, and that of the weights."""
    dtypes = (
        parameter.dtype for parameter in program.parameters() if parameter.is_floating_point()
    )
    return list(dict.fromkeys([torch.float32, next(dtypes, torch.float32)]))
