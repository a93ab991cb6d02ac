"""Load transformers weights, layers, adapters, image processors and text towers."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import peft
import safetensors
import torch
from PIL import Image
from transformers.core_model_loading import revert_weight_conversion
from transformers.image_processing_backends import PilBackend, TorchvisionBackend

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.final_layer import head_readers
from pytest_visualbias.models.load_weights import load_network
from pytest_visualbias.models.loaded_network import (
    NO_CLASSIFIER,
    TextTower,
    digest_of_tokenizer,
    readers,
    too_long_error,
)
from pytest_visualbias.models.preprocessing import (
    MEAN,
    OwnInput,
    crop_share,
    noise,
    saved_transform,
    transform_facts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.spec.model_entries import NetworkEntry, Transform


class _Incompatible(NamedTuple):
    """Result of loading weights that is not strict, as torch returns it."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class _AsSaved:
    """A network whose weights have the names of a saved file."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by their saved names."""
        return dict(revert_weight_conversion(self.model, self.model.state_dict()))

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool) -> Any:  # noqa: ARG002 - what is missing is returned
        """Load weights by their saved names."""
        kind, config, weights = type(self.model), self.model.config, self.state_dict()
        self.model, info = kind.from_pretrained(
            None,
            config=config,
            state_dict={name: state_dict.get(name, value) for name, value in weights.items()},
            output_loading_info=True,
            dtype=torch.float32,
        )
        if any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            raise EncoderError(f"transformers cannot name the weights of {kind.__name__}: {info}")
        return _Incompatible(
            missing_keys=[name for name in weights if name not in state_dict],
            unexpected_keys=[name for name in state_dict if name not in weights],
        )


def fit_saved(
    model: Any, entry: NetworkEntry, path: Path, heads: tuple[str, ...]
) -> tuple[Any, dict[str, Any], str]:
    """Load a checkpoint with saved names or module names."""
    saved = _AsSaved(model)
    if set(saved.state_dict()) == set(model.state_dict()):
        return model, *load_network(model, entry, path, head=_prefixes(model, heads))
    try:
        facts, no_logits = load_network(saved, entry, path, head=_prefixes(saved, heads))
    except EncoderError as error:
        try:
            return model, *load_network(model, entry, path, head=_prefixes(model, heads))
        except EncoderError:
            raise error from None
    return saved.model, {**facts, "names": "files of transformers"}, no_logits


def _prefixes(network: Any, heads: tuple[str, ...]) -> tuple[str, ...]:
    starts = {name.partition(".")[0] for name in network.state_dict()}
    return next(((f"{head}.",) for head in heads if head in starts), ())


# What the classifier of a network is called, in its order of preference.
HEADS = ("classifier", "head", "score")
CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")


def find_head(model: Any) -> str:
    """Return the name of the classifier, or nothing."""
    inner = getattr(model, "timm_model", None)
    if inner is not None:
        names = (getattr(inner, "pretrained_cfg", None) or {}).get("classifier") or ""
        return f"timm_model.{names}" if isinstance(names, str) and names else ""
    if type(model).__name__.endswith("ForImageClassification"):
        for name in HEADS:
            if isinstance(getattr(model, name, None), torch.nn.Module):
                return name
        raise EncoderError(
            f"nothing says where the classifier of {type(model).__name__} begins", "use a factory"
        )
    return ""


def model_readers(model: Any, unlearned: str) -> dict[str, Any]:
    """Return how a model is run and read, as keywords of `LoadedNetwork`."""
    if (inner := getattr(model, "timm_model", None)) is not None:
        left_out = (find_head(model),) if unlearned else ()
        return {**readers(inner, no_logits=unlearned), "left_out": left_out}
    if head := find_head(model):
        return head_readers(
            model,
            head,
            run=lambda images: first_tensor(model(pixel_values=images)),
            no_logits=unlearned,
        )
    run: Callable[[torch.Tensor], Any]
    if hasattr(model, "get_image_features"):
        run = lambda images: model.get_image_features(pixel_values=images)  # noqa: E731
    else:
        run = lambda images: model(pixel_values=images)  # noqa: E731
    has_class = _class_tokens(model) > 0

    def pooled(output: Any) -> torch.Tensor:
        return _pooled(output, is_pooled=not unlearned, has_class=has_class)

    return {"body": run, "pooled": pooled, "logits": NO_CLASSIFIER}


def _pooled(output: Any, *, is_pooled: bool, has_class: bool) -> torch.Tensor:
    """Return the pooled vectors of an output: its own, the class token, or the mean."""
    for name in ("image_embeds", "pooler_output"):
        tensor = getattr(output, name, None)
        if torch.is_tensor(tensor) and is_pooled:
            return tensor.flatten(1) if tensor.shape[2:].numel() == 1 else _mean(tensor)
    tensor = output if torch.is_tensor(output) else getattr(output, "last_hidden_state", None)
    if not torch.is_tensor(tensor):
        kind = type(output).__name__
        raise EncoderError(
            f"the model gives {kind} without a vector for each image", "use a factory"
        )
    if tensor.ndim == 3 and has_class:  # noqa: PLR2004 - tokens
        return tensor[:, 0]
    return _mean(tensor)


