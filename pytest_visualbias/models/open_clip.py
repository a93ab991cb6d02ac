"""Open open_clip models."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import MismatchError, read_checkpoint, refuse_quantised
from pytest_visualbias.models.encoder import first_line, foreign_errors
from pytest_visualbias.models.load_weights import load_network
from pytest_visualbias.models.loaded_network import (
    LoadedNetwork,
    TextTower,
    digest_of_tokenizer,
    too_long_error,
)
from pytest_visualbias.models.preprocessing import (
    OwnInput,
    check_preprocessing,
    network_input,
    saved_transform,
    transform_facts,
)
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.models.weight_files import find_weight_files
from pytest_visualbias.spec.error_messages import closest
from pytest_visualbias.spec.fields import WHOLE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.spec.model_entries import OpenClipModel


def text_tower(
    model: Any, entry: OpenClipModel, checkpoint: Path | None, tokenizer: Any
) -> TextTower:
    """Return the text tower of a model, with the weights of a checkpoint."""
    try:
        load_network(model, entry, checkpoint)
    except MismatchError as error:
        remedy = "save all of the model, 'model.state_dict()', and name that file"
        raise EncoderError(
            "no texts can be read, for the whole model is needed, not its image tower alone: "
            f"{error.problem}",
            remedy if error.missing else error.remedy,
        ) from None
    length = int(tokenizer.context_length)

    def tokens(texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        tokenized = tokenizer(list(texts), context_length=length)
        longer = tokenizer(list(texts), context_length=length + 1)
        # What is too long is cut by the library without a word, and its end mark put elsewhere.
        for text, ids, other in zip(texts, tokenized, longer, strict=True):
            # Padded at the one end or at the other.
            if not (torch.equal(ids, other[:length]) or torch.equal(ids, other[1:])):
                raise too_long_error(text, length)
        return {"text": tokenized}

    del model.visual  # of images there is another one
    digest = digest_of_tokenizer(getattr(tokenizer, "tokenizer", tokenizer))
    return TextTower(
        module=model, tokens=tokens, run=lambda given: model.encode_text(**given), tokenizer=digest
    )


LOCAL = "local-dir:"
NO_LOGITS = "an open_clip model has no classifier; test its embeddings at 'pooled'"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def open_open_clip(entry: OpenClipModel, identity: Identity, context: Context) -> TorchEncoder:
    """Build an open_clip model, load its weights, and return an encoder."""
    wants_own = identity.checkpoint is None and identity.seed is None
    model = _create(entry, identity.seed, context, wants_own=wants_own)
    visual = model.visual
    if wants_own and entry.name.startswith(LOCAL):
        folder = context.folder / entry.name.removeprefix(LOCAL)
        refuse_quantised(find_weight_files(folder), model, entry.name)
    notes = {"architecture": entry.name, "tower": type(visual).__name__}
    if wants_own and isinstance(entry.pretrained, str):
        notes["weights"] = entry.pretrained
    # Of a whole model, or of the tower alone: both have the tower's names.
    images, path = _input(entry, visual, wants_own=wants_own), identity.checkpoint
    checkpoint = None if path is None else read_checkpoint(path)
    if path is not None and checkpoint is not None:
        check_preprocessing(entry, path, checkpoint, images["preprocessing"])
    notes |= load_network(visual, entry, path, checkpoint=checkpoint)[0]
    network = LoadedNetwork(
        module=visual,
        notes=notes,
        body=lambda images: _vectors(visual(images)),
        pooled=lambda vectors: vectors,
        logits=NO_LOGITS,
        texts=lambda: _load_text_tower(entry, identity, context, wants_own=wants_own),
        **_layout(visual),
        **images,
    )
    return TorchEncoder.within(context, network)


def _load_text_tower(
    entry: OpenClipModel, identity: Identity, context: Context, *, wants_own: bool
) -> TextTower:
    """Build the model again for texts, which few specs need."""
    model = _create(entry, identity.seed, context, wants_own=wants_own)
    arguments: dict[str, Any] = {"model_name": entry.name}
    if entry.name.startswith(LOCAL):
        arguments["model_name"] = f"{LOCAL}{context.folder / entry.name.removeprefix(LOCAL)}"
    elif context.offline and _is_from_hub(entry.name):
        arguments["local_files_only"] = True
    problem = f"open_clip has no tokenizer for '{entry.name}'"
    remedy = "check the network, or save its files in the folder of the model"
    with foreign_errors(problem, remedy, with_type=True), _silence_logging():
        tokenizer = open_clip.get_tokenizer(**arguments)
    return text_tower(model, entry, identity.checkpoint, tokenizer)


def _is_from_hub(name: str) -> bool:
    config = open_clip.get_model_config(name) or {}
    return bool(config.get("text_cfg", {}).get("hf_tokenizer_name"))


def _vectors(output: Any) -> torch.Tensor:
    """Return the pooled vectors, without the tokens that some towers add."""
    vectors: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return vectors


def _layout(visual: Any) -> dict[str, Any]:
    trunk = getattr(visual, "trunk", None)
    if trunk is None:
        return {"prefix_tokens": int(hasattr(visual, "class_embedding"))}
    return {
        "channels_last": getattr(trunk, "output_fmt", "NCHW") == "NHWC",
        "prefix_tokens": int(getattr(trunk, "num_prefix_tokens", 0)),
        "register_tokens": int(getattr(trunk, "num_reg_tokens", None) or 0),
    }


def _create(entry: OpenClipModel, seed: int | None, context: Context, *, wants_own: bool) -> Any:
    arguments: dict[str, Any] = {"model_name": entry.name, **entry.arguments}
    if entry.name.startswith(LOCAL):
        folder = context.folder / entry.name.removeprefix(LOCAL)
        arguments["model_name"] = f"{LOCAL}{folder}"
    elif not entry.name.startswith(WHOLE_NAMES):
        _check_name(entry)
        if wants_own:
            arguments["pretrained"] = _weights(entry, offline=context.offline)
    elif context.offline:
        raise EncoderError(
            f"'{entry.name}' is asked for at the hub and --visualbias-offline is given",
            "give 'local-dir:FOLDER' with a copy of it, or an architecture and a 'checkpoint'",
        )
    options = {"load_weights": wants_own, "require_pretrained": wants_own, "pretrained_text": False}
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), _silence_logging():
            # Weights computed with another activation than they were trained with.
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            torch.manual_seed(seed or 0)
            return open_clip.create_model(**arguments, **options)
    except Exception as error:  # noqa: BLE001 - open_clip, the hub and the network raise as they like
        reason = first_line(error)
        if "QuickGELU" in reason:
            reason += "; name the architecture with or without '-quickgelu'"
        raise EncoderError(
            f"open_clip cannot make '{entry.name}' ({type(error).__name__}: {reason})",
            "give a 'checkpoint', or 'pretrained: false' for untrained weights, or check the "
            "network",
        ) from None


@contextlib.contextmanager
def _silence_logging() -> Iterator[None]:
    """Silence open_clip's logging, and restore the root logger."""
    root, nowhere, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    # Without a handler, the first word would set one up.
    root.addHandler(nowhere)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(nowhere)


