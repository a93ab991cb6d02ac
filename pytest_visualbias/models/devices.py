"""Choose the device, memory layout and exactness of a network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterator

# CPU and MPS allocators raise no type of their own.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")


def choose_device(wanted: str, worker: int = 0) -> torch.device:
    """Return the requested device; ``auto`` prefers an accelerator."""
    if wanted == "auto":
        wanted = _best()
    device = torch.device(wanted)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    has_mps = device.type != "mps" or torch.backends.mps.is_available()
    if (device.index or 0) >= count or not has_mps:
        raise EncoderError(f"there is no device '{wanted}' here", "choose another, or 'auto'")
    if wanted == "cuda":
        return torch.device("cuda", worker % count)
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def layout_for(module: torch.nn.Module, device: torch.device) -> torch.memory_format | None:
    """Return the memory layout in which a network's convolutions are fast, or None."""
    is_convolutional = any(isinstance(part, torch.nn.Conv2d) for part in module.modules())
    return torch.channels_last if is_convolutional and device.type in ("cpu", "cuda") else None


@contextlib.contextmanager
def deterministic_math() -> Iterator[None]:
    """Compute in full float32 precision, with deterministic algorithms."""
    cudnn = torch.backends.cudnn
    wanted = [(cudnn, "benchmark", False), (cudnn, "deterministic", True), *_precisions()]
    before = [(place, name, getattr(place, name)) for place, name, _ in wanted]
    try:
        for place, name, value in wanted:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _precisions() -> list[tuple[Any, str, Any]]:
    """Return the float32 switches of this torch version; torch refuses to mix them."""
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # before 2.9
        return [(backends.cuda.matmul, "allow_tf32", False), (backends.cudnn, "allow_tf32", False)]
    places = (
        *(backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),
        *(backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn),
    )
    return [(place, "fp32_precision", "ieee") for place in places]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a torch error means that memory ran out."""
    return any(words in str(error) for words in OUT_OF_MEMORY)
