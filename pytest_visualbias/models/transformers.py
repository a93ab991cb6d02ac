"""Open transformers models with their image processors."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils.hub import cached_file

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import refuse_quantised
from pytest_visualbias.models.encoder import first_line
from pytest_visualbias.models.load_weights import is_ignored
from pytest_visualbias.models.loaded_network import LoadedNetwork
from pytest_visualbias.models.preprocessing import network_input, processor_folder
from pytest_visualbias.models.torch_encoder import TorchEncoder
from pytest_visualbias.models.transformers_loading import (
    HEADS,
    count_tokens,
    find_head,
    first_tensor,
    fit_saved,
    merge_adapter,
    model_readers,
    processor_input,
    text_tower,
)
from pytest_visualbias.models.weight_files import find_weight_files, is_adapter
from pytest_visualbias.spec.error_messages import format_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.models.loaded_network import TextTower
    from pytest_visualbias.spec.model_entries import TransformersModel

# The files by which a folder is known to have a tokenizer.
TOKENIZERS = (
    *("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.model"),
    "tokenizer.model",
)

# What transformers itself computes attention with; another name is of a kernel on the hub.
IMPLEMENTATION = "_implementation"
IMPLEMENTATIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")

# Weights that are drawn anew where a base model is read without what was put on top of it.
NEW_WEIGHTS = ("pooler.",)
CHANNELS = 3

# What is left out where a model is read without it: classifiers of any kind, and poolers.
KNOWN_TOPS = (
    *NEW_WEIGHTS,
    *(f"{head}." for head in HEADS),
    *("cls_classifier.", "distillation_classifier."),
)


def open_transformers(
    entry: TransformersModel, identity: Identity, context: Context
) -> TorchEncoder:
    """Build a transformers model, load its weights, and return an encoder."""
    place = _place(entry, identity, context)
    with _silence():
        config = _load_pretrained(transformers.AutoConfig, place)
        _check_kernels(place)
        kind = _model_class(config)
        _check_channels(config)
        adapters = _adapters(entry, identity, context)
        is_own = identity.checkpoint is None or place.is_weights or identity.checkpoint in adapters
        if is_own and identity.seed is None:
            model, facts, unlearned = _load_saved(kind, place, entry.ignore)
        else:
            model = _draw_weights(kind, config, identity.seed)
            facts, unlearned = {}, ""
            if identity.checkpoint is not None:
                model, facts, unlearned = fit_saved(model, entry, identity.checkpoint, HEADS)
        for adapter in adapters:
            model, facts = _merge_adapter(model, adapter, facts)
            unlearned = "" if facts["adapter"]["saves_classifier"] else unlearned
        images = _input(entry, _processor_place(place, identity, adapters))
    read = model_readers(model, unlearned)
    network = LoadedNetwork(
        module=model,
        notes={"architecture": kind.__name__, **facts},
        classes=_classes(config) if is_own and not unlearned else (),
        unwrap=first_tensor,
        **{**count_tokens(model, config), **read},
        **images,
        texts=_texts(model, place, read, images["prepare"]),
    )
    return TorchEncoder.within(context, network)


def _processor_place(place: _Place, identity: Identity, adapters: list[Path]) -> _Place:
    """Return the place of the image processor: the checkpoint's, if it has one."""
    path = identity.checkpoint
    if path is None or place.is_weights or path in adapters:
        return place
    folder = processor_folder(path)
    return (
        place
        if folder is None
        else _Place(str(folder), {"local_files_only": True}, is_weights=False)
    )


def _check_channels(config: Any) -> None:
    count = getattr(getattr(config, "vision_config", config), "num_channels", CHANNELS)
    if count != CHANNELS:
        raise EncoderError(
            f"the network takes images of {count} channels, and images have three",
            "use a 'factory' whose network converts them",
        )