def _check_name(entry: OpenClipModel) -> None:
    names = open_clip.list_models()
    if entry.name.replace("/", "-") not in names:
        raise EncoderError(
            f"open_clip has no model '{entry.name}'", _near(entry.name, names, "list_models()")
        )


def _near(word: str, known: list[str], listing: str) -> str:
    return closest(word, known) or f"see open_clip.{listing}"


def _tags(entry: OpenClipModel) -> dict[str, Mapping[str, Any]]:
    """Return the configurations of an architecture's published weights, by tag."""
    name = entry.name.replace("/", "-")
    tags = open_clip.list_pretrained_tags_by_model(name)
    return {tag: open_clip.get_pretrained_cfg(name, tag) for tag in tags}


def _weights(entry: OpenClipModel, *, offline: bool) -> str:
    """Return the tag of the weights, or their cached file if offline."""
    tag, tags = str(entry.pretrained), _tags(entry)
    if tag not in tags:
        near = closest(tag, list(tags))
        raise EncoderError(f"open_clip has no weights '{tag}' of '{entry.name}'", near)
    if not offline:
        return tag
    if file := _find_cached(tags[tag]):
        return file
    raise EncoderError(
        f"the weights '{tag}' of '{entry.name}' are not on this machine and --visualbias-offline "
        "is given",
        "give a 'checkpoint' or run once without it",
    )