def _mean(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.ndim == 4:  # noqa: PLR2004 - a map
        return tensor.mean(dim=(2, 3))
    return tensor.mean(dim=1) if tensor.ndim == 3 else tensor  # noqa: PLR2004 - tokens


def first_tensor(output: Any) -> Any:
    """Return the first tensor of a layer's output."""
    if isinstance(output, tuple | list) and output:
        return output[0]
    if hasattr(output, "to_tuple"):
        return output.to_tuple()[0]
    return output


def _class_tokens(model: Any) -> int:
    names = (name for name, _ in model.named_parameters())
    return sum(name.endswith(CLASS_TOKENS) for name in names)


def count_tokens(model: Any, config: Any) -> dict[str, Any]:
    """Return the numbers of prefix and register tokens."""
    vision = getattr(config, "vision_config", config)
    registers = int(getattr(vision, "num_register_tokens", 0) or 0)
    class_tokens = _class_tokens(model)
    return {
        "prefix_tokens": class_tokens + registers,
        "register_tokens": registers + max(0, class_tokens - 1),
    }


WEIGHTS = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."


def merge_adapter(
    model: Any, folder: Path, *, heads: tuple[str, ...]
) -> tuple[Any, dict[str, Any]]:
    """Merge an adapter into a network, and restore its module names."""
    if not (folder / WEIGHTS).is_file():
        raise EncoderError(
            f"the adapter {folder} has no {WEIGHTS}",
            "name the folder that save_pretrained of peft wrote, with safe_serialization",
        )
    try:
        with warnings.catch_warnings():
            # Of weights that are not there peft tells by a warning alone.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*missing adapter keys.*")
            config = peft.PeftConfig.from_pretrained(str(folder))
            _check_code(config, folder)
            _check_modules(model, folder)
            adapted = peft.PeftModel.from_pretrained(model, str(folder), config=config)
            whole = adapted.merge_and_unload(safe_merge=True)
    except EncoderError:
        raise
    except Exception as error:  # noqa: BLE001 - peft raises whatever it meets
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EncoderError(
            f"the adapter {folder} does not fit the network ({type(error).__name__}: "
            f"{reason[:300]})",
            "name the model that it was trained on, or save it again",
        ) from None
    saved = tuple(getattr(config, "modules_to_save", None) or ())
    return whole, {
        "kind": str(getattr(config.peft_type, "value", config.peft_type)),
        "saves_classifier": any(name in heads for name in saved),
    }


def _check_code(config: Any, folder: Path) -> None:
    if getattr(config, "megatron_config", None):
        raise EncoderError(
            f"the adapter {folder} asks for a module of Python ('megatron_config'), which could "
            "run code",
            "remove the key and save it again",
        )


def _check_modules(model: Any, folder: Path) -> None:
    """Raise if an adapter has weights for modules that do not exist."""
    modules = {name for name, _ in model.named_modules()}
    with safetensors.safe_open(folder / WEIGHTS, "pt") as weights:
        names = [name.removeprefix(PEFT_PREFIX) for name in weights.keys()]  # noqa: SIM118 - no mapping
    owners = {name.partition(".lora_")[0] for name in names if ".lora_" in name}
    if unread := next((name for name in sorted(owners) if name not in modules), ""):
        raise EncoderError(
            f"the adapter {folder} has weights for {unread}, which the network has not",
            "name the model that it was trained on",
        )


# The steps of a processor that no class of its own has changed are what its settings say.
PROCESSOR_STEPS = ("_preprocess", "resize", "center_crop", "rescale", "normalize")
SCALE = 1 / 255

# What says where a setting comes from, and not what is done.
PROCESSOR_NAMES = (
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "_processor_class",
)


def processor_input(processor: Any) -> OwnInput:
    """Return the preprocessing of an image processor."""

    def prepare(image: Image.Image) -> np.ndarray:
        pixels = processor(images=image, return_tensors="pt")["pixel_values"][0]
        if pixels.ndim != 3:  # noqa: PLR2004 - (c, h, w)
            raise EncoderError(
                f"{type(processor).__name__} cuts an image into parts {tuple(pixels.shape)}",
                "give a 'transform', or a factory that makes one picture of them",
            )
        return pixels.numpy()  # type: ignore[no-any-return]

    if (config := getattr(processor, "data_config", None)) is not None:  # of timm, in its words
        plain = {
            key: list(value) if isinstance(value, tuple) else value for key, value in config.items()
        }
        return OwnInput(prepare=prepare, facts=plain, transform=None)
    transform = _transform(processor)
    if transform is not None:
        return OwnInput(prepare=prepare, facts=transform_facts(transform), transform=transform)
    settings = {
        key: value for key, value in processor.to_dict().items() if key not in PROCESSOR_NAMES
    }
    # Plain values, as in a report: sizes are objects, and lists may be tuples.
    plain = json.loads(json.dumps(settings, default=str))
    facts = {"processor": type(processor).__name__, **plain}
    return OwnInput(prepare=prepare, facts=facts, transform=None)


def _transform(processor: Any) -> Transform | None:
    """Return the preprocessing as a `Transform`, or None if that cannot express it."""
    kind = type(processor)
    base = next(
        (backend for backend in (TorchvisionBackend, PilBackend) if issubclass(kind, backend)), None
    )
    if len(getattr(processor, "image_mean", None) or MEAN) != len(MEAN):
        raise EncoderError(
            "the image processor is for images of another number of channels, and images have "
            "three",
            "use a 'factory' whose network converts them",
        )
    if base is None or any(
        getattr(kind, step) is not getattr(base, step) for step in PROCESSOR_STEPS
    ):
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
    """Return size and crop, if the processor only resizes and center-crops."""
    size, crop = _plain(processor.size), _plain(getattr(processor, "crop_size", None))
    if not getattr(processor, "do_center_crop", None):
        if size.keys() != {"height", "width"}:
            return None
        return {"size": (size["height"], size["width"]), "crop": "squash"}
    is_square = crop.keys() == {"height", "width"} and crop["height"] == crop["width"]
    if not is_square or size.keys() != {"shortest_edge"} or size["shortest_edge"] < crop["height"]:
        return None
    side, short = crop["height"], size["shortest_edge"]
    return {"size": side, "crop": "center" if side == short else crop_share(side, short)}


def _plain(size: Any) -> dict[str, int]:
    return {key: value for key, value in dict(size or {}).items() if value is not None}


def _interpolation(resample: Any) -> str | None:
    if resample is None:
        return None
    name = Image.Resampling(int(resample)).name.lower()
    return name if name in ("nearest", "bilinear", "bicubic", "lanczos", "box") else None


# Far above what another order of additions changes in a cosine.
SAME_SPACE = 1e-4


def text_tower(
    model: Any,
    tokenizer: Any,
    *,
    see: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[Image.Image], np.ndarray],
) -> TextTower:
    """Return the text tower of a model that shares a space with its images."""
    length = _token_length(model, tokenizer)

    def tokens(texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        for text, ids in zip(texts, tokenizer(list(texts))["input_ids"], strict=True):
            if len(ids) > length:
                raise too_long_error(text, length)
        encoding = tokenizer(
            list(texts), padding="max_length", max_length=length, return_tensors="pt"
        )
        return {
            name: encoding[name] for name in ("input_ids", "attention_mask") if name in encoding
        }

    def run(given: Mapping[str, torch.Tensor]) -> Any:
        text_features = model.get_text_features(**given)
        return (
            text_features
            if torch.is_tensor(text_features)
            else getattr(text_features, "pooler_output", None)
        )

    tower = TextTower(
        module=model, tokens=tokens, run=run, tokenizer=digest_of_tokenizer(tokenizer)
    )
    _check_space(model, tower, see, prepare)
    return tower


def _token_length(model: Any, tokenizer: Any) -> int:
    """Return the number of tokens of a padded text."""
    config = getattr(model.config, "text_config", model.config)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        raise EncoderError(
            f"nothing says how many tokens {type(model).__name__} reads",
            "store vectors of the words, and use 'embeddings'",
        )
    return int(min(positions, tokenizer.model_max_length))


def _check_space(
    model: Any,
    tower: TextTower,
    see: Callable[[torch.Tensor], torch.Tensor],
    prepare: Callable[[Image.Image], np.ndarray],
) -> None:
    """Raise unless the vectors are those that the model itself compares."""
    device = next(model.parameters()).device
    images = torch.from_numpy(np.stack([prepare(image) for image in noise(2)])).to(device)
    tokens = {name: token.to(device) for name, token in tower.tokens(["a photo", "text"]).items()}
    with torch.inference_mode():
        output = model(pixel_values=images, **tokens)
        pairs = ((see(images), "image_embeds"), (tower.run(tokens), "text_embeds"))
        for vectors, name in pairs:
            compared = getattr(output, name, None)
            if not (
                torch.is_tensor(compared)
                and torch.is_tensor(vectors)
                and _are_equal(vectors, compared)
            ):
                raise EncoderError(
                    f"{type(model).__name__} does not compare images and texts at 'pooled'",
                    "store vectors of the words, and use 'embeddings'",
                )


def _are_equal(vectors: torch.Tensor, compared: torch.Tensor) -> bool:
    if vectors.shape != compared.shape:
        return False
    cosines = torch.nn.functional.cosine_similarity(vectors.float(), compared.float())
    return bool((cosines > 1 - SAME_SPACE).all())