def _texts(
    model: Any, place: _Place, read: Mapping[str, Any], prepare: Any
) -> Callable[[], TextTower] | str:
    """Return a function that loads the text tower, or why there is none."""
    if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        return f"{type(model).__name__} reads no texts; use a model that compares images with them"

    def opened() -> TextTower:
        folder = Path(place.what)
        if folder.is_dir() and not any((folder / name).is_file() for name in TOKENIZERS):
            raise EncoderError(f"{folder} has no tokenizer", "save the model's own beside it")
        with _silence():
            tokenizer = _load_pretrained(transformers.AutoTokenizer, place)
            return text_tower(
                *(model, tokenizer),
                see=lambda images: read["pooled"](read["body"](images)),
                prepare=prepare,
            )

    return opened


def _classes(config: Any) -> tuple[str, ...]:
    """Return the names of the classes, unless transformers made them up."""
    names = getattr(config, "id2label", None) or {}
    classes = tuple(str(names.get(index, "")) for index in range(len(names)))
    return () if classes == tuple(f"LABEL_{index}" for index in range(len(names))) else classes


class _Place:
    """A folder or hub repository of a model."""

    def __init__(self, location: str, options: Mapping[str, Any], *, is_weights: bool) -> None:
        self.what = location
        self.options: dict[str, Any] = {**options, "trust_remote_code": False}
        self.is_weights = is_weights


def _place(entry: TransformersModel, identity: Identity, context: Context) -> _Place:
    if entry.path is None:
        options: dict[str, Any] = {"local_files_only": context.offline}
        if entry.revision is not None:
            options["revision"] = entry.revision
        return _Place(str(entry.name), options, is_weights=False)
    is_weights = entry.files is None and identity.checkpoint is not None
    folder = identity.checkpoint if is_weights else _folder(entry.path, context)
    return _Place(str(folder), {"local_files_only": True}, is_weights=is_weights)


def _folder(path: str | tuple[str, ...], context: Context) -> Path:
    return context.folder / (path if isinstance(path, str) else path[0])


def _load_pretrained(auto_class: Any, place: _Place, **options: Any) -> Any:
    """Load an object with `from_pretrained`."""
    try:
        return auto_class.from_pretrained(place.what, **place.options, **options)
    except Exception as error:  # noqa: BLE001 - transformers, the hub and the network raise as they like
        reason = first_line(error)
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            remedy = "a model that brings its own code is not run; use a factory for it"
        elif place.options["local_files_only"] and not Path(place.what).is_dir():
            remedy = (
                "--visualbias-offline is given and it is not on this machine; run once without it"
            )
        else:
            remedy = "correct the name or the path, check the network, or save the model again"
        raise EncoderError(
            f"transformers cannot read '{place.what}' ({type(error).__name__}: {reason})", remedy
        ) from None


def _check_kernels(place: _Place) -> None:
    """Raise if a configuration runs code from a hub."""
    settings, _ = transformers.PreTrainedConfig.get_config_dict(place.what, **place.options)
    for key, name in _implementations(settings):
        if name not in IMPLEMENTATIONS:
            raise EncoderError(
                f"the configuration of '{place.what}' asks for the {key} '{name}', which could be "
                "code from a hub",
                "remove the key, or use a factory",
            )


