"""Identify the models of every source by digests of weights, code, arguments and preprocessing."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError, StorageError
from pytest_visualbias.models.encoder import Identity, missing
from pytest_visualbias.models.source_code import (
    LIBRARIES,
    code_files,
    digest_of_code,
    module_file,
    packages_of,
    version_of,
)
from pytest_visualbias.models.weight_files import (
    ADAPTER,
    digest_of_folder,
    digest_of_settings,
    digest_of_weights,
    has_weights,
    is_adapter,
    is_multi_file,
    order_series,
)
from pytest_visualbias.spec.fields import HUB_NAMES, correction
from pytest_visualbias.spec.hashing import POINTER, REMEDY, digest_of_file, is_lfs_pointer
from pytest_visualbias.spec.model_entries import IN_MEMORY
from pytest_visualbias.spec.urls import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.spec.model_entries import (
        FactoryModel,
        InMemoryModel,
        ModelEntry,
        NetworkEntry,
        OpenClipModel,
        ProgramModel,
        TimmModel,
        TorchvisionModel,
        TransformersModel,
    )


def identify_timm(entry: TimmModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a timm entry, one per checkpoint or seed."""
    facts = {
        "source": "timm",
        "name": entry.name,
        **_network_facts(entry),
    }
    is_pretrained = entry.pretrained is not False and entry.random_init is None
    result = identities(entry, context, facts, loads_own_weights=is_pretrained)
    if entry.name.startswith("local-dir:"):
        folder = Path(entry.name.removeprefix("local-dir:"))
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
        "code": digest_of_code(files),
        "packages": json.dumps(packages_of(files, context), sort_keys=True),
        **_network_facts(entry),
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


LOCAL = "local-dir:"
CONFIGURATION = (".json",)

# Another format of onnxruntime, which keeps its weights itself.
OWN_FORMAT = b"ORTM"


