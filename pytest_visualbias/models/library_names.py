"""Identify models of libraries by name."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.identity import (
    declared_place,
    identities,
    paths_of,
    transform_text,
    weights_in,
)
from pytest_visualbias.models.source_code import LIBRARIES, version_of
from pytest_visualbias.models.weight_files import (
    ADAPTER,
    digest_of_folder,
    external_files,
    has_weights,
    is_adapter,
)
from pytest_visualbias.spec.fields import correction

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.model_entries import (
        OpenClipModel,
        ProgramModel,
        TorchvisionModel,
        TransformersModel,
    )

LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIGURATION = (".json",)


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
    if entry.name.startswith(HUB):
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


def _network_facts(
    entry: OpenClipModel | TorchvisionModel | TransformersModel,
) -> dict[str, str]:
    arguments = getattr(entry, "arguments", {})
    return {
        "arguments": json.dumps(arguments, sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **declared_place(entry),
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
