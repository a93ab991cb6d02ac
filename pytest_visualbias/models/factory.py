"""Open networks from a function or from memory."""

from __future__ import annotations

import contextlib
import copy
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import MismatchError, read_checkpoint
from pytest_visualbias.models.final_layer import final_linear
from pytest_visualbias.models.load_weights import load_network
from pytest_visualbias.models.loaded_network import LoadedNetwork, readers
from pytest_visualbias.models.preprocessing import (
    ieat_facts,
    ieat_input,
    make_transform,
    transform_facts,
)
from pytest_visualbias.models.source_code import module_file
from pytest_visualbias.models.timm import resolve_input
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.spec.error_messages import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity, InMemory
    from pytest_visualbias.spec.model_entries import FactoryModel, InMemoryModel, ProgramModel

# Where a module keeps what it added to the path.
ADDED_FOLDERS = "__visualbias_path__"


def open_factory(entry: FactoryModel, identity: Identity, context: Context) -> TorchEncoder:
    """Call the user's function, load the checkpoint, and return an encoder."""
    model = _call(entry, identity.seed, context)
    images = declared_input(entry)
    facts, read = _load(model, entry, identity.checkpoint, images["prepare"])
    notes = {"architecture": entry.call, **facts}
    network = LoadedNetwork(module=model, notes=notes, **read, **images)
    return TorchEncoder.within(context, network)


def _load(
    model: torch.nn.Module,
    entry: FactoryModel,
    path: Path | None,
    prepare: Callable[[Image.Image], np.ndarray],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Load a checkpoint, without its classifier if the classes differ."""
    if path is None:
        return {}, readers(model)
    checkpoint = read_checkpoint(path)
    try:
        facts, _ = load_network(model, entry, path, checkpoint=checkpoint)
    except MismatchError as error:
        head = error.classifier
        if not head or final_linear(model, prepare) != head:
            raise
        facts, no_logits = load_network(
            model, entry, path, head=(f"{head}.",), checkpoint=checkpoint
        )
        return facts, {**readers(model, no_logits=no_logits), "left_out": (head,)}
    return facts, readers(model)


def _call(entry: FactoryModel, seed: int | None, context: Context) -> torch.nn.Module:
    name, _, function = entry.call.partition(":")
    path = module_file(name, context)
    with _importable(name, path):
        return _build(entry, _module(name, path), function, seed)


def _build(entry: FactoryModel, module: Any, function: str, seed: int | None) -> torch.nn.Module:
    name = module.__name__
    if not callable(make := getattr(module, function, None)):
        names = [key for key, value in vars(module).items() if callable(value)]
        raise EncoderError(f"'{name}' has no function '{function}'", did_you_mean(function, names))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            model = make(**entry.arguments)
    except Exception as error:  # it is the user's code
        raise EncoderError(f"'{entry.call}' fails: {type(error).__name__}: {error}") from error
    if not isinstance(model, torch.nn.Module):
        kind = type(model).__name__
        raise EncoderError(f"'{entry.call}' returns a {kind}", "it must return an nn.Module")
    return model


@contextlib.contextmanager
def _importable(name: str, path: Path) -> Iterator[None]:
    """Put the root of a module on the import path."""
    depth = len(name.split(".")) - (path.name != "__init__.py")
    root, before = str(path.parents[depth]), [*sys.path]
    earlier = [folder for folder in _added_folders(name) if folder not in before]
    sys.path[:0] = [*earlier, *([] if root in before else [root])]
    try:
        yield
    finally:
        added = [folder for folder in sys.path if folder not in (*before, root)]
        sys.path[:] = before
        if name in sys.modules:
            setattr(sys.modules[name], ADDED_FOLDERS, added)


def _added_folders(name: str) -> list[str]:
    """Return the folders that a module added to the path when it was first imported."""
    return list(getattr(sys.modules.get(name), ADDED_FOLDERS, ()))


def _module(name: str, path: Path) -> Any:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # it is the user's code
        reason = f"{type(error).__name__}: {error}"
        raise EncoderError(f"the module '{name}' cannot be imported: {reason}") from error
    # One of the same name may have been imported before, from another place.
    if Path(str(module.__file__)).resolve() != path.resolve():
        raise EncoderError(f"'{name}' is {module.__file__} here, not {path}", "rename the module")
    return module


def declared_input(
    entry: FactoryModel | InMemoryModel | ProgramModel, *, is_whole: bool = False
) -> dict[str, Any]:
    """Return the preprocessing that the spec declares."""
    if is_whole:
        transform = entry.transform
        if transform is None or transform.mean is not None or transform.std is not None:
            raise EncoderError(
                "the program takes uint8 images, which are not normalised",
                "give a 'transform' without 'mean' and 'std'",
            )
        # What undoes the scaling to [0, 1].
        changes = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
        entry = entry.model_copy(update={"transform": transform.model_copy(update=changes)})
    if entry.transform is None or entry.preprocess == "ieat":
        prepare, facts = ieat_input(entry.transform), ieat_facts(entry.transform)
    else:
        prepare, facts = make_transform(entry.transform), transform_facts(entry.transform)
    return {"prepare": prepare, "preprocessing": facts}


def open_in_memory(entry: InMemoryModel, _identity: Identity, context: Context) -> TorchEncoder:
    """Return an encoder of a copy of the network, so that training can continue."""
    held = context.modules[entry.key]
    if not isinstance(held.module, torch.nn.Module):
        kind = type(held.module).__name__
        raise EncoderError(f"'{entry.key}' is a {kind}", "give a torch.nn.Module")
    try:
        module = copy.deepcopy(held.module)
    except Exception as error:
        raise EncoderError(
            f"the module '{entry.key}' cannot be copied ({type(error).__name__}: {error})",
            "give one whose tensors are parameters or buffers",
        ) from error
    network = LoadedNetwork(
        module=module,
        notes={"architecture": type(held.module).__name__},
        **readers(module),
        **_input(entry, held, module),
    )
    return TorchEncoder.within(context, network)


def _input(entry: InMemoryModel, held: InMemory, module: Any) -> dict[str, Any]:
    """Return the preprocessing from the caller, the network or the spec."""
    if held.transform is not None:
        # Two functions that print alike are taken for the same one: growth between them is allowed.
        return {
            "prepare": _checked_transform(held.transform, entry.key),
            "preprocessing": {"transform": repr(held.transform)},
        }
    if getattr(module, "pretrained_cfg", None):
        return resolve_input(module, entry)
    if entry.transform is not None or entry.preprocess == "ieat":
        return declared_input(entry)
    raise EncoderError(
        f"nothing says how images are prepared for '{entry.key}'",
        "give Model(module, transform=...), or a 'transform' under its name in the spec",
    )


def _checked_transform(
    transform: Callable[[Image.Image], Any], key: str
) -> Callable[[Any], np.ndarray]:
    def prepare(image: Image.Image) -> np.ndarray:
        try:
            array = np.asarray(transform(image), dtype=np.float32)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise EncoderError(f"the transform of '{key}' fails: {reason}") from error
        if array.ndim != 3:  # noqa: PLR2004 - channels, height, width
            raise EncoderError(
                f"the transform of '{key}' gives {array.shape}",
                "it must give one image as (channels, height, width)",
            )
        return np.ascontiguousarray(array)

    return prepare
