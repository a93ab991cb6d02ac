"""Find, digest, check and order the files of checkpoints, without loading them."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import os
import re
import zipfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import safetensors

from pytest_visualbias.errors import EncoderError, printable
from pytest_visualbias.models.encoder import Identity
from pytest_visualbias.spec.error_messages import format_names
from pytest_visualbias.spec.fields import HUB_NAMES
from pytest_visualbias.spec.hashing import (
    POINTER,
    REMEDY,
    TEXT,
    digest_of_mapping,
    is_lfs_pointer,
    is_text,
)
from pytest_visualbias.spec.model_entries import NetworkEntry, ProgramModel, TimmModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_visualbias.models.encoder import Identity
    from pytest_visualbias.spec.model_entries import (
        ModelEntry,
    )


INDEX = ".index.json"

# What trainers call the weights of a folder, the safe ones first.
NETWORK_FILES = (
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
    return any(os.path.isfile(path / name) for name in NETWORK_FILES)  # noqa: PTH113 - never raises


def is_adapter(path: Path) -> bool:
    """Return whether a folder holds a peft adapter and no network."""
    return os.path.isfile(path / ADAPTER) and not has_weights(path)  # noqa: PTH113 - never raises


def find_weight_files(path: Path) -> list[Path]:
    """Return the weight files of a checkpoint."""
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        for name in (*NETWORK_FILES, ADAPTER):
            if (path / name).is_file():
                return find_weight_files(path / name)
        raise EncoderError(
            f"the checkpoint {path} cannot be read (a folder without {NETWORK_FILES[0]})",
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


NUMBERS = re.compile(r"([0-9]+)")


def order_series(identities: Iterable[Identity], axis: str) -> tuple[Identity, ...]:
    """Return checkpoints in the order of a training run, each with its step."""
    unordered = list(identities)
    # The path of a local copy has digests in it: numbers of another kind.
    names = [identity.origin or str(identity.checkpoint) for identity in unordered]
    labels = checkpoint_steps(names, axis)
    placed = [
        dataclasses.replace(identity, step=printable(label))
        for identity, label in zip(unordered, labels, strict=True)
    ]
    return tuple(sorted(placed, key=lambda identity: natural_order(identity.step)))


def natural_order(label: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 2 before 10."""
    parts = NUMBERS.split(label)
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)]


def checkpoint_steps(paths: Sequence[str], axis: str) -> list[str]:
    """Return the step of every file."""
    labels = _numbers_after_axis(paths, axis) or _differing_numbers(paths)
    if labels is None:
        bare = [path for path in paths if not NUMBERS.search(PurePath(path).name)]
        raise EncoderError(
            f"nothing says the order of the series: {format_names(bare or paths)}",
            f"name the files such as {axis}_1 and {axis}_2, or choose a pattern that leaves others "
            "out",
        )
    first: dict[str, str] = {}
    for path, label in zip(paths, labels, strict=True):
        other = first.setdefault(label, path)
        if other != path:
            raise EncoderError(
                f"{other} and {path} are both {axis} {label}",
                "choose a pattern that matches one of them, or name what 'series' counts otherwise",
            )
    return labels


def _numbers_after_axis(paths: Sequence[str], axis: str) -> list[str] | None:
    """Return the last number that follows the axis name in every path."""
    named = re.compile(rf"(?<![A-Za-z]){re.escape(axis)}[^A-Za-z0-9/\\]*([0-9]+)", re.IGNORECASE)
    matches = [named.findall(path) for path in paths]
    return [str(int(numbers[-1])) for numbers in matches] if all(matches) else None


def _differing_numbers(paths: Sequence[str]) -> list[str] | None:
    """Return the numbers in which paths differ; None if more than numbers differ."""
    if len(paths) == 1:
        numbers = NUMBERS.findall(PurePath(paths[0]).stem)
        return [str(int(numbers[-1]))] if numbers else None
    split = [NUMBERS.split(path) for path in paths]
    if len({tuple(parts[::2]) for parts in split}) > 1:
        return None
    apart = [
        place
        for place in range(1, len(split[0]), 2)
        if len({int(parts[place]) for parts in split}) > 1
    ]
    if not apart:  # the same number, written in two ways
        return [str(int(parts[-2])) for parts in split] if len(split[0]) > 1 else None
    if len(apart) == 1:
        return [str(int(parts[apart[0]])) for parts in split]
    return ["".join(parts[apart[0] : apart[-1] + 1]) for parts in split]


# What torch writes: an archive, or a pickle as before 1.6; and the archives of its first versions.
ARCHIVE, PICKLE, TAR = b"PK", b"\x80", b"ustar"
TAR_AT = 257
REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


