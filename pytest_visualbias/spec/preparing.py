"""How an entry says that its network is made and its images are prepared, and what contradicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.sources import TimmModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.sources import FactoryModel

__all__ = ["DEPARTURE", "preparation_findings"]

DEPARTURE = (
    "iEAT's preprocessing is not the model's own: a square from the top left, not normalised; "
    "compare with published numbers by it, and gate without it"
)
# Arguments of timm that say which weights are loaded, or that it is to return something else.
WEIGHTS = ("pretrained", "checkpoint_path", "cache_dir", "model_name")
OUTPUTS = ("features_only", "out_indices", "feature_cfg", "exportable", "scriptable")


def preparation_findings(entry: TimmModel | FactoryModel) -> Iterator[tuple[Path, str]]:
    """Yield the path of and the sentence about what does not go together in an entry."""
    if entry.preprocess == "ieat" and entry.transform is not None:
        for key in ("crop", "mean", "std", "interpolation"):
            if getattr(entry.transform, key) is not None:
                yield ("transform", key), "'preprocess: ieat' says it already; remove it"
        size = entry.transform.size
        if not isinstance(size, int) and size[0] != size[1]:
            yield ("transform", "size"), "'preprocess: ieat' cuts a square; write one number"
    if isinstance(entry, TimmModel):
        for name in entry.arguments:
            if name.startswith(WEIGHTS):
                message = "says which weights are loaded; say it with the keys of the model"
                yield ("arguments", name), message
            elif name in OUTPUTS:
                message = "changes what the network returns; name what you want under 'layers'"
                yield ("arguments", name), message
