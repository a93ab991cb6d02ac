"""Find the files that belong to a checkpoint: external data and shards."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.hashing import POINTER, REMEDY, digest_of_mapping, is_lfs_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# The messages that lead to tensors, and the numbers of their fields that do (onnx.proto).
FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
KEY, VALUE = 1, 2
LOCATION = b"location"

# How a field is written: a number, eight bytes, a length and as many bytes, four bytes.
NUMBER, EIGHT, BYTES, FOUR = 0, 1, 2, 5
LONGEST = 10  # bytes of a number

# Another format of onnxruntime, which keeps its weights itself.
OWN_FORMAT = b"ORTM"


def external_files(path: Path) -> list[Path]:
    """Return the existing external data files of an ONNX file."""
    if path.stat().st_size == 0:
        return []
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            names = set() if content[4:8] == OWN_FORMAT else {*_names(content)}
        except (IndexError, ValueError, RecursionError):
            raise EncoderError(
                f"{path} is no ONNX program that can be loaded here, or is damaged",
                "copy or save it again",
            ) from None
    paths = (path.parent / os.fsdecode(name) for name in sorted(names) if b"\0" not in name)
    return [path for path in paths if path.is_file()]


def _names(content: mmap.mmap) -> Iterator[bytes]:
    waiting = [("model", 0, len(content))]
    while waiting:
        kind, start, end = waiting.pop()
        if kind == "entry":
            yield from _location(content, start, end)
        for field, first, last in _fields(content, start, end):
            if inner := FIELDS[kind].get(field):
                waiting.append((inner, first, last))


def _location(content: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    """Yield the values of an entry that names a tensor's file."""
    fields = [(field, content[first:last]) for field, first, last in _fields(content, start, end)]
    if (KEY, LOCATION) in fields:
        yield from (value for field, value in fields if field == VALUE)


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each length-delimited field, and where its content lies."""
    while start < end:
        tag, start = _read_varint(content, start)
        kind, length = tag & 7, 0
        if kind == NUMBER:
            _, start = _read_varint(content, start)
        elif kind == BYTES:
            length, start = _read_varint(content, start)
            yield tag >> 3, start, start + length
        elif kind in (EIGHT, FOUR):
            length = {EIGHT: 8, FOUR: 4}[kind]
        else:
            raise ValueError("a field of another kind")
        start += length
    if start != end:
        raise ValueError("a field that is cut off")


def _read_varint(content: mmap.mmap, start: int) -> tuple[int, int]:
    """Return a varint, and where it ends."""
    value = 0
    for index in range(LONGEST):
        byte = content[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no eighth bit
            return value, start + index + 1
    raise ValueError("a number without an end")


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


def is_multi_file(path: Path) -> bool:
    """Return whether a checkpoint is a folder or an index of several files."""
    return os.path.isdir(path) or path.name.endswith(INDEX)  # noqa: PTH112 - never raises


def has_weights(path: Path) -> bool:
    """Return whether a folder holds the weights of a complete network."""
    return any(os.path.isfile(path / name) for name in WHOLE)  # noqa: PTH113 - never raises


def is_adapter(path: Path) -> bool:
    """Return whether a folder holds a peft adapter and no network."""
    return os.path.isfile(path / ADAPTER) and not has_weights(path)  # noqa: PTH113 - never raises


def find_weight_files(path: Path) -> list[Path]:
    """Return the weight files of a checkpoint."""
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        for name in (*WHOLE, ADAPTER):
            if (path / name).is_file():
                return find_weight_files(path / name)
        raise EncoderError(
            f"the checkpoint {path} cannot be read (a folder without {WHOLE[0]})",
            "name the file, or the folder that has it",
        )
    return _shards(path) if path.name.endswith(INDEX) else [path]


def _shards(index: Path) -> list[Path]:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in places.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise EncoderError(
            f"{index} is no index of a checkpoint ({reason})", "copy or save it again"
        ) from None
    for name in names:
        # An index speaks of what lies beside it, and of nothing else.
        if Path(name).name != name or not (index.parent / name).is_file():
            raise EncoderError(f"{index} names '{name}', which is not beside it", "copy all of it")
    return [index.parent / name for name in names]


def digest_of_weights(path: Path, digest: Callable[[Path], str]) -> str:
    """Return the digest of all files of a checkpoint."""
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        find_weight_files(path)
        return digest_of_folder(path, digest)
    if not is_multi_file(path):
        return digest(path)
    return _digest_of_files([path, *find_weight_files(path)], digest)


def digest_of_settings(path: Path, digest: Callable[[Path], str]) -> str:
    """Return the digest of settings saved next to weights; empty if there are none."""
    folder = path if os.path.isdir(path) else path.parent  # noqa: PTH112 - never raises
    files = [folder / name for name in SETTINGS if os.path.isfile(folder / name)]  # noqa: PTH113 - never raises
    return _digest_of_files(files, digest) if files else ""


def digest_of_folder(
    path: Path, digest: Callable[[Path], str], suffixes: tuple[str, ...] | None = SUFFIXES
) -> str:
    """Return the digest of a folder's files with these suffixes."""
    files = (
        file
        for file in path.iterdir()
        if file.is_file() and (file.suffix in suffixes if suffixes else file.suffix not in TENSORS)
    )
    return _digest_of_files(sorted(files), digest)


def _digest_of_files(files: list[Path], digest: Callable[[Path], str]) -> str:
    for file in files:
        if is_lfs_pointer(file):
            raise EncoderError(f"{file} {POINTER}", REMEDY)
    return digest_of_mapping({file.name: digest(file) for file in files})
