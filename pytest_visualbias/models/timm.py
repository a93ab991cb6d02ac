"""Open timm models with their own preprocessing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm.models
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoint_keys import unwrap_name
from pytest_visualbias.models.checkpoints import (
    MismatchError,
    find_weights,
    read_checkpoint,
    refuse_quantised,
)
from pytest_visualbias.models.encoder import foreign_errors
from pytest_visualbias.models.load_weights import load_network
from pytest_visualbias.models.loaded_network import LoadedNetwork, readers
from pytest_visualbias.models.preprocessing import (
    channel_facts,
    check_agreement,
    check_preprocessing,
    ieat_facts,
    ieat_input,
    read_settings,
    reorder_channels,
)
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.models.weight_files import find_weight_files
from pytest_visualbias.spec.consistency_rules import ARGUMENTS
from pytest_visualbias.spec.error_messages import closest
from pytest_visualbias.spec.fields import HUB_NAMES
from pytest_visualbias.spec.model_entries import TimmModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.models.preprocessing import SavedSettings
    from pytest_visualbias.spec.model_entries import InMemoryModel, Transform

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CHANNELS = 3
LOCAL = "local-dir:"

# What other keys of the spec say, and no file may.
FORBIDDEN = tuple(ARGUMENTS[TimmModel])


def open_timm(entry: TimmModel, identity: Identity, context: Context) -> TorchEncoder:
    """Build a timm model, load its weights, and return an encoder."""
    wants_pretrained = identity.checkpoint is None and identity.seed is None
    path = identity.checkpoint
    checkpoint = None if path is None else read_checkpoint(path)
    saved = () if path is None or checkpoint is None else read_settings(path, checkpoint)
    arguments = _arguments(entry, saved)
    model = _create(
        *(entry, identity.seed, arguments),
        pretrained=wants_pretrained,
        offline=context.offline,
    )
    notes: dict[str, Any] = {"architecture": entry.name}
    left_out = tuple(name.removesuffix(".") for name in _head(model))
    no_logits = _explain_unlearned(model) if wants_pretrained else ""
    if wants_pretrained and entry.name.startswith(LOCAL):
        folder = Path(entry.name.removeprefix(LOCAL))
        refuse_quantised(find_weight_files(folder), model, entry.name)
    images = resolve_input(model, entry, saved, size=arguments.get("img_size"))
    if path is not None and checkpoint is not None:
        check_preprocessing(entry, path, checkpoint, images["preprocessing"])
        facts, no_logits = _load(model, entry, path, checkpoint)
        notes |= facts
        if no_logits and hasattr(model, "reset_classifier"):
            model.reset_classifier(0)
    network = LoadedNetwork(
        module=model,
        notes=notes,
        left_out=left_out if no_logits else (),
        **readers(model, no_logits=no_logits),
        **images,
    )
    return TorchEncoder.within(context, network)


def check_name(name: str) -> None:
    """Raise if timm does not know a model or its weights."""
    if name.startswith(HUB_NAMES):
        return
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        hint = closest(name, timm.list_models(pretrained=False)) or "see timm.list_models()"
        raise EncoderError(f"timm has no model '{name}'", hint)
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        names = timm.list_models(f"{base}.*", pretrained=True)
        hint = closest(name, names) or f"leave '.{tag}' out"
        raise EncoderError(f"timm has no weights '{name}'", hint) from None


def _arguments(entry: TimmModel, saved: tuple[SavedSettings, ...]) -> dict[str, Any]:
    """Return the arguments of a network, from the spec or saved with it."""
    arguments: dict[str, Any] = dict(entry.arguments)
    for settings in saved:
        name, base = settings.architecture, entry.name.partition(".")[0]
        if not entry.name.startswith(HUB_NAMES) and name.partition(".")[0] != base:
            raise EncoderError(
                f"{settings.place} says that the network is {name}, and the spec that it is "
                f"{entry.name}",
                f"write 'name: {name}', or correct 'checkpoint'",
            )
        for key, value in settings.arguments.items():
            if value is None or key.startswith(FORBIDDEN):
                continue
            if key != "num_classes" and _canonical(arguments.get(key, value)) != _canonical(value):
                raise EncoderError(
                    f"{settings.place} says that the network was built with {key} {value}, and "
                    f"the spec has {arguments[key]}",
                    "correct 'arguments'",
                )
            arguments.setdefault(key, value)
    return arguments


def _canonical(value: Any) -> Any:
    """Return a value in a canonical form: one number for two equal ones."""
    several = [*value] if isinstance(value, tuple | list) else [value]
    return several[0] if len(set(map(str, several))) == 1 else several


def _create(
    entry: TimmModel,
    seed: int | None,
    arguments: dict[str, Any],
    *,
    pretrained: bool,
    offline: bool,
) -> Any:
    if arguments.get("in_chans", CHANNELS) != CHANNELS:
        raise EncoderError(
            f"the network takes images of {arguments['in_chans']} channels, and images have three",
            "remove 'in_chans', or use a 'factory' whose network converts them",
        )
    check_name(entry.name)
    options: dict[str, Any] = {"model_name": entry.name}
    if pretrained and offline and not entry.name.startswith("local-dir:"):
        options = _cached_weights(entry.name)
    options |= arguments
    advice = "correct 'arguments', or give a" if entry.arguments else "give a"
    remedy = (
        f"{advice} 'checkpoint', or 'pretrained: false' for untrained weights, or check the network"
    )
    errors = foreign_errors(f"timm cannot make '{entry.name}'", remedy, with_type=True)
    with errors, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        return timm.create_model(**options, pretrained=pretrained)


def _cached_weights(name: str) -> dict[str, Any]:
    """Return arguments that make timm load cached weights without the network."""
    import huggingface_hub  # only where the network is forbidden

    is_hub_name = name.startswith(HUB_NAMES)
    config = None if is_hub_name else timm.get_pretrained_cfg(name)
    place = name.partition(":")[2] if is_hub_name else getattr(config, "hf_hub_id", None) or ""
    repository, _, revision = place.partition("@")
    for file in filter(None, (getattr(config, "hf_hub_filename", None), *WEIGHTS)):
        path = repository and huggingface_hub.try_to_load_from_cache(
            repository, file, revision=revision or None
        )
        if isinstance(path, str) and path:
            if is_hub_name:
                return {"model_name": f"local-dir:{Path(path).parent}"}
            return {"model_name": name, "pretrained_cfg_overlay": {"file": path}}
    raise EncoderError(
        f"the weights of '{name}' are not on this machine and --visualbias-offline is given",
        "give a 'checkpoint' or run once without it",
    )


def _explain_unlearned(model: Any) -> str:
    """Return why pretrained weights give no logits, or nothing."""
    wanted = getattr(model, "num_classes", 0)
    if not wanted or (getattr(model, "pretrained_cfg", None) or {}).get("num_classes") == wanted:
        return ""
    # timm leaves such a classifier as it was drawn.
    model.reset_classifier(0)
    return f"the pretrained weights do not tell {wanted} classes apart; leave 'num_classes' out"


def _load(
    model: Any, entry: TimmModel, path: Path, checkpoint: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Load a checkpoint by its names, or by those of older timm versions."""
    head = _head(model)
    try:
        return load_network(model, entry, path, head=head, checkpoint=checkpoint)
    except MismatchError as error:
        try:
            facts, no_logits = load_network(
                *(model, entry, path), head=head, checkpoint=_rename(model, checkpoint)
            )
        except EncoderError:
            raise error from None
        return {**facts, "names": "older versions of timm"}, no_logits


