"""Prepare images for networks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from PIL import Image
from pydantic import ValidationError

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.model_entries import Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


# ImageNet's channel statistics, the field's default where a spec names none.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def transform_facts(transform: Transform) -> Mapping[str, Any]:
    """Return a transform as plain values, with defaults."""
    size = transform.size
    height, width = (size, size) if isinstance(size, int) else size
    is_share = isinstance(transform.crop, float)
    return {
        "input_size": [3, height, width],
        "interpolation": transform.interpolation or "bilinear",
        "mean": list(transform.mean or MEAN),
        "std": list(transform.std or STD),
        "crop_pct": transform.crop if is_share else 1.0,
        "crop_mode": "squash" if transform.crop == "squash" else "center",
        **channel_facts(transform),
    }


def channel_facts(transform: Transform | None) -> dict[str, Any]:
    """Return the order of channels if it is not RGB."""
    is_bgr = transform is not None and transform.channels == "bgr"
    return {"channels": "bgr"} if is_bgr else {}


def reorder_channels(prepared: np.ndarray, transform: Transform | None) -> np.ndarray:
    """Return a prepared image ``(3, height, width)`` with channels in the spec's order."""
    return np.ascontiguousarray(prepared[::-1]) if channel_facts(transform) else prepared


def make_transform(transform: Transform) -> Callable[[Image.Image], np.ndarray]:
    """Return the function that applies a transform."""
    facts = transform_facts(transform)
    _, height, width = facts["input_size"]
    mean = np.array(facts["mean"], dtype=np.float32)
    std = np.array(facts["std"], dtype=np.float32)
    resample = Image.Resampling[str(facts["interpolation"]).upper()]

    def prepare(image: Image.Image) -> np.ndarray:
        resized = _fit(image, (height, width), transform.crop or "center", resample)
        pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
        ready = np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))
        return reorder_channels(ready, transform)

    return prepare


def _fit(
    image: Image.Image, size: tuple[int, int], crop: str | float, resample: Image.Resampling
) -> Image.Image:
    height, width = size
    if crop == "squash":
        return image.resize((width, height), resample)
    share = 1.0 if isinstance(crop, str) else crop
    inner = math.floor(height / share), math.floor(width / share)
    resized = image.resize(_covering_size(image, *inner), resample)
    left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
    return resized.crop((left, top, left + width, top + height))


def _covering_size(image: Image.Image, height: int, width: int) -> tuple[int, int]:
    """Return the size to which an image is resized so that it just covers a box."""
    if height == width:
        short = min(image.size)
        across, down = (int(height * side / short) for side in image.size)
        return across, down
    ratio = min(image.height / height, image.width / width)
    return round(image.width / ratio), round(image.height / ratio)


SIZE: Final = 224


def _side(transform: Transform | None) -> int:
    size = SIZE if transform is None else transform.size
    return size if isinstance(size, int) else size[0]


def ieat_facts(transform: Transform | None) -> Mapping[str, Any]:
    """Return iEAT's preprocessing as plain values, with the keys of a transform."""
    return {
        "size": [_side(transform)] * 2,
        "crop": "top left",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "interpolation": "area",
    }


def ieat_input(transform: Transform | None) -> Callable[[Image.Image], np.ndarray]:
    """Return the function that prepares an image as iEAT did."""
    side = _side(transform)

    def prepare(image: Image.Image) -> np.ndarray:
        short = min(image.size)
        pixels = np.asarray(image.crop((0, 0, short, short)))
        average = area_average(pixels, side)
        # OpenCV gives whole numbers; it rounds a half to the even one, but averages of 2 x 2 up.
        whole = np.floor(average + 0.5) if short == 2 * side else np.rint(average)
        return whole.astype(np.float32) / np.float32(255)

    return prepare


def area_average(pixels: np.ndarray, size: int) -> np.ndarray:
    """Average a square image over equal cells, with fractional pixels."""
    count = len(pixels)
    shares = _shares(count, size).astype(np.float64)
    sums = [shares @ pixels[..., channel] @ shares.T for channel in range(pixels.shape[2])]
    average: np.ndarray = np.stack(sums) / count**2
    return average