def find_flaws(entry: ModelEntry, identities: Iterable[Identity]) -> Iterator[str]:
    """Yield what is wrong with the checkpoints and the name of an entry."""
    look = _header_check(entry)
    for identity in identities:
        path = identity.checkpoint
        # Where the weights are in several files, the digest has read them all.
        if path is None or look is None or is_multi_file(path):
            continue
        if (flaw := look(path)) is not None:
            yield flaw
    if isinstance(entry, TimmModel) and (unknown := _explain_unknown(entry.name)) is not None:
        yield unknown


def describe_weights(path: Path) -> frozenset[str]:
    """Return the names, shapes and dtypes of a checkpoint's weights without reading them."""
    return frozenset(text for file in find_weight_files(path) for text in _contents(file))


def _contents(file: Path) -> Iterator[str]:
    if file.suffix != ".safetensors":
        # By name, as for encoders: torch comes along.
        yield from importlib.import_module(
            "pytest_visualbias.models.checkpoints"
        ).describe_contents(file)
        return
    with safetensors.safe_open(file, framework="numpy") as stored:
        for name in stored.keys():  # noqa: SIM118 - no mapping
            tensor = stored.get_slice(name)
            yield f"{name} {tensor.get_shape()} {tensor.get_dtype()}"


def find_duplicates(identities: Iterable[Identity]) -> Iterator[str]:
    """Yield a message about trials with identical checkpoints."""
    labels: dict[str, list[str]] = {}
    for identity in identities:
        if "checkpoint" in identity.facts:
            labels.setdefault(identity.facts["checkpoint"], []).append(identity.label)
    for same in labels.values():
        if len(same) > 1:
            names = " and ".join(same)
            yield f"{names} are the same file, which counts {len(same)} times; keep one of them"


def _header_check(entry: ModelEntry) -> Callable[[Path], str | None] | None:
    if isinstance(entry, NetworkEntry):
        return find_flaw
    is_archive = isinstance(entry, ProgramModel) and entry.source in ("torchscript", "export")
    return _flaw_of_program if is_archive else None


def _flaw_of_program(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path):
            return None
    except OSError as error:
        reason = error.strerror or str(error)
        return f"the program {path} cannot be read ({reason}); correct the path"
    except zipfile.BadZipFile:
        return f"the program {path} is damaged, or none that torch saves; copy or save it again"


def find_flaw(path: Path) -> str | None:
    """Return what is wrong with a file of weights, judged by its header and end."""
    try:
        if is_text(path):
            return f"the checkpoint {path} {TEXT}"
        if path.suffix == ".safetensors":
            return _flaw_of_safetensors(path)
        return _flaw_of_torch(path)
    except OSError as error:
        reason = error.strerror or str(error)
        return f"the checkpoint {path} cannot be read ({reason}); correct the path"
    except (safetensors.SafetensorError, zipfile.BadZipFile) as error:
        return f"the checkpoint {path} is damaged or incomplete ({error}); copy or save it again"


def _flaw_of_safetensors(path: Path) -> str | None:
    # Numpy's, which takes no part here: only the header is read, and held against the size.
    with safetensors.safe_open(path, framework="numpy") as stored:
        names = stored.keys()
    return None if names else f"the checkpoint {path} holds no tensors; save the weights again"


def _flaw_of_torch(path: Path) -> str | None:
    with path.open("rb") as stream:
        start = stream.read(TAR_AT + len(TAR))
    if start.startswith(ARCHIVE):
        with zipfile.ZipFile(path) as archive:
            is_saved = any(Path(name).name == "data.pkl" for name in archive.namelist())
    else:
        is_saved = start.startswith(PICKLE) or start.endswith(TAR)
    if is_saved:
        return None
    remedy = "name the file of the weights; a file of safetensors must end in .safetensors"
    return f"the checkpoint {path} is not a file that torch saves; {remedy}"


def _explain_unknown(name: str) -> str | None:
    """Return the message about a name that timm does not know."""
    base, _, tag = name.partition(".")
    text = _timm_text()
    if name.startswith(HUB_NAMES) or not text:
        return None
    if base in REGISTERED.findall(text) and (not tag or f"'{name}'" in text):
        return None
    try:
        # By name, as for encoders: torch comes along.
        importlib.import_module("pytest_visualbias.models.timm").check_name(name)
    except ImportError:
        return None  # said when the model is loaded
    except EncoderError as error:
        return str(error)
    return None


@functools.lru_cache(maxsize=1)
def _timm_text() -> str:
    """Return the source text of timm's models; nothing if timm is not installed."""
    spec = importlib.util.find_spec("timm")
    places = spec.submodule_search_locations if spec is not None else None
    files = (path for place in places or () for path in sorted(Path(place, "models").glob("*.py")))
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