def _rename(model: Any, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights renamed by timm's own loader, if only names differ."""
    rename: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return {}
    containers: dict[str, Any] = {}
    for container, wrapped in find_weights(checkpoint).items():
        weights = {unwrap_name(name): value for name, value in wrapped.items()}
        try:
            named = rename(dict(weights), model)
        except Exception:  # noqa: BLE001, S112 - it expects files of its own
            continue
        read = {id(value) for value in named.values()}
        if not read <= {id(value) for value in weights.values()}:
            continue  # weights that are resized or converted are others
        # What it drops, the network may compute by itself: that is judged in loading.
        dropped = {name: value for name, value in weights.items() if id(value) not in read}
        place = containers.setdefault(container, {}) if container else containers
        place.update(dropped, **named)
    return containers


def _head(model: Any) -> tuple[str, ...]:
    """Return the prefixes of the classifier's weights."""
    names = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    return tuple(f"{name}." for name in names)


def resolve_input(
    model: Any,
    entry: TimmModel | InMemoryModel,
    saved: tuple[SavedSettings, ...] = (),
    *,
    size: Any = None,
) -> dict[str, Any]:
    """Return timm's preprocessing of a model, or iEAT's."""
    if entry.preprocess == "ieat":
        transform = entry.transform
        return {"prepare": ieat_input(transform), "preprocessing": ieat_facts(transform)}
    changes = {} if size is None else {"input_size": _input_size(size)}
    if entry.transform is not None:
        changes |= _changes(entry.transform)
    configs = {settings.place: _resolve(settings, model) | changes for settings in saved}
    check_agreement(configs or {"": {}})
    config = next(iter(configs.values()), {**timm.data.resolve_model_data_config(model), **changes})
    if config["input_size"][0] != CHANNELS:
        raise EncoderError(
            f"the network takes images of {config['input_size'][0]} channels, and images have "
            "three",
            "use a 'factory' whose network converts them",
        )
    steps = timm.data.create_transform(**config, is_training=False)

    def prepare(image: Image.Image) -> np.ndarray:
        return reorder_channels(steps(image).numpy(), entry.transform)

    facts = {
        key: list(value) if isinstance(value, tuple) else value for key, value in config.items()
    }
    return {"prepare": prepare, "preprocessing": facts | channel_facts(entry.transform)}


def _resolve(settings: SavedSettings, model: Any) -> dict[str, Any]:
    """Return the saved preprocessing, resolved by timm."""
    config, data = settings.config, dict(settings.data)
    if config is None and timm.is_model(settings.architecture.partition(".")[0]):
        known = timm.get_pretrained_cfg(settings.architecture)
        config = known.to_dict() if known is not None else None
    size = data.pop("img_size", None)
    if size is not None and data.get("input_size") is None:
        data["input_size"] = _input_size(size)
    return dict(timm.data.resolve_data_config(data, config or {}, model=model))


def _input_size(size: Any) -> tuple[int, int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return CHANNELS, height, width


def _changes(transform: Transform) -> dict[str, Any]:
    changes: dict[str, Any] = {"input_size": _input_size(transform.size)}
    if transform.crop == "squash":
        changes |= {"crop_mode": "squash", "crop_pct": 1.0}
    elif transform.crop is not None:
        share = 1.0 if transform.crop == "center" else transform.crop
        changes |= {"crop_mode": "center", "crop_pct": share}
    for key in ("mean", "std", "interpolation"):
        if getattr(transform, key) is not None:
            changes[key] = getattr(transform, key)
    return changes