def _shares(count: int, size: int) -> np.ndarray:
    """Return how much of each pixel lies in each cell, in units of 1 / `size`."""
    starts, pixels = np.arange(size)[:, None] * count, np.arange(count) * size
    ends = np.minimum(starts + count, pixels + size)
    shares: np.ndarray = np.maximum(ends - np.maximum(starts, pixels), 0)
    return shares


# What has to be said of a transform where nothing can be taken from the network's own.
TRANSFORM_KEYS = ("crop", "mean", "std", "interpolation")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnInput:
    """The preprocessing of a library."""

    prepare: Callable[[Image.Image], np.ndarray]
    facts: Mapping[str, Any]
    transform: Transform | None


def crop_share(crop: int, resized: int) -> float:
    """Return the crop share from which the resized size is recovered exactly."""
    share = crop / resized
    return share if math.floor(crop / share) == resized else math.nextafter(share, 0)


def saved_transform(place: str, values: Mapping[str, Any]) -> Transform:
    """Return a saved preprocessing as a `Transform`."""
    try:
        return Transform.model_validate(values)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise EncoderError(
            f"{place} has a wrong {key} ({values[key]})", "correct it there"
        ) from None


def network_input(entry: Any, own_input: OwnInput | None, *, unknown: str = "") -> dict[str, Any]:
    """Return how images are prepared, as keywords of `LoadedNetwork`."""
    given: Transform | None = entry.transform
    if entry.preprocess == "ieat":
        return {"prepare": ieat_input(given), "preprocessing": ieat_facts(given)}
    if given is None:
        if own_input is None:
            raise EncoderError(
                unknown, f"give a 'transform' with {_listed(('size', *TRANSFORM_KEYS))}"
            )
        return {"prepare": own_input.prepare, "preprocessing": own_input.facts}
    if own_input is None or own_input.transform is None:
        lacking = [key for key in TRANSFORM_KEYS if getattr(given, key) is None]
        if lacking:
            why = unknown or "the network's own preprocessing is of another kind"
            raise EncoderError(why, f"add {_listed(lacking)} to 'transform'")
        changed = given
    else:
        keys = (*TRANSFORM_KEYS, "channels")
        changes = {key: value for key in keys if (value := getattr(given, key)) is not None}
        changed = own_input.transform.model_copy(update={"size": given.size, **changes})
    return {"prepare": make_transform(changed), "preprocessing": transform_facts(changed)}


def _listed(keys: Any) -> str:
    return ", ".join(f"'{key}'" for key in keys)


# What every training by timm has among its settings, and hardly anything else has.
TIMM_ARGUMENTS = {"model", "mean", "std", "interpolation", "crop_pct", "img_size", "input_size"}

# The same of torchvision's reference script.
TORCHVISION_ARGUMENTS = {"val_crop_size", "val_resize_size", "interpolation"}
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedSettings:
    """Settings that timm saved with a network."""

    place: str
    architecture: str
    config: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


def read_settings(path: Path, checkpoint: Mapping[str, Any]) -> tuple[SavedSettings, ...]:
    """Return the settings that timm saved in and next to a checkpoint."""
    folder = _folder(path)
    saved = []
    config = _json(folder / "config.json")
    if isinstance(config.get("pretrained_cfg"), dict) and "architecture" in config:
        saved.append(
            SavedSettings(
                place=str(folder / "config.json"),
                architecture=str(config["architecture"]),
                config=config["pretrained_cfg"],
                arguments=config.get("model_args") or {},
            )
        )
    for place, arguments in _training_arguments(path, checkpoint):
        if arguments.keys() >= TIMM_ARGUMENTS:
            pool = {"global_pool": arguments.get("gp")}
            saved.append(
                SavedSettings(
                    place=place,
                    architecture=str(arguments["model"]),
                    data=arguments,
                    arguments={**(arguments.get("model_kwargs") or {}), **pool},
                )
            )
    return tuple(saved)


