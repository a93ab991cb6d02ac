"""What a trainer saved with the weights: how the network is built and its images are prepared."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = [
    "SavedSettings",
    "check_agreement",
    "check_preprocessing",
    "processor_folder",
    "settings_of",
]

# What every training by timm has among its settings, and hardly anything else has.
TIMM_ARGUMENTS = {"model", "mean", "std", "interpolation", "crop_pct", "img_size", "input_size"}
# The same of torchvision's reference script.
TORCHVISION_ARGUMENTS = {"val_crop_size", "val_resize_size", "interpolation"}
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedSettings:
    """What timm saved about a network.

    Attributes
    ----------
    place : str
        Where, for messages.
    architecture : str
        The name of the network.
    config : mapping or None
        Its preprocessing, as timm's ``pretrained_cfg``; None for that of the architecture.
    data : mapping
        Settings of the training, of which timm takes the preprocessing first.
    arguments : mapping
        What the network was built with.
    """

    place: str
    architecture: str
    config: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


def settings_of(path: Path, checkpoint: Mapping[str, Any]) -> tuple[SavedSettings, ...]:
    """Return what timm saved with a checkpoint: beside it, and in it.

    Raises
    ------
    EncoderError
        For a file that cannot be read.
    """
    folder = _folder(path)
    found = []
    config = _json(folder / "config.json")
    if isinstance(config.get("pretrained_cfg"), dict) and "architecture" in config:
        found.append(
            SavedSettings(
                place=str(folder / "config.json"),
                architecture=str(config["architecture"]),
                config=config["pretrained_cfg"],
                arguments=config.get("model_args") or {},
            )
        )
    for place, said in _arguments(path, checkpoint):
        if said.keys() >= TIMM_ARGUMENTS:
            pool = {"global_pool": said.get("gp")}
            found.append(
                SavedSettings(
                    place=place,
                    architecture=str(said["model"]),
                    data=said,
                    arguments={**(said.get("model_kwargs") or {}), **pool},
                )
            )
    return tuple(found)


def check_preprocessing(
    entry: Any, path: Path, checkpoint: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Refuse a network whose trainer saved another preprocessing than is used.

    Parameters
    ----------
    entry : model entry
        One that says itself how images are prepared is not refused.
    path : Path
        Of the checkpoint.
    checkpoint : mapping
        As read.
    facts : mapping
        What is done to images, by timm's names; other facts are not compared.

    Raises
    ------
    EncoderError
        With what differs, and what to write.
    """
    if entry.transform is not None or entry.preprocess == "ieat":
        return
    for place, said in _preprocessings(path, checkpoint):
        used = {
            "size": list(facts.get("input_size", ())[1:]),
            "mean": facts.get("mean"),
            "std": facts.get("std"),
            "interpolation": facts.get("interpolation"),
            "crop": facts.get("crop_pct"),
        }
        other = {
            key: value
            for key, value in said.items()
            if used[key] and not _is_near(value, used[key])
        }
        if other:
            pairs = ", ".join(
                f"{key} {value} instead of {used[key]}" for key, value in other.items()
            )
            raise EncoderError(
                f"{place} says that images are prepared otherwise than the spec: {pairs}; write "
                f"what the network was trained with: 'transform: {json.dumps({**used, **said})}'"
            )


def processor_folder(path: Path) -> Path | None:
    """Return the folder of a checkpoint where an image processor of transformers is saved in it."""
    folder = _folder(path)
    is_saved = any((folder / name).is_file() for name in PROCESSORS)
    return folder if is_saved or "pretrained_cfg" in _json(folder / "config.json") else None


def check_agreement(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse several settings that do not agree.

    Raises
    ------
    EncoderError
        With what differs.
    """
    (first, said), *others = found.items()
    for place, other in others:
        for key, value in said.items():
            if not _is_near(value, other[key]):
                raise EncoderError(
                    f"{first} and {place} disagree about how images are prepared: {key} {value} "
                    f"and {other[key]}; remove the wrong one, or write a 'transform'"
                )


def _preprocessings(
    path: Path, checkpoint: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is said of preprocessing, in the words of a spec, and where."""
    folder = _folder(path)
    for name in PROCESSORS:
        said = _json(folder / name)
        said = said.get("image_processor", said)
        if said:
            yield str(folder / name), _of_processor(said)
    said = _json(folder / "open_clip_config.json").get("preprocess_cfg") or {}
    known = {key: said[key] for key in ("size", "mean", "std", "interpolation") if key in said}
    if known:
        yield str(folder / "open_clip_config.json"), _sized(known)
    for place, given in _arguments(path, checkpoint):
        if given.keys() >= TORCHVISION_ARGUMENTS:
            crop, short = given["val_crop_size"], given["val_resize_size"]
            words = {"size": crop, "crop": crop / short, "interpolation": given["interpolation"]}
            yield place, _sized(words)


def _of_processor(said: Mapping[str, Any]) -> dict[str, Any]:
    words = {}
    if said.get("do_normalize", True):
        words = {"mean": said.get("image_mean"), "std": said.get("image_std")}
    box = (said.get("crop_size") if said.get("do_center_crop") else None) or said.get("size")
    if isinstance(box, dict):
        side = box.get("shortest_edge")
        words["size"] = [box.get("height", side), box.get("width", side)]
    elif isinstance(box, int):
        words["size"] = box
    return _sized({key: value for key, value in words.items() if value is not None})


def _sized(words: dict[str, Any]) -> dict[str, Any]:
    size = words.get("size")
    return {**words, "size": [size, size]} if isinstance(size, int) else words


def _arguments(
    path: Path, checkpoint: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the settings of a training, and where they are."""
    inside = checkpoint.get("args")
    if inside is not None:
        yield f"'args' in {path}", inside if isinstance(inside, dict) else vars(inside)
    file = _folder(path) / "args.yaml"
    if file.is_file():
        try:
            said = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            raise EncoderError(f"{file} cannot be read as YAML; correct or remove it") from None
        yield str(file), said if isinstance(said, dict) else {}


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise EncoderError(f"{file} cannot be read as JSON; correct or remove it") from None
    return found if isinstance(found, dict) else {}


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _is_near(first: Any, second: Any) -> bool:
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_is_near(*pair) for pair in pairs)
    if isinstance(first, float | int) and isinstance(second, float | int):
        return abs(first - second) <= TOLERANCE
    return bool(first == second)
