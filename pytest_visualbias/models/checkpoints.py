"""Read checkpoint files without running code, and explain why one does not fit a network."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.weight_files import find_weight_files
from pytest_visualbias.spec.error_messages import format_names
from pytest_visualbias.spec.hashing import TEXT, is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


NUMBERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")

# Numpy 1 and 2, Python before and since 3.13, and the logs of OpenMMLab's trainer.
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
PATHLIB = ("pathlib", "pathlib._local")
LOGS = ("mmengine.logging.history_buffer", "HistoryBuffer")


class StoredArray:
    """A numpy array as pickled."""

    def __init__(self) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Set the values from numpy's pickle state: version, shape, dtype, order, bytes."""
        _, shape, kind, is_fortran, content = state
        if type(content) is not bytes or np.dtype(kind).kind not in "fiub":
            raise ValueError("an array of other things than numbers")
        flat = np.frombuffer(content, dtype=kind)
        shaped = flat.reshape(shape, order="F" if is_fortran else "C")
        if shaped.shape != shape:  # numpy fills in what is none, or -1
            raise ValueError("an array of no definite shape")
        self.values = np.array(shaped, dtype=np.dtype(kind).newbyteorder("="), order="C")


def inert_types() -> list[Any]:
    """Return the types that torch may load from a pickle because they run no code."""
    kinds = [np.dtype, *(type(np.dtype(kind)) for kind in NUMBERS)]
    arrays = [_stand_in(f"{module}._reconstruct", _array) for module in NUMPY]
    scalars = [_stand_in(f"{module}.scalar", _scalar) for module in NUMPY]
    paths = [
        _stand_in(f"{module}.{name}", make)
        for module in PATHLIB
        for name, make in (
            ("PosixPath", pathlib.PurePosixPath),
            ("WindowsPath", pathlib.PureWindowsPath),
        )
    ]
    named = [_stand_in("numpy.ndarray", _nothing), _stand_in("builtins.bytes", _no_bytes)]
    module, name = LOGS
    logs = type(name, (), {"__module__": module})
    return [argparse.Namespace, StoredArray, logs, *named, *kinds, *arrays, *scalars, *paths]