def _implementations(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the attention implementations in a configuration, with their keys."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            # An implementation may be given for each part of the network.
            yield from _implementations(value, key or (name if IMPLEMENTATION in name else ""))
    elif isinstance(settings, list):
        for value in settings:
            yield from _implementations(value, key)
    elif key and isinstance(settings, str):
        yield key, settings


def _model_class(config: Any) -> Any:
    """Return the model class."""
    saved = getattr(transformers, (config.architectures or [""])[0], None)
    if saved is not None and (
        hasattr(saved, "get_image_features") or saved.__name__.endswith("WithProjection")
    ):
        return saved
    known = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(config.model_type)
    if known is not None:
        return getattr(transformers, known if isinstance(known, str) else known[0])
    kind: Any = transformers.AutoModel._model_mapping.get(type(config), None)  # noqa: SLF001 - no public way
    kind = kind[0] if isinstance(kind, tuple) else kind
    if kind is None or getattr(kind, "main_input_name", "") != "pixel_values":
        raise EncoderError(
            f"'{config.model_type}' is no vision model of transformers", "use a factory for it"
        )
    return kind


def _load_saved(
    kind: Any, place: _Place, ignore: tuple[str, ...]
) -> tuple[Any, dict[str, Any], str]:
    """Return the saved model, facts about it, and why it has no classifier, if so."""
    # Of other sizes it draws weights anew and lists them, which is judged here.
    options = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    model, info = _load_pretrained(kind, place, dtype=torch.float32, **options)
    if getattr(model, "_hf_peft_config_loaded", False):
        raise EncoderError(
            f"'{place.what}' holds an adapter",
            "name the model that it was trained on by 'path' or 'name', and the adapter by "
            "'adapter'",
        )
    refuse_quantised(_files(place), model, place.what)
    head = find_head(model)
    tops = (f"{head}.",) if head else NEW_WEIGHTS
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(tops))
    misfits = (name if isinstance(name, str) else name[0] for name in info["mismatched_keys"])
    faults = [*missing, *sorted(misfits)]
    if faults or info["error_msgs"]:
        listing = format_names([*faults, *map(str, info["error_msgs"])])
        raise EncoderError(
            f"the weights in '{place.what}' do not fit {kind.__name__}: they lack or have in "
            f"another shape {listing}",
            "save the model again",
        )
    base = getattr(model, "base_model_prefix", "")
    unread = {name: name.removeprefix(f"{base}.") for name in info["unexpected_keys"]}
    unknown = [
        name
        for name, short in unread.items()
        if not short.startswith(KNOWN_TOPS)
        and not any(is_ignored(key, ignore) for key in (name, short))
    ]
    if unknown:
        raise EncoderError(
            f"'{place.what}' has weights that {kind.__name__} does not have: "
            f"{format_names(sorted(unknown))}",
            "save the model that its configuration describes, or list what to leave out under "
            "'ignore'",
        )
    top = next((name for name in info["missing_keys"] if name.startswith(tops)), "")
    no_logits = f"'{place.what}' has no weights of '{top.rpartition('.')[0]}'" if top else ""
    left_out = sorted({str(name).rpartition(".")[0] for name in info["unexpected_keys"]})
    return model, {"left_out": left_out[:20]}, no_logits


def _files(place: _Place) -> list[Path]:
    """Return the files of the loaded weights."""
    folder = Path(place.what)
    if not folder.is_dir():
        config = cached_file(
            *(place.what, "config.json"),
            revision=place.options.get("revision"),
            local_files_only=True,
        )
        folder = Path(str(config)).parent
    return find_weight_files(folder)


def _adapters(entry: TransformersModel, identity: Identity, context: Context) -> list[Path]:
    """Return the adapters of a network: the entry's, and an adapter checkpoint."""
    adapters = [] if entry.adapter is None else [context.folder / entry.adapter]
    checkpoint = identity.checkpoint
    return [*adapters, *([checkpoint] if checkpoint is not None and is_adapter(checkpoint) else [])]


def _merge_adapter(
    model: Any, adapter: Path, facts: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return a model with an adapter merged."""
    merged, adapter_facts = merge_adapter(model, adapter, heads=HEADS)
    return merged, {**facts, "adapter": adapter_facts}


def _draw_weights(kind: Any, config: Any, seed: int | None) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        return kind(config)


def _input(entry: TransformersModel, place: _Place) -> dict[str, Any]:
    """Return the preprocessing: the model's own, as changed by the spec, or iEAT's."""
    if entry.preprocess == "ieat":
        return network_input(entry, None)
    try:
        processor = _load_pretrained(transformers.AutoImageProcessor, place)
    except EncoderError as error:
        if entry.transform is None:
            raise EncoderError(
                error.problem,
                f"{error.remedy}; or give a 'transform' in place of an image processor",
            ) from None
        return network_input(entry, None, unknown="there is no image processor")
    return network_input(entry, processor_input(processor))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence progress bars and loading reports of transformers."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # What will be called otherwise in a later version is nothing to its users.
            for kind in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