def identify_open_clip(entry: OpenClipModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of an open_clip entry, one per checkpoint or seed."""
    facts = {
        "source": "open_clip",
        "name": entry.name,
        "pretrained": str(entry.pretrained or ""),
        **_network_facts(entry),
    }
    is_own = entry.pretrained is not False and entry.random_init is None
    is_folder = entry.name.startswith(LOCAL)
    if is_folder:
        folder = context.folder / entry.name.removeprefix(LOCAL)
        facts["folder"] = _digest_of_configuration(folder, context)
        if is_own and entry.checkpoint is None:
            facts["weights"] = digest_of_folder(folder, context.digest)
    packages = ("open_clip_torch", "transformers")
    result = identities(entry, context, facts, loads_own_weights=is_own, packages=packages)
    if is_folder:
        texts = digest_of_folder(folder, context.digest, None)
        return tuple(
            dataclasses.replace(identity, is_whole=True, texts=texts) for identity in result
        )
    if entry.name.startswith("hf-hub:"):
        # The architecture and the preprocessing stand in a file there, which may change.
        return tuple(dataclasses.replace(identity, is_whole=False) for identity in result)
    return result


def identify_torchvision(entry: TorchvisionModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a torchvision entry, one per checkpoint or seed."""
    facts = {
        "source": "torchvision",
        "name": entry.name,
        "weights": entry.weights or "",
        **_network_facts(entry),
    }
    is_own = entry.pretrained is not False and entry.random_init is None
    return identities(entry, context, facts, loads_own_weights=is_own)


def identify_transformers(entry: TransformersModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a transformers entry, one per folder, checkpoint or seed."""
    facts = {
        "source": "transformers",
        "name": entry.name or "",
        "revision": entry.revision or "",
        **_network_facts(entry),
    }
    if entry.adapter is not None:
        facts["adapter"] = _digest_of_adapter(context.folder / entry.adapter, context)
    packages = ("transformers", "tokenizers", "peft")
    is_own = entry.pretrained is not False and entry.random_init is None
    if entry.path is not None and entry.files is None and is_own:
        versions = {name: version_of(name) for name in (*LIBRARIES, *packages)}
        folders = paths_of(entry.path, context)
        for folder in folders:
            _check_weights(folder, context)
        names = [folder.name for folder in folders]
        return tuple(
            dataclasses.replace(
                weights_in(
                    folder,
                    {**facts, **versions},
                    context,
                    label=folder.name if names.count(folder.name) == 1 else str(folder),
                ),
                texts=digest_of_folder(folder, context.digest, None),
            )
            for folder in folders
        )
    if entry.path is not None:
        folder, *_ = paths_of(entry.path, context)
        facts["folder"] = _digest_of_configuration(folder, context)
    result = identities(entry, context, facts, loads_own_weights=is_own, packages=packages)
    if entry.path is not None:
        texts = digest_of_folder(folder, context.digest, None)
        return tuple(dataclasses.replace(identity, texts=texts) for identity in result)
    return tuple(dataclasses.replace(identity, is_whole=False) for identity in result)


def identify_program(entry: ProgramModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a compiled network, one per file."""
    facts = {
        "source": entry.source,
        "preprocess": entry.preprocess,
        "transform": transform_text(entry),
        **{name: version_of(name) for name in (*LIBRARIES, "onnxruntime")},
    }
    paths = paths_of(entry.path, context)
    names = [path.name for path in paths]
    result = []
    for path in paths:
        label = path.name if names.count(path.name) == 1 else str(path)
        identity = weights_in(path, facts, context, label=label)
        if entry.source == "onnx":
            beside = {
                os.path.relpath(file, path.parent): context.digest(file)
                for file in external_files(path)
            }
            external = {"external": json.dumps(beside, sort_keys=True)}
            identity = dataclasses.replace(identity, facts={**identity.facts, **external})
        result.append(identity)
    return tuple(result)


def external_files(path: Path) -> list[Path]:
    """Return the existing external data files of an ONNX file."""
    with path.open("rb") as stream:
        if stream.read(8)[4:] == OWN_FORMAT:
            return []
    try:
        import onnx  # only for entries of this source

        model = onnx.load(str(path), load_external_data=False)
    except ModuleNotFoundError:
        raise EncoderError(missing("onnx")) from None
    except Exception:  # noqa: BLE001 - protobuf has a type of its own for each implementation
        raise EncoderError(
            f"{path} is no ONNX program that can be loaded here, or is damaged",
            "copy or save it again",
        ) from None
    paths = {path.parent / name for name in _locations(model) if "\0" not in name}
    return sorted(path for path in paths if path.is_file())


def _locations(message: Any) -> Iterator[str]:
    """Yield the names of external files, in whatever part of a program a tensor is."""
    for field, value in message.ListFields():
        if field.name == "external_data":
            yield from (entry.value for entry in value if entry.key == "location")
        elif field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _locations(inner)


def _network_facts(
    entry: TimmModel | FactoryModel | OpenClipModel | TorchvisionModel | TransformersModel,
) -> dict[str, str]:
    place = {"container": entry.container, "prefix": entry.prefix}
    return {
        "arguments": json.dumps(getattr(entry, "arguments", {}), sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **{key: text for key, text in place.items() if text is not None},
    }


def _digest_of_adapter(folder: Path, context: Context) -> str:
    if not folder.is_dir():
        raise EncoderError(f"there is no adapter {folder}", correction(folder))
    return digest_of_folder(folder, context.digest)


def _check_weights(folder: Path, context: Context) -> None:
    _digest_of_configuration(folder, context)
    if is_adapter(folder):
        raise EncoderError(
            f"{folder} is an adapter",
            "name the model that it was trained on by 'path', and it by 'adapter'",
        )
    if (folder / ADAPTER).is_file():
        raise EncoderError(
            f"{folder} holds a model and an adapter beside it",
            "move the adapter to a folder of its own and name it by 'adapter', or remove it",
        )
    if not has_weights(folder):
        raise EncoderError(
            f"the folder {folder} holds no weights, as model.safetensors",
            "save the model there, name them by 'checkpoint', or write 'random_init: 1' for an "
            "untrained network",
        )


def _digest_of_configuration(folder: Path, context: Context) -> str:
    """Return the digest of the files that define the architecture in a folder."""
    if not folder.is_dir():
        raise EncoderError(f"there is no folder {folder}", correction(folder))
    return digest_of_folder(folder, context.digest, CONFIGURATION)