def _stand_in(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that torch finds under a full name (pairs need torch 2.6)."""

    def made(*values: Any) -> Any:
        return make(*values)

    made.__module__, _, made.__name__ = name.rpartition(".")
    made.__qualname__ = made.__name__
    return made


def _array(*_: Any) -> StoredArray:
    return StoredArray()


def _nothing(*_: Any) -> None:
    """Stand in for a type that pickles of arrays name but never call."""


def _no_bytes(*_: Any) -> bytes:
    """Return empty bytes, the only call of `bytes` in pickles of torch's version."""
    return b""


def _scalar(kind: np.dtype[Any], content: bytes) -> Any:
    return np.frombuffer(content, dtype=kind)[0]


# As safetensors calls them.
FLOATING = ("F64", "F32", "F16", "BF16")

# VISSL's weights lie four keys deep.
MAX_DEPTH = 6


class StateDict(OrderedDict[str, torch.Tensor]):
    """Weights by name, with the module versions that torch expects."""

    _metadata: Mapping[str, Any] | None = None

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The versions of the modules that were saved, by name; None where the file has none."""
        return self._metadata

    @metadata.setter
    def metadata(self, versions: Mapping[str, Any] | None) -> None:
        self._metadata = versions


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it."""
    files = find_weight_files(path)
    if len(files) == 1:
        return _read(files[0])
    return {name: value for file in files for name, value in _read(file).items()}


def describe_contents(path: Path) -> Iterator[str]:
    """Yield the name, shape and dtype of every weight in a torch file."""
    # Weights in an archive stay on the disk; a pickle of torch before 1.6 is read whole.
    for place, weights in find_weights(_read(path, mmap=zipfile.is_zipfile(path))).items():
        for name, value in weights.items():
            yield f"{place} {name} {tuple(value.shape)} {value.dtype}"


def _read(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path, device="cpu"))
        with torch.serialization.safe_globals(inert_types()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        _refuse_text(path)
        raise EncoderError(
            f"the checkpoint {path} holds more than tensors and plain values, and was not loaded: "
            "that could run code",
            "save its state dict, best as safetensors",
        ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = error.strerror or str(error)
        raise EncoderError(
            f"the checkpoint {path} cannot be read ({reason})", "correct the path"
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises whatever it meets
        _refuse_text(path)
        reason = _reason(error)
        raise EncoderError(
            f"the checkpoint {path} is damaged or incomplete ({reason})", "copy or save it again"
        ) from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise EncoderError(f"the checkpoint {path} holds a {kind}", "save its state dict instead")
    return content


def _refuse_text(path: Path) -> None:
    if is_text(path):
        raise EncoderError(f"the checkpoint {path} {TEXT}") from None


def _reason(error: Exception) -> str:
    """Return the first sentence of an error, with its type if it is one word."""
    first = str(error).partition("\n")[0].partition(". ")[0].removesuffix(".")
    return first if " " in first else f"{type(error).__name__} {first}".strip()


def find_weights(checkpoint: Mapping[str, Any]) -> dict[str, StateDict]:
    """Return all weights of a checkpoint by container, the keys joined by "/"."""
    containers: dict[str, StateDict] = {}
    waiting: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), checkpoint)]
    seen: set[int] = set()
    while waiting:
        keys, content = waiting.pop(0)
        if id(content) in seen:  # the same one under two keys, or inside of itself
            continue
        seen.add(id(content))
        named = {key: value for key, value in content.items() if isinstance(key, str)}
        tensors = {key: _tensor(value) for key, value in named.items()}
        weights = StateDict((key, value) for key, value in tensors.items() if value is not None)
        if weights:
            weights.metadata = getattr(content, "_metadata", None)
            containers.setdefault("/".join(keys), weights)
        if len(keys) < MAX_DEPTH:
            inner = ((key, value) for key, value in named.items() if isinstance(value, dict))
            waiting += [((*keys, key), value) for key, value in inner]
    return containers


def refuse_quantised(files: Iterable[Path], network: torch.nn.Module, place: str) -> None:
    """Raise for integer or eight-bit weights where the network has floating point."""
    tensors = {**dict(network.named_buffers()), **network.state_dict()}
    floating = {
        name.rpartition(".")[2] for name, value in tensors.items() if value.is_floating_point()
    }
    whole = {
        name.rpartition(".")[2] for name, value in tensors.items() if not value.is_floating_point()
    }
    odd = [
        f"{name} ({kind})"
        for file in files
        for name, kind in _unusual_dtypes(file)
        if name.rpartition(".")[2] in floating - whole
    ]
    if odd:
        raise EncoderError(
            f"'{place}' has values of another kind than the network: {format_names(odd)}",
            "save the weights as floating-point numbers",
        )


