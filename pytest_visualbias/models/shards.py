"""Weights in a folder, or in several files beside an index, as trainers save large networks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.digests import digest_of_mapping
from pytest_visualbias.spec.pointers import REMEDY, is_pointer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ADAPTER",
    "digest_of_folder",
    "digest_of_settings",
    "digest_of_weights",
    "files_of",
    "has_weights",
    "is_adapter",
    "is_several",
]

INDEX = ".index.json"
# What trainers call the weights of a folder, the safe ones first.
WHOLE = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("open_clip_model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    "open_clip_pytorch_model.bin",
)
# What peft calls its own.
ADAPTER = "adapter_model.safetensors"
SUFFIXES = (".json", ".safetensors", ".bin")
TENSORS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx")
# What says how a network was built and its images prepared, beside its weights.
SETTINGS = (
    *("config.json", "preprocessor_config.json", "processor_config.json"),
    *("open_clip_config.json", "args.yaml"),
)


def is_several(path: Path) -> bool:
    """Whether a checkpoint is not one file: a folder, or the index of several."""
    return os.path.isdir(path) or path.name.endswith(INDEX)  # noqa: PTH112 - never raises


def has_weights(path: Path) -> bool:
    """Whether a folder holds those of a whole network."""
    return any(os.path.isfile(path / name) for name in WHOLE)  # noqa: PTH113 - never raises


def is_adapter(path: Path) -> bool:
    """Whether a folder holds weights that peft adds to those of a network, and no network."""
    return os.path.isfile(path / ADAPTER) and not has_weights(path)  # noqa: PTH113 - never raises


def files_of(path: Path) -> list[Path]:
    """Return the files that hold the weights of a checkpoint.

    Parameters
    ----------
    path : Path
        A file of weights, a folder with one, or the index of several.

    Raises
    ------
    EncoderError
        For a folder without weights, an index that is none, or a file of it that is not there.
    """
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        for name in (*WHOLE, ADAPTER):
            if (path / name).is_file():
                return files_of(path / name)
        raise EncoderError(
            f"the checkpoint {path} cannot be read (a folder without {WHOLE[0]}); name the file, "
            "or the folder that has it"
        )
    return _shards(path) if path.name.endswith(INDEX) else [path]


def _shards(index: Path) -> list[Path]:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in places.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise EncoderError(
            f"{index} is no index of a checkpoint ({reason}); copy or save it again"
        ) from None
    for name in names:
        # An index speaks of what lies beside it, and of nothing else.
        if Path(name).name != name or not (index.parent / name).is_file():
            raise EncoderError(f"{index} names '{name}', which is not beside it; copy all of it")
    return [index.parent / name for name in names]


def digest_of_weights(path: Path, digest: Callable[[Path], str]) -> str:
    """Return the digest of a file, or of all files that a checkpoint is made of.

    Parameters
    ----------
    path : Path
        A file, a folder, or an index.
    digest : callable
        Returns the sha256 of a file.

    Raises
    ------
    EncoderError
        Where files are missing.
    OSError
        Where one cannot be read.
    """
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        files_of(path)
        return digest_of_folder(path, digest)
    if not is_several(path):
        return digest(path)
    return _together([path, *files_of(path)], digest)


def digest_of_settings(path: Path, digest: Callable[[Path], str]) -> str:
    """Return the digest of what trainers save beside weights; nothing where they saved nothing.

    Parameters
    ----------
    path : Path
        A file of weights, or a folder.
    digest : callable
        Returns the sha256 of a file.
    """
    folder = path if os.path.isdir(path) else path.parent  # noqa: PTH112 - never raises
    files = [folder / name for name in SETTINGS if os.path.isfile(folder / name)]  # noqa: PTH113 - never raises
    return _together(files, digest) if files else ""


def digest_of_folder(
    path: Path, digest: Callable[[Path], str], suffixes: tuple[str, ...] | None = SUFFIXES
) -> str:
    """Return the digest of a folder's files of some kinds: what says which network it holds.

    With None for the kinds, of all files but weights: a tokenizer calls its own as it likes.
    """
    found = (
        one
        for one in path.iterdir()
        if one.is_file() and (one.suffix in suffixes if suffixes else one.suffix not in TENSORS)
    )
    return _together(sorted(found), digest)


def _together(files: list[Path], digest: Callable[[Path], str]) -> str:
    for file in files:
        if is_pointer(file):
            raise EncoderError(f"{file} {REMEDY}")
    return digest_of_mapping({file.name: digest(file) for file in files})