def check_preprocessing(
    entry: Any, path: Path, checkpoint: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Raise if the trainer saved another preprocessing than the one used."""
    if entry.transform is not None or entry.preprocess == "ieat":
        return
    for place, saved in _preprocessings(path, checkpoint):
        used = {
            "size": list(facts.get("input_size", ())[1:]),
            "mean": facts.get("mean"),
            "std": facts.get("std"),
            "interpolation": facts.get("interpolation"),
            "crop": facts.get("crop_pct"),
        }
        other = {
            key: value
            for key, value in saved.items()
            if used[key] and not _is_near(value, used[key])
        }
        if other:
            pairs = ", ".join(
                f"{key} {value} instead of {used[key]}" for key, value in other.items()
            )
            raise EncoderError(
                f"{place} says that images are prepared otherwise than the spec: {pairs}",
                "write "
                f"what the network was trained with: 'transform: {json.dumps({**used, **saved})}'",
            )


def processor_folder(path: Path) -> Path | None:
    """Return the checkpoint's folder if it holds an image processor."""
    folder = _folder(path)
    is_saved = any((folder / name).is_file() for name in PROCESSORS)
    return folder if is_saved or "pretrained_cfg" in _json(folder / "config.json") else None


def check_agreement(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise if several settings disagree."""
    (first, reference), *others = settings.items()
    for place, other in others:
        for key, value in reference.items():
            if not _is_near(value, other[key]):
                raise EncoderError(
                    f"{first} and {place} disagree about how images are prepared: {key} {value} "
                    f"and {other[key]}",
                    "remove the wrong one, or write a 'transform'",
                )


def _preprocessings(
    path: Path, checkpoint: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield saved preprocessings as transform keys, and where they are saved."""
    folder = _folder(path)
    for name in PROCESSORS:
        config = _json(folder / name)
        config = config.get("image_processor", config)
        if config:
            yield str(folder / name), _processor_words(config)
    config = _json(folder / "open_clip_config.json").get("preprocess_cfg") or {}
    known = {key: config[key] for key in ("size", "mean", "std", "interpolation") if key in config}
    if known:
        yield str(folder / "open_clip_config.json"), _with_size_pair(known)
    for place, given in _training_arguments(path, checkpoint):
        if given.keys() >= TORCHVISION_ARGUMENTS:
            crop, short = given["val_crop_size"], given["val_resize_size"]
            words = {"size": crop, "crop": crop / short, "interpolation": given["interpolation"]}
            yield place, _with_size_pair(words)


def _processor_words(config: Mapping[str, Any]) -> dict[str, Any]:
    words = {}
    if config.get("do_normalize", True):
        words = {"mean": config.get("image_mean"), "std": config.get("image_std")}
    box = (config.get("crop_size") if config.get("do_center_crop") else None) or config.get("size")
    if isinstance(box, dict):
        side = box.get("shortest_edge")
        words["size"] = [box.get("height", side), box.get("width", side)]
    elif isinstance(box, int):
        words["size"] = box
    return _with_size_pair({key: value for key, value in words.items() if value is not None})


def _with_size_pair(words: dict[str, Any]) -> dict[str, Any]:
    size = words.get("size")
    return {**words, "size": [size, size]} if isinstance(size, int) else words


def _training_arguments(
    path: Path, checkpoint: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the saved training settings, and where they are saved."""
    inside = checkpoint.get("args")
    if inside is not None:
        yield f"'args' in {path}", inside if isinstance(inside, dict) else vars(inside)
    file = _folder(path) / "args.yaml"
    if file.is_file():
        try:
            arguments = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            raise EncoderError(f"{file} cannot be read as YAML", "correct or remove it") from None
        yield str(file), arguments if isinstance(arguments, dict) else {}


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise EncoderError(f"{file} cannot be read as JSON", "correct or remove it") from None
    return content if isinstance(content, dict) else {}


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _is_near(first: Any, second: Any) -> bool:
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_is_near(*pair) for pair in pairs)
    if isinstance(first, float | int) and isinstance(second, float | int):
        return abs(first - second) <= TOLERANCE
    return bool(first == second)


def noise(count: int, *, seed: int = 0, darkest: int = 3) -> list[Image.Image]:
    """Return noise images with different means, so that batch normalization shows."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 240, 320, 3), dtype=np.uint8)
    return [Image.fromarray(pixel // (1 + index % darkest)) for index, pixel in enumerate(pixels)]
