"""Open torchvision classifiers with the preprocessing of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import torch
import torchvision.models

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.encoder import foreign_errors
from pytest_visualbias.models.final_layer import head_readers
from pytest_visualbias.models.load_weights import load_network
from pytest_visualbias.models.loaded_network import LoadedNetwork
from pytest_visualbias.models.preprocessing import (
    OwnInput,
    check_preprocessing,
    crop_share,
    make_transform,
    network_input,
    transform_facts,
)
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.model_entries import Transform

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.model_entries import TorchvisionModel

INCEPTIONS = ("googlenet", "inception_v3")

# Classifiers that help in training, and that no other pass runs.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def open_torchvision(entry: TorchvisionModel, identity: Identity, context: Context) -> TorchEncoder:
    """Build a torchvision classifier, load its weights, and return an encoder."""
    published = _published(entry)
    is_own = identity.checkpoint is None and identity.seed is None
    weights = _find_weights(entry, published) if is_own else None
    if weights is not None and context.offline:
        _check_cached(weights)
    model = _create(entry, published, weights, identity.seed)
    head = _last_layer(model)
    notes: dict[str, Any] = {"architecture": entry.name}
    if weights is not None:
        notes["weights"] = weights.name
    path = identity.checkpoint
    checkpoint = None if path is None else read_checkpoint(path)
    images = _input(entry, published, weights)
    if path is not None and checkpoint is not None:
        check_preprocessing(entry, path, checkpoint, images["preprocessing"])
    heads = (f"{head}.", *AUXILIARY)
    facts, no_logits = load_network(model, entry, path, head=heads, checkpoint=checkpoint)
    notes |= facts
    network = LoadedNetwork(
        module=model,
        notes=notes,
        classes=() if weights is None else tuple(weights.meta.get("categories", ())),
        **head_readers(model, head, no_logits=no_logits),
        **images,
        **_tokens(model),
    )
    return TorchEncoder.within(context, network)


def _published(entry: TorchvisionModel) -> Any:
    """Return the enumeration of an architecture's weights."""
    names = torchvision.models.list_models(module=torchvision.models)
    if entry.name not in names:
        raise EncoderError(
            f"torchvision has no classifier '{entry.name}'", did_you_mean(entry.name, names)
        )
    return torchvision.models.get_model_weights(entry.name)


def _find_weights(entry: TorchvisionModel, published: Any) -> Any:
    names = list(published.__members__)
    name = entry.weights or "DEFAULT"
    if name not in published.__members__:
        hint = did_you_mean(name, names)
        raise EncoderError(f"torchvision has no weights '{name}' of '{entry.name}'", hint)
    return published[name]


def _check_cached(weights: Any) -> None:
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
    if not file.is_file():
        raise EncoderError(
            f"the weights '{weights}' are not on this machine and --visualbias-offline is given",
            "give a 'checkpoint' or run once without it",
        )


def _create(entry: TorchvisionModel, published: Any, weights: Any, seed: int | None) -> Any:
    arguments: dict[str, Any] = dict(entry.arguments)
    if weights is None:
        arguments = {**_build_arguments(entry, published, seed), **arguments}
    advice = "correct 'arguments', or give a" if entry.arguments else "give a"
    remedy = (
        f"{advice} 'checkpoint', or 'pretrained: false' for untrained weights, or check the network"
    )
    errors = foreign_errors(f"torchvision cannot make '{entry.name}'", remedy, with_type=True)
    with errors, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        return torchvision.models.get_model(entry.name, weights=weights, **arguments)


def _build_arguments(entry: TorchvisionModel, published: Any, seed: int | None) -> dict[str, Any]:
    """Return the arguments with which torchvision builds a network for named weights."""
    weights = None if entry.weights is None else _find_weights(entry, published)
    arguments: dict[str, Any] = {}
    if entry.name in INCEPTIONS:
        if weights is None and seed is None and "transform_input" not in entry.arguments:
            raise EncoderError(
                f"nothing says whether '{entry.name}' scales its input: torchvision's own weights "
                "do",
                f"write 'weights: {published.DEFAULT.name}' where the checkpoint was finetuned "
                "from them, else 'arguments: {transform_input: false}'",
            )
        # Weights are drawn by scipy with a loop over every one, and a warning, unless told
        # otherwise; what helps in training alone is read by nobody.
        arguments |= {"init_weights": seed is not None, "aux_logits": False}
        arguments |= {"transform_input": True} if weights is not None else {}
    elif weights is not None and entry.name.startswith("vit_"):
        arguments["image_size"] = weights.meta["min_size"][0]
    elif weights is not None and entry.name == "maxvit_t":
        arguments["input_size"] = weights.meta["min_size"]
    return arguments


def _last_layer(model: torch.nn.Module) -> str:
    """Return the name of the layer that computes the logits."""
    names = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    # SqueezeNet's classifier is a convolution and what pools it.
    return names[-1] if names else "classifier"


def _tokens(model: Any) -> dict[str, Any]:
    return {"prefix_tokens": int(hasattr(model, "class_token"))}


def _input(entry: TorchvisionModel, published: Any, weights: Any) -> dict[str, Any]:
    """Return the preprocessing of the weights, as changed by the spec, or iEAT's."""
    if entry.preprocess == "ieat":
        return network_input(entry, None)
    if weights is None and entry.weights is not None:
        weights = _find_weights(entry, published)
    if weights is not None:
        return network_input(entry, _own_input(entry, weights.transforms()))
    ways = {str(weight.transforms()): weight for weight in published}
    if len(ways) == 1:
        return network_input(entry, _own_input(entry, next(iter(ways.values())).transforms()))
    names = ", ".join(weight.name for weight in published)
    unknown = (
        f"torchvision prepares images for '{entry.name}' in another way for each of its weights; "
        f"write 'weights: NAME' ({names}) for those that it was finetuned from"
    )
    return network_input(entry, None, unknown=unknown)


def _own_input(entry: TorchvisionModel, preset: Any) -> OwnInput:
    """Return a torchvision preset's preprocessing, at the network's input size."""
    prepare = _prepare_function(preset)
    sizes = [*preset.crop_size], [*preset.resize_size]
    if any(len(sides) != 1 for sides in sizes):
        return OwnInput(prepare=prepare, facts={"preset": str(preset)}, transform=None)
    (crop,), (resized,) = sizes
    size: Any = entry.arguments.get("image_size", entry.arguments.get("input_size", crop))
    transform = Transform(
        size=size,
        crop="center" if crop == resized else crop_share(crop, resized),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
    prepare = prepare if size == crop else make_transform(transform)
    return OwnInput(prepare=prepare, facts=transform_facts(transform), transform=transform)


def _prepare_function(preset: Any) -> Callable[[Image.Image], np.ndarray]:
    return lambda image: preset(image).numpy()
