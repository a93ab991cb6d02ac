"""Recognise the timm architecture of a checkpoint."""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import timm
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint, weights_of
from pytest_visualbias.models.load_weights import fit_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# Reading is done whole; who has more knows what it is.
LARGEST = 4 * 2**30
DEPTH = 3
AVERAGED = "ema"
SIZES = ("tiny", "small", "base", "large")

# Architectures to try where a checkpoint has a name that ends so, the common ones first.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "layer1.0.conv1.weight": (
        *("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "wide_resnet50_2"),
        *("resnext50_32x4d", "wide_resnet101_2", "resnext101_32x8d", "resnet26", "resnet50d"),
        *("resnet18d", "resnet34d", "resnet101d", "seresnet50", "seresnext50_32x4d", "test_resnet"),
    ),
    "patch_embed.proj.weight": (
        *(f"vit_{size}_patch16_224" for size in SIZES),
        *(f"vit_{size}_patch32_224" for size in SIZES[1:]),
        *(f"vit_{size}_patch16_384" for size in SIZES),
        *(f"vit_{size}_patch14_dinov2" for size in SIZES[1:]),
        *(f"vit_{size}_patch14_reg4_dinov2" for size in SIZES[1:]),
        *("vit_base_patch16_clip_224", "vit_base_patch32_clip_224", "vit_large_patch14_clip_224"),
        *("vit_small_patch8_224", "vit_base_patch8_224", "deit3_small_patch16_224"),
        *("deit3_base_patch16_224", "beit_base_patch16_224"),
        *(f"swin_{size}_patch4_window7_224" for size in SIZES),
        "test_vit",
    ),
    "conv_proj.weight": (
        *("vit_base_patch16_224", "vit_base_patch32_224", "vit_large_patch16_224"),
        "vit_large_patch32_224",
    ),
    "stages.0.blocks.0.conv_dw.weight": (
        *(f"convnext_{size}" for size in SIZES),
        *(f"convnextv2_{size}" for size in ("tiny", "base", "large", "nano", "pico", "atto")),
        *("convnext_nano", "convnext_pico", "convnext_femto", "convnext_atto"),
    ),
    "features.1.0.block.0.weight": tuple(f"convnext_{size}" for size in SIZES),
    "conv_stem.weight": (
        *(f"efficientnet_b{step}" for step in range(6)),
        *("mobilenetv3_large_100", "mobilenetv3_small_100", "mobilenetv2_100"),
        *("tf_efficientnetv2_s", "efficientnetv2_rw_s", "mnasnet_100"),
    ),
    "stem.conv.weight": (
        *("regnety_032", "regnety_016", "regnety_008", "regnety_040", "regnety_080"),
        *("regnety_160", "regnetx_032"),
    ),
    "features.denseblock1.denselayer1.conv1.weight": (
        *("densenet121", "densenet169", "densenet201", "densenet161"),
    ),
    "features.0.weight": ("vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vgg11", "vgg13"),
    "Conv2d_1a_3x3.conv.weight": ("inception_v3",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """The architecture of a checkpoint."""

    name: str
    container: str | None = None


def recognise(
    path: Path, *, named: Iterable[str] = (), guess: bool = True, largest: int = LARGEST
) -> Recognised | None:
    """Return the first of timm's architectures that a checkpoint fits whole."""
    if path.stat().st_size > largest:
        raise EncoderError(f"{path} is larger than {largest // 2**30} GiB and was not looked into")
    checkpoint = read_checkpoint(path)
    containers = weights_of(checkpoint)
    if not containers:
        raise EncoderError(f"{path} holds no weights")
    names = [*(_suggested(path, checkpoint) if guess else ()), *named]
    names += [*_family(containers)] if guess else []
    for name in dict.fromkeys(names):
        if timm.is_model(name.partition(".")[0]) and (match := _fitted(name, checkpoint, path)):
            return match
    return None


def _suggested(path: Path, checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Yield names that a file of timm's beside it, the checkpoint, or its path speak of."""
    try:
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if isinstance(config, dict) and isinstance(config.get("architecture"), str):
        yield config["architecture"]
    yield from _texts(checkpoint)
    path_text = "/".join(path.parts[-2:]).lower()
    # The longest first: `resnet50` stands in `resnet50d`, too.
    yield from sorted((name for name in timm.list_models() if name in path_text), key=len)[::-1]


def _texts(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the short texts among the settings of a run."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, str) and value and len(value) < 100:  # noqa: PLR2004 - no name is longer
        yield value
    elif isinstance(value, dict) and depth < DEPTH:
        for inner in value.values():
            yield from _texts(inner, depth + 1)


def _family(containers: Mapping[str, Mapping[str, torch.Tensor]]) -> Iterator[str]:
    for ending, names in FAMILIES.items():
        if any(key.endswith(ending) for weights in containers.values() for key in weights):
            yield from names


def _fitted(name: str, checkpoint: Mapping[str, Any], path: Path) -> Recognised | None:
    """Return the architecture where every weight of it is there, and none that it has not."""
    try:
        with torch.device("meta"):
            network: Any = timm.create_model(name, pretrained=False)
            head = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or ()
            if hasattr(network, "reset_classifier"):
                network.reset_classifier(0)
    except Exception:  # noqa: BLE001 - what timm cannot make here is not what is looked for
        return None
    heads = tuple(f"{prefix}." for prefix in ((head,) if isinstance(head, str) else head))
    if _fits(network, checkpoint, path, heads, None):
        return Recognised(name=name)
    # Weights and their running average lie side by side: the average is what timm evaluates.
    for container in sorted(weights_of(checkpoint), key=lambda key: (AVERAGED not in key, key)):
        if container and _fits(network, checkpoint, path, heads, container):
            return Recognised(name=name, container=container)
    return None


def _fits(
    network: torch.nn.Module,
    checkpoint: Mapping[str, Any],
    path: Path,
    head: tuple[str, ...],
    container: str | None,
) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is copied is the point
        try:
            fit_weights(network, checkpoint, path=path, head=head, container=container)
        except EncoderError:
            return False
    return True
