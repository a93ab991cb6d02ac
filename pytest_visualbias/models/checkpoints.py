"""Reading checkpoints safely: all the weights in them, and no code."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.choosing import listed
from pytest_visualbias.models.inert import StoredArray, inert_types
from pytest_visualbias.models.shards import files_of
from pytest_visualbias.spec.pointers import TEXT, is_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["StateDict", "contents", "read_checkpoint", "refuse_quantised", "weights_of"]

# As safetensors calls them.
FLOATING = ("F64", "F32", "F16", "BF16")

# VISSL's weights lie four keys deep.
DEPTH = 6


class StateDict(OrderedDict[str, torch.Tensor]):
    """Weights by name, with the versions of modules where torch looks for them."""

    _metadata: Mapping[str, Any] | None = None

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The versions of the modules that were saved, by name; None where the file has none."""
        return self._metadata

    @metadata.setter
    def metadata(self, versions: Mapping[str, Any] | None) -> None:
        self._metadata = versions


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Parameters
    ----------
    path : Path
        A file, a folder that a trainer saved, or the index of several files.

    Raises
    ------
    EncoderError
        For a file that is damaged, or that holds more than tensors and plain values.
    """
    files = files_of(path)
    if len(files) == 1:
        return _read(files[0])
    return {name: value for file in files for name, value in _read(file).items()}


def contents(path: Path) -> Iterator[str]:
    """Yield the name, shape and kind of every weight in a file that torch saved.

    Raises
    ------
    EncoderError
        For a file that is damaged, or that holds more than tensors and plain values.
    """
    # Weights in an archive stay on the disk; a pickle of torch before 1.6 is read whole.
    for place, weights in weights_of(_read(path, mmap=zipfile.is_zipfile(path))).items():
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
            "that could run code; save its state dict, best as safetensors"
        ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = error.strerror or str(error)
        raise EncoderError(
            f"the checkpoint {path} cannot be read ({reason}); correct the path"
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises whatever it meets
        _refuse_text(path)
        reason = _reason(error)
        raise EncoderError(
            f"the checkpoint {path} is damaged or incomplete ({reason}); copy or save it again"
        ) from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise EncoderError(f"the checkpoint {path} holds a {kind}; save its state dict instead")
    return content


def _refuse_text(path: Path) -> None:
    if is_text(path):
        raise EncoderError(f"the checkpoint {path} {TEXT}") from None


def _reason(error: Exception) -> str:
    """Return the first sentence of an error, with its type where that is no sentence."""
    first = str(error).partition("\n")[0].partition(". ")[0].removesuffix(".")
    return first if " " in first else f"{type(error).__name__} {first}".strip()


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, StateDict]:
    """Return all weights by name, by the keys under which they lie joined by "/"."""
    found: dict[str, StateDict] = {}
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
            found.setdefault("/".join(keys), weights)
        if len(keys) < DEPTH:
            inner = ((key, value) for key, value in named.items() if isinstance(value, dict))
            waiting += [((*keys, key), value) for key, value in inner]
    return found


def refuse_quantised(files: Iterable[Path], network: torch.nn.Module, place: str) -> None:
    """Refuse weights that are integers or have eight bits, where a network has none.

    For what a library loads by itself: torch turns such values into others without a word.

    Raises
    ------
    EncoderError
        With their names.
    """
    own = {**dict(network.named_buffers()), **network.state_dict()}
    floating = {name.rpartition(".")[2] for name, value in own.items() if value.is_floating_point()}
    whole = {
        name.rpartition(".")[2] for name, value in own.items() if not value.is_floating_point()
    }
    odd = [
        f"{name} ({kind})"
        for file in files
        for name, kind in _kinds(file)
        if name.rpartition(".")[2] in floating - whole
    ]
    if odd:
        raise EncoderError(
            f"'{place}' has values of another kind than the network: {listed(odd)}; save the "
            "weights as floating-point numbers"
        )


def _kinds(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of integers and of eight-bit numbers in a file, with their kinds."""
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