def _find_cached(config: Mapping[str, Any]) -> str:
    """Return the cached file of weights, or nothing."""
    import huggingface_hub  # only where the network is forbidden

    repository, name = os.path.split(config.get("hf_hub", ""))
    safe = f"{os.path.splitext(name)[0]}.safetensors" if name else ""  # noqa: PTH122 - no path
    for file in filter(None, (safe, name, *(HUB_FILES if not name else ()))):
        path = repository and huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(path, str) and path:
            return path
    if not repository and config.get("url"):
        kept = Path("~/.cache/clip").expanduser() / os.path.basename(config["url"])  # noqa: PTH119
        return str(kept) if kept.is_file() else ""
    return ""


def _input(entry: OpenClipModel, visual: Any, *, wants_own: bool) -> dict[str, Any]:
    """Return the preprocessing: the model's own, as changed by the spec, or iEAT's."""
    if wants_own or entry.name.startswith(WHOLE_NAMES):
        return network_input(entry, _own_input(PreprocessCfg(**visual.preprocess_cfg)))
    size = visual.preprocess_cfg["size"]
    tags = _tags(entry)
    if isinstance(entry.pretrained, str):
        if entry.pretrained not in tags:
            _weights(entry, offline=True)  # says so
        tags = {entry.pretrained: tags[entry.pretrained]}
    # Without published weights there is what open_clip trains with.
    configs = [_config(tag, size) for tag in (tags or {"": {}}).values()]
    if all(config == configs[0] for config in configs):
        return network_input(entry, _own_input(configs[0]))
    unknown = (
        f"open_clip prepares images for '{entry.name}' in another way for some of its weights; "
        f"write 'pretrained: TAG' ({', '.join(tags)}) for those that it was finetuned from"
    )
    return network_input(entry, None, unknown=unknown)


def _config(tag: Mapping[str, Any], size: Any) -> PreprocessCfg:
    merged = merge_preprocess_dict(PreprocessCfg(), {**tag, "size": size})
    return PreprocessCfg(**{**merged, **{key: tuple(merged[key]) for key in ("mean", "std")}})


def _own_input(config: PreprocessCfg) -> OwnInput:
    """Return open_clip's preprocessing."""
    steps = image_transform_v2(config, is_train=False)

    def prepare(image: Image.Image) -> np.ndarray:
        return steps(image).numpy()  # type: ignore[no-any-return]

    _, height, width = config.input_size
    is_said = config.resize_mode == "squash" or (
        config.resize_mode == "shortest" and height == width
    )
    if not is_said:
        facts = {
            key: getattr(config, key) for key in ("resize_mode", "fill_color", "interpolation")
        }
        facts |= {"input_size": [3, height, width]}
        facts |= {key: list(getattr(config, key)) for key in ("mean", "std")}
        return OwnInput(prepare=prepare, facts=facts, transform=None)
    transform = saved_transform(
        "the preprocessing of open_clip",
        {
            "size": (height, width),
            "crop": "squash" if config.resize_mode == "squash" else "center",
            "mean": tuple(config.mean),
            "std": tuple(config.std),
            "interpolation": "bilinear" if config.interpolation == "bilinear" else "bicubic",
        },
    )
    return OwnInput(prepare=prepare, facts=transform_facts(transform), transform=transform)
