"""Image processors of transformers: what they do, and in the words of a spec where these say it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from PIL import Image
from transformers.image_processing_backends import PilBackend, TorchvisionBackend

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.inputs import OwnInput, saved_transform, share_of
from pytest_visualbias.models.preprocessing import MEAN, as_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pytest_visualbias.spec.networks import Transform

__all__ = ["processed"]

# The steps of a processor that no class of its own has changed are what its settings say.
STEPS = ("_preprocess", "resize", "center_crop", "rescale", "normalize")
SCALE = 1 / 255
# What says where a setting comes from, and not what is done.
IDLE = ("image_processor_type", "feature_extractor_type", "processor_class", "_processor_class")


def processed(processor: Any) -> OwnInput:
    """Return what an image processor does to one RGB image."""

    def prepare(image: Image.Image) -> np.ndarray:
        found = processor(images=image, return_tensors="pt")["pixel_values"][0]
        if found.ndim != 3:  # noqa: PLR2004 - (c, h, w)
            raise EncoderError(
                f"{type(processor).__name__} cuts an image into parts {tuple(found.shape)}; "
                "give a 'transform', or a factory that makes one picture of them"
            )
        return found.numpy()  # type: ignore[no-any-return]

    if (config := getattr(processor, "data_config", None)) is not None:  # of timm, in its words
        plain = {key: list(one) if isinstance(one, tuple) else one for key, one in config.items()}
        return OwnInput(prepare=prepare, facts=plain, transform=None)
    transform = _transform(processor)
    if transform is not None:
        return OwnInput(prepare=prepare, facts=as_facts(transform), transform=transform)
    settings = {key: value for key, value in processor.to_dict().items() if key not in IDLE}
    # Plain values, as in a report: sizes are objects, and lists may be tuples.
    plain = json.loads(json.dumps(settings, default=str))
    facts = {"processor": type(processor).__name__, **plain}
    return OwnInput(prepare=prepare, facts=facts, transform=None)


def _transform(processor: Any) -> Transform | None:
    """Return what a processor does in the words of a spec, or None where these cannot say it."""
    kind = type(processor)
    base = next((one for one in (TorchvisionBackend, PilBackend) if issubclass(kind, one)), None)
    if len(getattr(processor, "image_mean", None) or MEAN) != len(MEAN):
        raise EncoderError(
            "the image processor is for images of another number of channels, and images have "
            "three; use a 'factory' whose network converts them"
        )
    if base is None or any(getattr(kind, step) is not getattr(base, step) for step in STEPS):
        return None
    wanted = ("do_resize", "do_rescale")
    if not all(getattr(processor, key, None) for key in wanted) or getattr(
        processor, "do_pad", None
    ):
        return None
    geometry = _geometry(processor)
    interpolation = _interpolation(getattr(processor, "resample", None))
    if (
        geometry is None
        or interpolation is None
        or abs(processor.rescale_factor - SCALE) > SCALE * 1e-9
    ):
        return None
    is_normal = processor.do_normalize
    return saved_transform(
        "the image processor",
        {
            **geometry,
            "mean": tuple(processor.image_mean) if is_normal else (0.0, 0.0, 0.0),
            "std": tuple(processor.image_std) if is_normal else (1.0, 1.0, 1.0),
            "interpolation": interpolation,
        },
    )


def _geometry(processor: Any) -> Mapping[str, Any] | None:
    """Return the size and the crop, where a resize and at most one crop in the middle make them."""
    size, crop = _plain(processor.size), _plain(getattr(processor, "crop_size", None))
    if not getattr(processor, "do_center_crop", None):
        if size.keys() != {"height", "width"}:
            return None
        return {"size": (size["height"], size["width"]), "crop": "squash"}
    is_square = crop.keys() == {"height", "width"} and crop["height"] == crop["width"]
    if not is_square or size.keys() != {"shortest_edge"} or size["shortest_edge"] < crop["height"]:
        return None
    side, short = crop["height"], size["shortest_edge"]
    return {"size": side, "crop": "center" if side == short else share_of(side, short)}


def _plain(size: Any) -> dict[str, int]:
    return {key: value for key, value in dict(size or {}).items() if value is not None}


def _interpolation(resample: Any) -> str | None:
    if resample is None:
        return None
    name = Image.Resampling(int(resample)).name.lower()
    return name if name in ("nearest", "bilinear", "bicubic", "lanczos", "box") else None
