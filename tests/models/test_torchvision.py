"""The source torchvision: the same vectors and logits as the library's own network gives."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import NamesClasses, find_source
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import TorchvisionModel

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
    points = [parse_layer_point(name, name) for name in layers]
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
def test_other_classes_leave_the_features_and_no_logits(
    context: Context, images: list[Image.Image]
) -> None:
    encoder = opened(context, checkpoint="five.pth")
    whole = opened(context, checkpoint="five.pth", arguments={"num_classes": 5})
    assert "logits" not in encoder.layers()
    assert np.array_equal(
        read(encoder, images, "pooled")["pooled"], read(whole, images, "pooled")["pooled"]
    )
    for layer in ("logits", "output", "fc"):
        with pytest.raises(EncoderError, match=rf"'{layer}'.+num_classes: 5"):
            read(encoder, images, layer)


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
            {"random_init": 1, "arguments": {"num_clases": 5}},
            r"torchvision cannot make .+num_clases.+; correct 'arguments'",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    context: Context, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        opened(context, **keys)
    assert "\n" not in str(caught.value)


def test_offline_weights_that_are_not_there_are_said(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    offline = dataclasses.replace(context, offline=True)
    with pytest.raises(EncoderError, match="--visualbias-offline"):
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


class TestBuiltForWeights:
    """What torchvision builds an architecture with for its weights decides what it computes."""

    KNOWN = frozenset({"transform_input", "aux_logits", "init_weights", "image_size", "input_size"})

    def test_no_other_argument_of_a_builder_depends_on_its_weights(self) -> None:
        names = torchvision.models.list_models(module=torchvision.models)
        modules = {inspect.getmodule(torchvision.models.get_model_builder(name)) for name in names}
        found = {
            argument
            for module in modules
            if module is not None
            for argument in re.findall(
                r'_ovewrite_named_param\(kwargs, "(\w+)"', inspect.getsource(module)
            )
        }
        sizes_of_resnets = {"groups", "width_per_group"}  # of the name, whatever the weights are
        assert found - sizes_of_resnets - {"num_classes"} == self.KNOWN

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("has_auxiliary", [True, False])
    @pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
    def test_a_checkpoint_is_read_as_by_the_network_of_its_weights(
        self,
        name: str,
        has_auxiliary: bool,
        context: Context,
        images: list[Image.Image],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """They scale their input, which no weight tells."""
        torch.manual_seed(3)
        whole = torchvision.models.get_model(name, weights=None, init_weights=False)
        weights = torchvision.models.get_model_weights(name).DEFAULT
        monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: whole.state_dict())
        plain = torchvision.models.get_model(name, weights=weights, aux_logits=True)
        auxiliary = ("aux1.", "aux2.", "AuxLogits.")
        saved = {
            key: value
            for key, value in plain.state_dict().items()
            if has_auxiliary or not key.startswith(auxiliary)
        }
        torch.save(saved, context.folder / "c.pth")
        transform = {"size": 96}
        encoder = opened(
            context, name, weights=weights.name, checkpoint="c.pth", transform=transform
        )
        batch = np.stack([encoder.prepare(image) for image in images[:2]])
        plain.fc = torch.nn.Identity()
        with torch.inference_mode():
            expected = plain.eval()(torch.from_numpy(batch)).numpy()
            plain.transform_input = False
            other = plain(torch.from_numpy(batch)).numpy()
        found = read(encoder, images[:2], "pooled")["pooled"]
        largest = np.abs(expected).max()
        assert np.allclose(found / largest, expected / largest, atol=1e-4)
        assert not np.allclose(other / largest, expected / largest, atol=1e-2)

    @pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
    def test_nobody_guesses_whether_the_input_is_scaled(self, name: str, context: Context) -> None:
        (context.folder / "c.pth").write_bytes(b"")
        with pytest.raises(EncoderError, match=r"weights: IMAGENET1K_V1.+transform_input: false"):
            opened(context, name, checkpoint="c.pth")

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("vit_b_16", "vision_transformer.VisionTransformer"), ("maxvit_t", "maxvit.MaxVit")],
    )
    def test_transformers_are_built_for_the_image_size_of_their_weights(
        self, name: str, kind: str, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built: list[dict[str, Any]] = []

        class BuiltError(Exception):
            pass

        def record(**keys: Any) -> None:  # noqa: ANN401
            built.append(keys)
            raise BuiltError

        monkeypatch.setattr(f"torchvision.models.{kind}", record)
        (context.folder / "c.pth").write_bytes(b"")
        for weights in torchvision.models.get_model_weights(name):
            with pytest.raises(BuiltError):
                torchvision.models.get_model(name, weights=weights)
            with pytest.raises(EncoderError):
                opened(context, name, weights=weights.name, checkpoint="c.pth")
            theirs, ours = built[-2:]
            sizes = ("image_size", "input_size")
            assert [ours.get(key) for key in sizes] == [theirs.get(key) for key in sizes]
            assert any(theirs.get(key) for key in sizes)


def test_images_are_prepared_at_the_size_that_the_network_is_built_for(
    context: Context, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = torchvision.models.VisionTransformer
    monkeypatch.setattr(
        "torchvision.models.vision_transformer.VisionTransformer",
        lambda image_size, **_: kind(image_size, 32, 1, 2, 8, 8),
    )
    arguments = {"image_size": 64}
    keys = {"random_init": 1, "weights": "IMAGENET1K_V1"}
    encoder = opened(context, "vit_b_32", arguments=arguments, **keys)
    steps = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(int(64 / 0.875)),
            torchvision.transforms.CenterCrop(64),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    for image in images[:2]:
        assert np.allclose(encoder.prepare(image), steps(image).numpy(), atol=1e-5)
    assert read(encoder, images[:1], "pooled")["pooled"].shape == (1, 8)


def test_the_weights_whose_preprocessing_is_used_are_part_of_the_identity(context: Context) -> None:
    """They choose how images are prepared, also for a checkpoint."""
    (context.folder / "own.pt").write_bytes(b"x")
    prints = set()
    for weights in ("IMAGENET1K_V1", "IMAGENET1K_V2"):
        keys = {"source": "torchvision", "name": "resnet50", "weights": weights}
        entry = TorchvisionModel.model_validate({**keys, "checkpoint": "own.pt"})
        (identity,) = find_source("torchvision").identify(entry, context)
        prints.add(identity.fingerprint())
    assert len(prints) == 2
