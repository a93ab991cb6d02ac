"""The source torchvision: the same vectors and logits as the library's own network gives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import NamesClasses, find_source
from pytest_visualbias.spec.layers import layer_point
from pytest_visualbias.spec.schema import TorchvisionModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Encoder

torchvision = pytest.importorskip("torchvision", reason="an extra")
pytestmark = pytest.mark.torch
SMALL = "shufflenet_v2_x0_5"


def opened(context: Context, name: str = SMALL, **keys: Any) -> Encoder:  # noqa: ANN401
    entry = TorchvisionModel.model_validate({"source": "torchvision", "name": name, **keys})
    source = find_source("torchvision")
    return source.open(entry, source.identify(entry, context)[0], context)


def classes_of(encoder: Encoder) -> tuple[str, ...]:
    assert isinstance(encoder, NamesClasses)
    return tuple(encoder.classes)


def read(encoder: Encoder, images: list[Image.Image], *layers: str) -> dict[str, np.ndarray]:
    points = [layer_point(name, name) for name in layers]
    return encoder.encode([encoder.prepare(image) for image in images], points)


def drawn(name: str = SMALL, classes: int = 5, seed: int = 3) -> torch.nn.Module:
    torch.manual_seed(seed)
    model: torch.nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return model.eval()


@pytest.fixture
def checkpoint(context: Context) -> Path:
    """A network of five classes, as its weights are saved."""
    path = context.folder / "five.pth"
    torch.save({"model": drawn().state_dict(), "epoch": 3}, path)
    return path


@pytest.mark.usefixtures("checkpoint")
def test_vectors_and_logits_are_those_of_the_library(
    context: Context, images: list[Image.Image]
) -> None:
    """With its own preprocessing: that of its published weights."""
    encoder = opened(context, checkpoint="five.pth", arguments={"num_classes": 5})
    found = read(encoder, images, "pooled", "logits", "probabilities", "conv5")
    model = drawn()
    steps = torchvision.models.get_model_weights(SMALL).DEFAULT.transforms()
    with torch.inference_mode():
        batch = torch.stack([steps(image) for image in images])
        logits = model(batch)
        model.fc = torch.nn.Identity()
        pooled = model(batch)
    assert np.allclose(found["pooled"], pooled, atol=1e-6)
    assert np.allclose(found["logits"], logits, atol=1e-6)
    assert np.allclose(found["probabilities"], logits.softmax(-1), atol=1e-6)
    # Its features are the mean of the last map.
    assert np.allclose(found["conv5"], found["pooled"], atol=1e-6)


@pytest.mark.usefixtures("checkpoint")
def test_other_classes_leave_the_features_and_no_logits(
    context: Context, images: list[Image.Image]
) -> None:
    encoder = opened(context, checkpoint="five.pth")
    whole = opened(context, checkpoint="five.pth", arguments={"num_classes": 5})
    assert "logits" not in encoder.layers()
    assert np.array_equal(
        read(encoder, images, "pooled")["pooled"], read(whole, images, "pooled")["pooled"]
    )
    with pytest.raises(EncoderError, match=r"there is no layer 'logits': .+num_classes: 5"):
        read(encoder, images, "logits")


def test_classes_of_published_weights_have_their_names(
    context: Context, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    published = drawn(classes=1000).state_dict()
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published
    )
    names = classes_of(opened(context))
    assert (len(names), names[:2]) == (1000, ("tench", "goldfish"))
    five = opened(context, checkpoint=checkpoint.name, arguments={"num_classes": 5})
    assert classes_of(five) == ()


@pytest.mark.parametrize(
    ("name", "width"),
    [("squeezenet1_1", 512), ("mobilenet_v3_small", 1024), ("regnet_y_400mf", 440)],
)
def test_pooled_is_what_the_last_layer_is_given(
    context: Context, images: list[Image.Image], name: str, width: int
) -> None:
    transform = {"size": 64}
    weights = {"weights": "DEFAULT"}
    encoder = opened(context, name, random_init=1, transform=transform, **weights)
    found = read(encoder, images[:1], "pooled", "logits")
    assert found["pooled"].shape == (1, width)
    assert found["logits"].shape == (1, 1000)


def test_preprocessing_is_said_in_the_words_of_a_spec(context: Context) -> None:
    facts = opened(context, random_init=1).preprocessing
    assert facts == {
        "input_size": [3, 224, 224],
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "crop_pct": 0.875,
        "crop_mode": "center",
    }


def test_a_transform_changes_what_it_says_and_nothing_else(context: Context) -> None:
    facts = opened(context, random_init=1, transform={"size": 96}).preprocessing
    assert facts["input_size"] == [3, 96, 96]
    assert facts["crop_pct"] == 0.875


def test_between_two_ways_to_prepare_images_nobody_guesses(context: Context) -> None:
    """A ResNet's first weights were trained on images resized to 256, its second ones to 232."""
    with pytest.raises(EncoderError, match=r"write 'weights: NAME' \(IMAGENET1K_V1, IMAGENET1K_V2"):
        opened(context, "resnet50", random_init=1)
    facts = opened(context, "resnet50", random_init=1, weights="IMAGENET1K_V1").preprocessing
    assert facts["crop_pct"] == 0.875


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"name": "shuflenet_v2_x0_5"},
            r"no classifier 'shuflenet_v2_x0_5'; did you mean 'shuffle",
        ),
        (
            {"weights": "IMAGENET_V1"},
            r"no weights 'IMAGENET_V1' of .+; did you mean 'IMAGENET1K_V1'",
        ),
        (
            {"checkpoint": "foreign.pth"},
            r"foreign\.pth is a text file and holds no weights; name",
        ),
        ({"checkpoint": "cut.pth"}, r"cut\.pth is damaged or incomplete .+; copy or save it again"),
        ({"checkpoint": "other.pth"}, r"other\.pth does not fit the network: .+ architecture that"),
        (
            {"random_init": 1, "arguments": {"num_clases": 5}},
            r"torchvision cannot make .+num_clases.+; correct 'arguments'",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    context: Context, checkpoint: Path, keys: dict[str, Any], message: str
) -> None:
    (context.folder / "foreign.pth").write_text("no weights at all")
    (context.folder / "cut.pth").write_bytes(checkpoint.read_bytes()[:5000])
    torch.save(drawn("mobilenet_v3_small").state_dict(), context.folder / "other.pth")
    with pytest.raises(EncoderError, match=message) as caught:
        opened(context, **keys)
    assert "\n" not in str(caught.value)


def test_offline_weights_that_are_not_there_are_said(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    offline = dataclasses.replace(context, offline=True)
    with pytest.raises(EncoderError, match=r"are not on this machine and --visualbias-offline"):
        opened(offline)


def test_an_unreachable_network_is_one_sentence(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(
        EncoderError, match=r"OSError: Network is unreachable\); give a 'checkpoint'"
    ):
        opened(context)