def _unusual_dtypes(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the names and dtypes of integer and eight-bit values in a file."""
    if file.suffix == ".safetensors":
        with safetensors.safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - no mapping
                kind = stored.get_slice(name).get_dtype()
                if kind not in FLOATING:
                    yield name, kind
        return
    for name, value in _read(file).items():
        if torch.is_tensor(value) and (not value.is_floating_point() or value.itemsize == 1):
            yield name, str(value.dtype).removeprefix("torch.")


def _tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, StoredArray):
        return torch.from_numpy(value.values)
    return value if torch.is_tensor(value) else None


POSITIONS = ("pos_embed", "position", "rel_pos", "relative_")
MATRIX = 2

SAVE_FLOATS = (
    "save the weights as floating-point numbers, or gate the quantised network as a compiled "
    "program"
)
WRITE_SIZE = (
    "write that size: 'arguments: {img_size: 384}' for timm, 'arguments: {image_size: 384}' for "
    "torchvision"
)
OTHER_ARCHITECTURE = "name the architecture that was trained, with its 'arguments'"


class MismatchError(EncoderError):
    """A checkpoint that does not fit its network."""

    def __init__(
        self, problem: str, remedy: str, *, missing: Sequence[str] = (), classifier: str = ""
    ) -> None:
        super().__init__(problem, remedy)
        self.missing = tuple(missing)
        self.classifier = classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatches:
    """All differences between a network and the weights at one place of a checkpoint."""

    wanted: Mapping[str, torch.Tensor]
    state: Mapping[str, torch.Tensor]
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    refusal: str = ""

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        names = (self.missing, self.unknown, self.shapes, self.kinds, self.tied)
        return any(names) or bool(self.refusal)

    @property
    def classifier(self) -> str:
        """The layer whose number of classes is the only difference, or nothing."""
        others = (self.missing, self.unknown, self.kinds, self.tied)
        if any(others) or not self.shapes:
            return ""
        differ = classes_differ(self.shapes, self.wanted, self.state)
        return self.shapes[0].rpartition(".")[0] if differ is not None else ""

    def explained(self) -> tuple[str, str]:
        """Return the cause, with at most five names, and what to do."""
        if self.kinds:
            kinds = [
                f"{name} ({str(self.state[name].dtype).removeprefix('torch.')})"
                for name in self.kinds
            ]
            problem = f"it has values of another kind than the network: {format_names(kinds)}"
            return problem, SAVE_FLOATS
        if self.tied:
            names = format_names(self.tied)
            problem = f"the network has one weight where the checkpoint has several: {names}"
            return problem, OTHER_ARCHITECTURE
        if self.shapes and not (self.missing or self.unknown):
            return self._sizes()
        if not (self.missing or self.shapes or self.refusal):
            return (
                f"it has weights that the network does not have: {format_names(self.unknown)}",
                "name the architecture that has them, or list what to leave out under 'ignore'",
            )
        return self._difference(), OTHER_ARCHITECTURE

    def _difference(self) -> str:
        """Return the most informative difference."""
        if self.shapes:
            return f"shapes differ: {format_names([self._both(name) for name in self.shapes])}"
        if self.refusal:
            return self.refusal
        instead = f" and has {format_names(self.unknown)} instead" if self.unknown else ""
        return f"it lacks {format_names(self.missing)}{instead}"

    def _both(self, name: str) -> str:
        return (
            f"{name} ({shape_of(self.state[name])} in the checkpoint, "
            f"{shape_of(self.wanted[name])} in the network)"
        )

    def _sizes(self) -> tuple[str, str]:
        """Return the cause if only shapes differ."""
        if (classes := classes_differ(self.shapes, self.wanted, self.state)) is not None:
            saved, expected = classes
            return (
                f"its classifier has {saved} classes, the network's {expected} ({self.shapes[0]})",
                f"build the network for {saved} classes: 'arguments: {{num_classes: {saved}}}'",
            )
        if all(any(part in name for part in POSITIONS) for name in self.shapes):
            shapes = format_names([self._both(name) for name in self.shapes])
            return f"it was trained at another image size: {shapes}", WRITE_SIZE
        return self._difference(), OTHER_ARCHITECTURE


def classes_differ(
    names: Sequence[str],
    wanted: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
) -> tuple[int, int] | None:
    """Return the classes of checkpoint and network if only their number differs."""
    layers = {name.rpartition(".")[0] for name in names}
    weights = [name for name in names if wanted[name].ndim == MATRIX]
    if (
        len(layers) != 1
        or not weights
        or any(name.rpartition(".")[0] in layers for name in wanted if name not in names)
    ):
        return None
    pairs = [(state[name].shape, wanted[name].shape) for name in names]
    if not all(saved and expected and saved[1:] == expected[1:] for saved, expected in pairs):
        return None
    counts = {(saved[0], expected[0]) for saved, expected in pairs}
    return counts.pop() if len(counts) == 1 else None


def shape_of(tensor: torch.Tensor) -> str:
    """Return a shape as text."""
    return "x".join(str(size) for size in tensor.shape) or "scalar"
