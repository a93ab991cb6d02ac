"""The source open_clip: the same vectors as the library's own model gives to images."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import find_source
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import OpenClipModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

open_clip = pytest.importorskip("open_clip", reason="an extra")
pytestmark = pytest.mark.torch

TEXT = {"context_length": 8, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
CONFIG = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}
MEAN = {"mean": [0.5, 0.5, 0.5], "std": [0.4, 0.4, 0.4], "resize_mode": "squash"}


@pytest.fixture
def architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny architecture that open_clip knows by name."""
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    (tmp_path / "tiny-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")


def opened(context: Context, **keys: Any) -> Encoder:  # noqa: ANN401
    entry = OpenClipModel.model_validate({"source": "open_clip", "name": "tiny-clip", **keys})
    source = find_source("open_clip")
    return source.open(entry, source.identify(entry, context)[0], context)


def read(encoder: Encoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [parse_layer_point(name, name) for name in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def drawn(name: str = "tiny-clip") -> Any:  # noqa: ANN401
    torch.manual_seed(5)
    model, _, steps = open_clip.create_model_and_transforms(name)
    return model.eval(), steps


@pytest.mark.usefixtures("architectures")
@pytest.mark.parametrize("of", ["the whole model", "its image tower"])
def test_vectors_are_those_of_the_library(
    context: Context, images: list[Image.Image], of: str
) -> None:
    """Of a checkpoint of the whole model as of one of the tower that sees."""
    model, steps = drawn()
    saved = model if of == "the whole model" else model.visual
    torch.save({"state_dict": saved.state_dict()}, context.folder / "tuned.pt")
    encoder = opened(context, checkpoint="tuned.pt")
    found = read(encoder, images, "pooled", "transformer.resblocks.1:cls")
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([steps(image) for image in images]))
    assert np.allclose(found["pooled"], expected, atol=1e-6)
    assert found["transformer.resblocks.1:cls"].shape == (5, 16)
    assert encoder.preprocessing["interpolation"] == "bicubic"
    assert encoder.preprocessing["crop_mode"] == "center"


@pytest.fixture
def folder(context: Context) -> Path:
    """What open_clip pushes to a hub: a configuration and weights."""
    folder = context.folder / "clip"
    folder.mkdir()
    config = {"model_cfg": CONFIG, "preprocess_cfg": {"size": 32, "mode": "RGB", **MEAN}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(7)
    model = open_clip.CLIP(**json.loads(json.dumps(CONFIG)))
    safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_other_weights_in_a_folder_are_another_network(context: Context, folder: Path) -> None:
    """The vectors of the old ones must not be taken for theirs."""
    entry = OpenClipModel.model_validate({"source": "open_clip", "name": "local-dir:clip"})
    (before,) = find_source("open_clip").identify(entry, context)
    file = folder / "open_clip_model.safetensors"
    weights = safetensors.torch.load_file(file)
    safetensors.torch.save_file({name: 2 * value for name, value in weights.items()}, file)
    (after,) = find_source("open_clip").identify(entry, context)
    assert before.fingerprint() != after.fingerprint()


def test_a_folder_brings_its_weights_and_its_preprocessing(
    context: Context, images: list[Image.Image], folder: Path
) -> None:
    encoder = opened(context, name="local-dir:clip")
    model, _, steps = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        expected = model.eval().encode_image(torch.stack([steps(image) for image in images]))
    assert np.allclose(read(encoder, images, "pooled")["pooled"], expected, atol=1e-6)
    assert encoder.preprocessing == {
        "input_size": [3, 32, 32],
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.4, 0.4, 0.4],
        "crop_pct": 1.0,
        "crop_mode": "squash",
    }


def test_a_folder_without_weights_is_no_model(context: Context, folder: Path) -> None:
    """Left to itself, open_clip draws random ones and goes on."""
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"open_clip cannot make 'local-dir:clip' .+; give"):
        opened(context, name="local-dir:clip")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn])
@pytest.mark.parametrize("name", ["visual.conv1.weight", "visual.proj"])
def test_a_folder_of_weights_in_eight_bits_is_refused(
    context: Context, folder: Path, kind: torch.dtype, name: str
) -> None:
    """Left to itself, open_clip turns them into floating-point numbers."""
    path = folder / "open_clip_model.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file(weights | {name: weights[name].to(kind)}, path)
    with pytest.raises(EncoderError, match=re.escape(name)):
        opened(context, name="local-dir:clip")


@pytest.mark.parametrize(("key", "value"), [("std", [0.5, 0.0, 0.5]), ("mean", [0.5, 0.5])])
def test_a_folder_with_senseless_preprocessing_is_refused_without_text_of_pydantic(
    context: Context, folder: Path, key: str, value: list[float]
) -> None:
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"][key] = value
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=key) as refused:
        opened(context, name="local-dir:clip")
    assert "validation" not in str(refused.value)


def test_padding_is_described_by_its_own_settings(context: Context, folder: Path) -> None:
    """The words of a spec know no padding, and nothing is made of it that it is not."""
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "longest"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    facts = opened(context, name="local-dir:clip").preprocessing
    assert facts["resize_mode"] == "longest"
    with pytest.raises(EncoderError, match="'crop', 'mean', 'std'"):
        opened(context, name="local-dir:clip", transform={"size": 32})


@pytest.mark.usefixtures("architectures")
def test_there_are_no_logits(context: Context, images: list[Image.Image]) -> None:
    encoder = opened(context, random_init=1)
    assert "logits" not in encoder.layers()
    with pytest.raises(EncoderError, match="no classifier"):
        read(encoder, images, "logits")


@pytest.mark.usefixtures("architectures")
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"name": "tiny-clop", "random_init": 1},
            r"no model 'tiny-clop'; did you mean 'tiny-clip'",
        ),
        (
            {"name": "ViT-B-32", "pretrained": "laion2b"},
            r"no weights 'laion2b' of 'ViT-B-32'; did you mean 'laion2b_",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    context: Context, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        opened(context, **keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}, "are not on this machine and"),
        ({"name": "hf-hub:somebody/clip"}, "is asked for at the hub and --visualbias-offline"),
    ],
)
def test_offline_nothing_is_asked_for(
    context: Context, keys: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(EncoderError, match=message):
        opened(dataclasses.replace(context, offline=True), **keys)


def test_weights_of_another_activation_are_refused(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip warns and computes other vectors than the published ones."""
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *_, **__: "none.pt")
    with pytest.raises(EncoderError, match="quickgelu"):
        opened(context, name="RN50", pretrained="openai")


def test_between_two_ways_to_prepare_images_nobody_guesses(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_visualbias.models import open_clip as source

    tags = {"one": {"mean": (0.5,) * 3, "std": (0.5,) * 3}, "two": {}}
    monkeypatch.setattr(source, "_tags", lambda entry: tags)
    entry = OpenClipModel.model_validate({"source": "open_clip", "name": "x", "random_init": 1})
    visual = type("Visual", (), {"preprocess_cfg": {"size": 32}})
    with pytest.raises(EncoderError, match=r"write 'pretrained: TAG' \(one, two\)"):
        source._input(entry, visual, wants_own=False)
    said = entry.model_copy(update={"pretrained": "one"})
    assert source._input(said, visual, wants_own=False)["preprocessing"]["mean"] == [0.5] * 3
