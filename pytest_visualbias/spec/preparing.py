"""How an entry says that its network is made and its images are prepared, and what contradicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.roles import is_random
from pytest_visualbias.spec.sources import (
    Network,
    OpenClipModel,
    ProgramModel,
    TimmModel,
    TorchvisionModel,
    TransformersModel,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.sources import ModelEntry

    Findings = Iterator[tuple[Path, str]]

__all__ = ["ARGUMENTS", "DEPARTURE", "WHOLE_NAMES", "model_findings"]

DEPARTURE = (
    "iEAT's preprocessing is not the model's own: a square from the top left, not normalised; "
    "compare with published numbers by it, and gate without it"
)
# Names of open_clip that bring their own weights and preprocessing.
WHOLE_NAMES = ("hf-hub:", "local-dir:")
OF_THE_WEIGHTS = "says which weights are loaded; say it with the keys of the model"
OF_THE_OUTPUT = "changes what the network returns; name what you want under 'layers'"
# Arguments of a library that an entry says with keys of its own, by how they start.
ARGUMENTS: Mapping[type, Mapping[str, str]] = {
    TimmModel: {
        **dict.fromkeys(
            ("pretrained", "checkpoint_path", "cache_dir", "model_name"), OF_THE_WEIGHTS
        ),
        **dict.fromkeys(
            ("features_only", "out_indices", "feature_cfg", "exportable", "scriptable"),
            OF_THE_OUTPUT,
        ),
    },
    OpenClipModel: {
        **dict.fromkeys(
            ("pretrained", "load_weights", "require_pretrained", "weights_only", "cache_dir"),
            OF_THE_WEIGHTS,
        ),
        **dict.fromkeys(("model_name", "cache_dir"), OF_THE_WEIGHTS),
        **dict.fromkeys(("jit", "output_dict", "device", "precision"), OF_THE_OUTPUT),
    },
    TorchvisionModel: dict.fromkeys(("weights", "progress", "name"), OF_THE_WEIGHTS),
}


def model_findings(entry: ModelEntry) -> Findings:
    """Yield the path of and the sentence about what does not go together in an entry."""
    if isinstance(entry, Network):
        yield from _weights(entry)
    if isinstance(entry, Network | ProgramModel):
        yield from _preparation(entry)
    for start, message in ARGUMENTS.get(type(entry), {}).items():
        for name in getattr(entry, "arguments", {}):
            if name.startswith(start):
                yield ("arguments", name), message
    if isinstance(entry, OpenClipModel):
        yield from _open_clip(entry)
    elif isinstance(entry, TransformersModel):
        yield from _transformers(entry)


def _weights(entry: Network) -> Findings:
    if entry.files is not None and entry.random_init is not None:
        yield ("random_init",), "a checkpoint is given too; keep one of them"
    for key in ("container", "prefix"):
        if getattr(entry, key) is not None and entry.files is None:
            yield (key,), "there is no checkpoint to read it in; add 'checkpoint' or remove this"
    if getattr(entry, "pretrained", None) is True:
        for key in ("checkpoint", "checkpoints", "random_init"):
            if getattr(entry, key) is not None:
                yield ("pretrained",), f"{key} is given too; keep one of them"


def _preparation(entry: Network | ProgramModel) -> Findings:
    transform = getattr(entry, "transform", None)
    if getattr(entry, "preprocess", None) != "ieat" or transform is None:
        return
    for key in ("crop", "mean", "std", "interpolation", "channels"):
        if getattr(transform, key) is not None:
            yield ("transform", key), "'preprocess: ieat' says it already; remove it"
    if not isinstance(transform.size, int) and transform.size[0] != transform.size[1]:
        yield ("transform", "size"), "'preprocess: ieat' cuts a square; write one number"


def _open_clip(entry: OpenClipModel) -> Findings:
    given = (entry.files, entry.random_init, entry.pretrained)
    if entry.name.startswith(WHOLE_NAMES):
        if isinstance(entry.pretrained, str):
            yield ("pretrained",), "this name brings its own weights; remove it"
    elif all(one is None for one in given):
        message = (
            "nothing says which weights; add 'pretrained: TAG', a 'checkpoint', or "
            "'pretrained: false' for untrained weights"
        )
        yield ("name",), message


def _transformers(entry: TransformersModel) -> Findings:
    if (entry.name is None) == (entry.path is None):
        yield (), "give either the 'name' of a repository on the hub or the 'path' of a folder"
    elif entry.revision is not None and entry.name is None:
        yield ("revision",), "a folder has none; remove it"
    several = isinstance(entry.path, tuple) and len(entry.path) > 1
    if several and (entry.files is not None or entry.random_init is not None):
        yield ("path",), "name the one folder whose architecture is meant"
    if entry.adapter is not None and (several or is_random(entry)):
        yield ("adapter",), "is for one trained network; name that"
