"""Identify a model by digests of its weights, code, arguments and preprocessing."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, StorageError, printable
from pytest_visualbias.models.encoder import Identity
from pytest_visualbias.models.source_code import (
    LIBRARIES,
    code_files,
    digest_of_code,
    module_file,
    packages_of,
    version_of,
)
from pytest_visualbias.models.weight_files import (
    digest_of_folder,
    digest_of_settings,
    digest_of_weights,
    is_multi_file,
)
from pytest_visualbias.spec.fields import correction
from pytest_visualbias.spec.hashing import POINTER, REMEDY, digest_of_file, is_lfs_pointer
from pytest_visualbias.spec.model_entries import IN_MEMORY
from pytest_visualbias.spec.urls import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.spec.model_entries import (
        FactoryModel,
        InMemoryModel,
        ModelEntry,
        NetworkEntry,
        TimmModel,
    )

NUMBERS = re.compile(r"([0-9]+)")
SHOWN = 3


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
        raise EncoderError(_explain_unnumbered(paths, axis))
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


def _explain_unnumbered(paths: Sequence[str], axis: str) -> str:
    """Return the message about files without a step."""
    shared = os.path.commonprefix(list(paths))  # noqa: RUF071 - cut back to a folder here
    start = max(shared.rfind("/"), shared.rfind("\\")) + 1
    bare = [path for path in paths if not NUMBERS.search(path[start:])]
    listed = (bare or list(paths))[:SHOWN]
    names = ", ".join(listed) + (", ..." if len(bare or paths) > SHOWN else "")
    problem = "has no number in its name" if len(listed) == 1 else "are not alike but for a number"
    if bare and len(listed) > 1:
        problem = "have no number in their names"
    return (
        f"{names} {problem}, so nothing says the order of the series; name the files such as "
        f"{axis}_1 and {axis}_2, or choose a pattern that leaves others out"
    )


LOCAL = "local-dir:"
HUB_NAMES = ("hf-hub:", "hf_hub:", LOCAL)


def identify_timm(entry: TimmModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a timm entry, one per checkpoint or seed."""
    facts = {
        "source": "timm",
        "name": entry.name,
        "arguments": json.dumps(entry.arguments, sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **declared_place(entry),
    }
    is_pretrained = entry.pretrained is not False and entry.random_init is None
    result = identities(entry, context, facts, loads_own_weights=is_pretrained)
    if entry.name.startswith(LOCAL):
        folder = Path(entry.name.removeprefix(LOCAL))
        says = digest_of_folder(folder, context.digest, (".json",)) if folder.is_dir() else ""
        result = tuple(
            dataclasses.replace(identity, facts={**identity.facts, "folder": says})
            for identity in result
        )
    if entry.name.startswith(HUB_NAMES):
        # The architecture and the preprocessing stand in a file there, which may change.
        return tuple(dataclasses.replace(identity, is_whole=False) for identity in result)
    return result


def identify_factory(entry: FactoryModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a factory entry, one per checkpoint or seed."""
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
        **declared_place(entry),
    }
    result = identities(entry, context, facts, loads_own_weights=entry.random_init is None)
    # What else a function reads, or keeps in attributes, is in no digest.
    is_said = entry.files is not None or entry.random_init is not None
    return tuple(dataclasses.replace(identity, is_kept=is_said) for identity in result)


def identify_in_memory(entry: InMemoryModel, context: Context) -> tuple[Identity, ...]:
    """Return the identity of a network in memory; its weights are digested later."""
    if entry.key not in context.modules:
        raise EncoderError(
            f"no module is held under '{entry.key}'",
            "Python code gives one with audit(SPEC, models={NAME: MODULE}), a spec names another "
            "source",
        )
    kind = type(context.modules[entry.key].module)
    facts = {
        "source": IN_MEMORY,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        **{name: version_of(name) for name in LIBRARIES},
    }
    return (Identity(label="in memory", facts=facts, is_whole=False, is_kept=False),)


def identities(
    entry: NetworkEntry,
    context: Context,
    facts: dict[str, str],
    *,
    loads_own_weights: bool,
    packages: tuple[str, ...] = (),
) -> tuple[Identity, ...]:
    """Return the identities of a network, one per checkpoint or seed."""
    # What turns a file into vectors, besides the weights. Our own version stands for our code.
    facts = {**facts, **{name: version_of(name) for name in (*LIBRARIES, *packages)}}
    if entry.files is not None:
        try:
            return _file_identities(entry.files, entry.series, facts, context)
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


def _file_identities(
    files: str | tuple[str, ...], series: str | None, facts: Mapping[str, str], context: Context
) -> tuple[Identity, ...]:
    """Return the identities of checkpoints, in the order of their series if there is one."""
    paths = paths_of(files, context)
    names = [path.name for path in paths]
    result = tuple(
        weights_in(
            path,
            {**facts, "settings": digest_of_settings(path, digest_of_file)},
            context,
            label=_label(path, names, context),
        )
        for path in paths
    )
    return result if series is None else order_series(result, series)


def _label(path: Path, names: list[str], context: Context) -> str:
    if names.count(path.name) == 1:
        return path.name
    return context.mirror.origin(path) or str(path)


def weights_in(
    path: Path, facts: Mapping[str, str], context: Context, *, label: str = ""
) -> Identity:
    """Return the identity of the weights in a file or folder."""
    try:
        if not is_multi_file(path) and is_lfs_pointer(path):
            raise EncoderError(f"{path} {POINTER}", REMEDY)
        digest = digest_of_weights(path, context.digest)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        remedy = correction(path) if isinstance(error, FileNotFoundError) else "correct the path"
        raise EncoderError(f"the checkpoint {path} cannot be read ({reason})", remedy) from None
    return Identity(
        label=label or path.name,
        facts={**facts, "checkpoint": digest},
        checkpoint=path,
        origin=context.mirror.origin(path),
    )


def paths_of(checkpoint: str | tuple[str, ...], context: Context) -> list[Path]:
    """Return the files that a path, list or glob names."""
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
        matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute patterns, too
        if not matches:
            raise EncoderError(f"no checkpoint matches {path}", "correct the pattern")
        paths += matches
    return [*dict.fromkeys(paths)]


def _fetched(url: str, context: Context) -> list[Path]:
    try:
        return context.mirror.files(url)
    except StorageError as error:
        raise EncoderError(f"the checkpoint {error}") from None


def transform_text(entry: ModelEntry) -> str:
    """Return the declared transform as text."""
    transform = getattr(entry, "transform", None)
    return "" if transform is None else str(transform.model_dump_json(exclude_none=True))


def declared_place(entry: NetworkEntry) -> dict[str, str]:
    """Return the container and prefix that the entry declares."""
    keys = {"container": entry.container, "prefix": entry.prefix}
    return {key: text for key, text in keys.items() if text is not None}
