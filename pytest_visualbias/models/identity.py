"""Which weights and which code an entry means, without loading either.

Nothing here imports torch: a run whose embeddings are all cached needs no more than this.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, StorageError
from pytest_visualbias.models.code import (
    LIBRARIES,
    code_files,
    digest_of_code,
    module_file,
    packages_of,
    version_of,
)
from pytest_visualbias.models.encoder import Identity
from pytest_visualbias.models.ordering import in_series
from pytest_visualbias.models.shards import (
    digest_of_folder,
    digest_of_settings,
    digest_of_weights,
    is_several,
)
from pytest_visualbias.remote.urls import is_url
from pytest_visualbias.spec.absent import correction
from pytest_visualbias.spec.digests import digest_of_file
from pytest_visualbias.spec.pointers import REMEDY, is_pointer
from pytest_visualbias.spec.schema import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.spec.schema import (
        FactoryModel,
        InMemoryModel,
        ModelEntry,
        Network,
        TimmModel,
    )

__all__ = [
    "HUB_NAMES",
    "identify_factory",
    "identify_in_memory",
    "identify_timm",
    "identities",
    "paths_of",
    "place_facts",
    "transform_text",
    "weights_in",
]

LOCAL = "local-dir:"
HUB_NAMES = ("hf-hub:", "hf_hub:", LOCAL)


def identify_timm(entry: TimmModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a timm entry, one per checkpoint or seed.

    Raises
    ------
    EncoderError
        For a checkpoint that is not there.
    """
    facts = {
        "source": "timm",
        "name": entry.name,
        "arguments": json.dumps(entry.arguments, sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **place_facts(entry),
    }
    is_pretrained = entry.pretrained is not False and entry.random_init is None
    found = identities(entry, context, facts, loads_own_weights=is_pretrained)
    if entry.name.startswith(LOCAL):
        folder = Path(entry.name.removeprefix(LOCAL))
        says = digest_of_folder(folder, context.digest, (".json",)) if folder.is_dir() else ""
        found = tuple(
            dataclasses.replace(one, facts={**one.facts, "folder": says}) for one in found
        )
    if entry.name.startswith(HUB_NAMES):
        # The architecture and the preprocessing stand in a file there, which may change.
        return tuple(dataclasses.replace(identity, is_whole=False) for identity in found)
    return found


def identify_factory(entry: FactoryModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a factory entry, one per checkpoint or seed.

    The digest of the function's code covers its module and every module of the project that it
    imports, directly or not: an edited architecture must not be answered from a cache.

    Raises
    ------
    EncoderError
        For a checkpoint or a module that is not there.
    """
    module, _, _ = entry.call.partition(":")
    files = code_files(module_file(module, context), context)
    facts = {
        "source": "factory",
        "call": entry.call,
        "arguments": json.dumps(entry.arguments, sort_keys=True),
        "code": digest_of_code(files),
        "packages": json.dumps(packages_of(files, context), sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **place_facts(entry),
    }
    found = identities(entry, context, facts, loads_own_weights=entry.random_init is None)
    # What else a function reads, or keeps in attributes, is in no digest.
    is_said = entry.files is not None or entry.random_init is not None
    return tuple(dataclasses.replace(identity, is_kept=is_said) for identity in found)


def identify_in_memory(entry: InMemoryModel, context: Context) -> tuple[Identity, ...]:
    """Return the identity of a network that Python code holds; its weights are digested later.

    Raises
    ------
    EncoderError
        Where nothing is held under its key, as where a spec names this source itself.
    """
    if entry.key not in context.modules:
        raise EncoderError(
            f"no module is held under '{entry.key}'; Python code gives one with "
            "audit(SPEC, models={NAME: MODULE}), a spec names another source"
        )
    kind = type(context.modules[entry.key].module)
    facts = {
        "source": IN_MEMORY,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        **{name: version_of(name) for name in LIBRARIES},
    }
    return (Identity(label="in memory", facts=facts, is_whole=False, is_kept=False),)


def identities(
    entry: Network,
    context: Context,
    facts: dict[str, str],
    *,
    loads_own_weights: bool,
    packages: tuple[str, ...] = (),
) -> tuple[Identity, ...]:
    """Return the identities of a network, one per checkpoint or seed.

    Parameters
    ----------
    entry : Network
        Of the spec.
    context : Context
        Where its files are.
    facts : dict
        What its source says besides.
    loads_own_weights : bool
        Whether the weights are its library's, where the entry names none.
    packages : tuple of str
        What computes the vectors besides `LIBRARIES`.

    Raises
    ------
    EncoderError
        For a checkpoint that is not there.
    """
    # What turns a file into vectors, besides the weights. Our own version stands for our code.
    facts = {**facts, **{name: version_of(name) for name in (*LIBRARIES, *packages)}}
    if entry.files is not None:
        try:
            return _of_files(entry.files, entry.series, facts, context)
        except EncoderError as error:
            key = "" if entry.series is None else "checkpoints"
            raise EncoderError(str(error), key=key) from None
    if loads_own_weights:
        return (Identity(label="own weights", facts=facts, is_whole=False),)
    seeds = range(entry.random_init or 1)
    return tuple(
        Identity(label=f"seed {seed}", facts={**facts, "seed": str(seed)}, seed=seed)
        for seed in seeds
    )


def _of_files(
    files: str | tuple[str, ...], series: str | None, facts: Mapping[str, str], context: Context
) -> tuple[Identity, ...]:
    """Return the identities of checkpoints, in the order of a series where they are one."""
    paths = paths_of(files, context)
    names = [path.name for path in paths]
    found = tuple(
        weights_in(
            path,
            {**facts, "settings": digest_of_settings(path, digest_of_file)},
            context,
            label=_label(path, names, context),
        )
        for path in paths
    )
    return found if series is None else in_series(found, series)


def _label(path: Path, names: list[str], context: Context) -> str:
    if names.count(path.name) == 1:
        return path.name
    return context.mirror.origin(path) or str(path)


def weights_in(
    path: Path, facts: Mapping[str, str], context: Context, *, label: str = ""
) -> Identity:
    """Return the identity of the weights in a file or a folder.

    Raises
    ------
    EncoderError
        Where it cannot be read.
    """
    try:
        if not is_several(path) and is_pointer(path):
            raise EncoderError(f"{path} {REMEDY}")
        digest = digest_of_weights(path, context.digest)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        remedy = correction(path) if isinstance(error, FileNotFoundError) else "correct the path"
        raise EncoderError(f"the checkpoint {path} cannot be read ({reason}); {remedy}") from None
    return Identity(
        label=label or path.name,
        facts={**facts, "checkpoint": digest},
        checkpoint=path,
        origin=context.mirror.origin(path),
    )


def paths_of(checkpoint: str | tuple[str, ...], context: Context) -> list[Path]:
    """Return the files that a path, a list or a glob of an entry names.

    Raises
    ------
    EncoderError
        For a glob that matches nothing.
    """
    patterns = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    paths: list[Path] = []
    for pattern in patterns:
        if is_url(pattern):
            paths += _fetched(pattern, context)
            continue
        path = context.folder / pattern
        # Path.exists raises about names that no file can have.
        if os.path.exists(path) or not glob.has_magic(pattern):  # noqa: PTH110
            paths.append(path)
            continue
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute patterns, too
        if not found:
            raise EncoderError(f"no checkpoint matches {path}; correct the pattern")
        paths += found
    return [*dict.fromkeys(paths)]


def _fetched(url: str, context: Context) -> list[Path]:
    try:
        return context.mirror.files(url)
    except StorageError as error:
        raise EncoderError(f"the checkpoint {error}") from None


def transform_text(entry: ModelEntry) -> str:
    """Return the transform that an entry declares, as a text."""
    transform = getattr(entry, "transform", None)
    return "" if transform is None else str(transform.model_dump_json(exclude_none=True))


def place_facts(entry: Network) -> dict[str, str]:
    """Return which weights of a checkpoint are meant, where the entry says so."""
    said = {"container": entry.container, "prefix": entry.prefix}
    return {key: text for key, text in said.items() if text is not None}
