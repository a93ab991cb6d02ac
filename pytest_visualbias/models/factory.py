"""The source ``factory``: a function of the user's repository that returns a network.

This runs the user's own code, as their tests do; nothing else in this package runs code that a
spec names.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.code import module_file
from pytest_visualbias.models.final_layer import final_linear
from pytest_visualbias.models.fitting import load
from pytest_visualbias.models.misfits import MisfitError
from pytest_visualbias.models.preprocessing import as_facts, declared
from pytest_visualbias.models.readouts import read_outs
from pytest_visualbias.models.square import ieat_facts, ieat_input
from pytest_visualbias.models.torch_encoder import Network, TorchEncoder
from pytest_visualbias.spec.faults import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.schema import FactoryModel, InMemoryModel, ProgramModel

__all__ = ["declared_input", "open_factory"]

# Where a module keeps what it added to the path.
LOOKED_AT = "__visualbias_path__"


def open_factory(entry: FactoryModel, identity: Identity, context: Context) -> TorchEncoder:
    """Call the user's function, load the checkpoint, and make an encoder of the network.

    Raises
    ------
    EncoderError
        Where the function fails or returns no module, or the checkpoint does not fit.
    """
    model = _call(entry, identity.seed, context)
    images = declared_input(entry)
    facts, read = _loaded(model, entry, identity.checkpoint, images["prepare"])
    notes = {"architecture": entry.call, **facts}
    network = Network(module=model, notes=notes, **read, **images)
    return TorchEncoder.within(context, network)


def _loaded(
    model: torch.nn.Module,
    entry: FactoryModel,
    path: Path | None,
    prepare: Callable[[Image.Image], np.ndarray],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Load a checkpoint, without its classifier if that has other classes.

    Returns
    -------
    tuple
        Facts for the report, and how the network is run and read.
    """
    if path is None:
        return {}, read_outs(model)
    checkpoint = read_checkpoint(path)
    try:
        facts, _ = load(model, entry, path, checkpoint=checkpoint)
    except MisfitError as error:
        head = error.classifier
        if not head or final_linear(model, prepare) != head:
            raise
        facts, no_logits = load(model, entry, path, head=(f"{head}.",), checkpoint=checkpoint)
        return facts, {**read_outs(model, no_logits=no_logits), "left_out": (head,)}
    return facts, read_outs(model)


def _call(entry: FactoryModel, seed: int | None, context: Context) -> torch.nn.Module:
    name, _, function = entry.call.partition(":")
    path = module_file(name, context)
    with _importable(name, path):
        return _made(entry, _module(name, path), function, seed)


def _made(entry: FactoryModel, module: Any, function: str, seed: int | None) -> torch.nn.Module:
    name = module.__name__
    if not callable(make := getattr(module, function, None)):
        names = [key for key, value in vars(module).items() if callable(value)]
        raise EncoderError(
            f"'{name}' has no function '{function}'; {did_you_mean(function, names)}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            model = make(**entry.arguments)
    except Exception as error:  # it is the user's code
        raise EncoderError(f"'{entry.call}' fails: {type(error).__name__}: {error}") from error
    if not isinstance(model, torch.nn.Module):
        kind = type(model).__name__
        raise EncoderError(f"'{entry.call}' returns a {kind}; it must return an nn.Module")
    return model


@contextlib.contextmanager
def _importable(name: str, path: Path) -> Iterator[None]:
    """Let a module and what its functions import be found, with its root on the path.

    Whatever they do to the path themselves ends here, too: another model's modules are not to be
    found, nor told apart, by where this one looks for its own.
    """
    depth = len(name.split(".")) - (path.name != "__init__.py")
    root, before = str(path.parents[depth]), [*sys.path]
    own = [one for one in _looked_at(name) if one not in before]
    sys.path[:0] = [*own, *([] if root in before else [root])]
    try:
        yield
    finally:
        found = [one for one in sys.path if one not in (*before, root)]
        sys.path[:] = before
        if name in sys.modules:
            setattr(sys.modules[name], LOOKED_AT, found)


def _looked_at(name: str) -> list[str]:
    """Return what a module added to the path when it was imported: it is not imported twice."""
    return list(getattr(sys.modules.get(name), LOOKED_AT, ()))


def _module(name: str, path: Path) -> Any:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # it is the user's code
        reason = f"{type(error).__name__}: {error}"
        raise EncoderError(f"the module '{name}' cannot be imported: {reason}") from error
    # One of the same name may have been imported before, from another place.
    if Path(str(module.__file__)).resolve() != path.resolve():
        raise EncoderError(f"'{name}' is {module.__file__} here, not {path}; rename the module")
    return module


def declared_input(
    entry: FactoryModel | InMemoryModel | ProgramModel, *, is_whole: bool = False
) -> dict[str, Any]:
    """Return the preprocessing that the spec declares.

    Parameters
    ----------
    entry : model entry
        With ``preprocess`` and ``transform``.
    is_whole : bool
        Whether the network takes whole numbers from 0 to 255, which nothing may normalise.

    Raises
    ------
    EncoderError
        For a transform that normalises the input of a network of whole numbers.
    """
    if is_whole:
        transform = entry.transform
        if transform is None or transform.mean is not None or transform.std is not None:
            raise EncoderError(
                "the program takes uint8 images, which are not normalised; give a 'transform' "
                "without 'mean' and 'std'"
            )
        # What undoes the scaling to [0, 1].
        changes = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
        entry = entry.model_copy(update={"transform": transform.model_copy(update=changes)})
    if entry.transform is None or entry.preprocess == "ieat":
        prepare, facts = ieat_input(entry.transform), ieat_facts(entry.transform)
    else:
        prepare, facts = declared(entry.transform), as_facts(entry.transform)
    return {"prepare": prepare, "preprocessing": facts}
